"""What ContainerCreate warns of: the container is made, but not all that was asked for happens."""

from __future__ import annotations

import contextlib

from firkin.images import platforms, variants
from firkin.linux import sysctl
from firkin.types import container, image


def cautions(host: container.HostConfig, found: image.Image, platform: str) -> list[str]:
    """Warnings for a container of the image ``found``; ``platform`` is the one asked for."""
    warnings = []
    if host.network_mode == "host" and host.port_bindings:
        warnings.append("Published ports are discarded when using host network mode")
    if host.network_mode not in ("host", "none") and not _forwards():
        warnings.append("IPv4 forwarding is disabled. Networking will not work.")
    built, here = variants.platform_of(found), platforms.host()
    if not platform and built.architecture and not platforms.runs_here(built):
        warnings.append(
            f"The requested image's platform ({platforms.show(built)}) does not match the detected "
            f"host platform ({platforms.show(here)}) and no specific platform was requested"
        )
    return warnings


def _forwards() -> bool:
    with contextlib.suppress(OSError):
        return sysctl.read("net.ipv4.ip_forward") != "0"
    return True
