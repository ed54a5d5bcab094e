"""Platforms of images: the host's, and choosing from an index."""

from __future__ import annotations

import platform

from firkin import errdefs
from firkin.types import image as types

_ARCHITECTURES = {
    "x86_64": ("amd64", ""),
    "aarch64": ("arm64", ""),
    "armv7l": ("arm", "v7"),
    "armv6l": ("arm", "v6"),
    "i686": ("386", ""),
    "i386": ("386", ""),
}


def host() -> types.Platform:
    """What images must be built for to run here."""
    machine = platform.machine()
    architecture, variant = _ARCHITECTURES.get(machine, (machine, ""))
    return types.Platform(os="linux", architecture=architecture, variant=variant)


def parse(text: str) -> types.Platform:
    """``os[/arch[/variant]]`` or ``arch``. Raises ``InvalidParameter``."""
    parts = text.lower().split("/")
    if not 1 <= len(parts) <= 3 or not all(part.replace("_", "").isalnum() for part in parts):
        raise errdefs.InvalidParameter(
            f"invalid platform {text!r}: write os/architecture[/variant]"
        )
    here = host()
    if len(parts) == 1:
        if parts[0] == "linux":
            return here
        parts.insert(0, "linux")
    architecture, variant = _ARCHITECTURES.get(parts[1], (parts[1], ""))
    if len(parts) == 3:
        variant = parts[2]
    return types.Platform(os=parts[0], architecture=architecture, variant=variant)


def choose(items: list[types.Descriptor]) -> list[types.Descriptor]:
    """The one of an index's manifests that suits the host; at most one."""
    here = host()
    usable = [
        item
        for item in items
        if item.platform is None
        or (item.platform.os == here.os and item.platform.architecture == here.architecture)
    ]
    exact = [i for i in usable if i.platform is not None and i.platform.variant == here.variant]
    return (exact or usable)[:1]
