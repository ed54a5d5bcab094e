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


def show(platform: types.Platform) -> str:
    """``os/arch[/variant]``."""
    return "/".join(filter(None, (platform.os, platform.architecture, platform.variant)))


def _normal(platform: types.Platform) -> types.Platform:
    architecture, variant = _ARCHITECTURES.get(
        platform.architecture, (platform.architecture, platform.variant)
    )
    variant = platform.variant or variant
    if (architecture, variant) in (("arm64", "v8"), ("amd64", "v1")):
        variant = ""
    if architecture == "arm" and not variant:
        variant = "v7"
    return types.Platform(os=platform.os, architecture=architecture, variant=variant)


def _runs(wanted: types.Platform, exact: bool) -> list[types.Platform]:
    """What a machine of the platform ``wanted`` can run, the best first."""
    wanted = _normal(wanted)
    found = [wanted]

    def add(architecture: str, variant: str = "") -> None:
        found.append(types.Platform(os=wanted.os, architecture=architecture, variant=variant))

    if wanted.architecture == "arm":
        for number in range(int(wanted.variant[1:2] or 7) - 1, 4, -1):
            add("arm", f"v{number}")
    elif wanted.variant:
        add(wanted.architecture)
    if wanted.architecture == "amd64" and not exact:
        add("386")
    return found


def suits(found: types.Platform, wanted: types.Platform) -> bool:
    """Whether an image of the platform ``found`` is one for ``wanted``."""
    return _normal(found) in _runs(wanted, True)


def runs_here(found: types.Platform) -> bool:
    """Whether the host runs programs of an image of the platform ``found`` by itself."""
    return _normal(found) in _runs(host(), False)


def choose(
    items: list[types.Descriptor], wanted: types.Platform | None = None
) -> list[types.Descriptor]:
    """The one of an index's manifests that suits ``wanted``, else the host; at most one.

    Those without a platform suit as a last resort; attestations ("unknown") never.
    """
    for fitting in _runs(wanted or host(), wanted is not None):
        for item in items:
            if item.platform is not None and _normal(item.platform) == fitting:
                return [item]
    return [item for item in items if item.platform is None][:1]
