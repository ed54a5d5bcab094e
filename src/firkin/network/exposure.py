"""Which of the host's addresses really reach a published port. Pure.

``0.0.0.0:8080`` says nothing about who gets in; the addresses behind it do. A port published on an
address that the host has lost reaches nobody. An IPv6 loopback address never does: the kernel
translates no packets from ::1.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from msgspec import field

from firkin.types import base, network


class Reach(base.Wire):
    """One way to a container's port: ``port`` at ``address``, an address of ``interface``."""

    container_id: str = field(default="", name="ContainerID")
    container_port: int = 0
    protocol: str = ""
    address: str = ""
    port: int = 0
    interface: str = ""


def ways(
    endpoints: Iterable[network.Endpoint], addresses: Sequence[tuple[str, str]]
) -> list[Reach]:
    """All ways to the published ports of the endpoints.

    ``addresses`` are those of the host, each with the name of its interface.
    """
    return [
        Reach(
            container_id=endpoint.container_id,
            container_port=port.container_port,
            protocol=port.proto,
            address=address,
            port=port.host_port or port.container_port,
            interface=interface,
        )
        for endpoint in endpoints
        for port in endpoint.ports
        for address, interface in _of(port, endpoint, addresses)
    ]


def _of(
    port: network.PublishedPort, endpoint: network.Endpoint, addresses: Sequence[tuple[str, str]]
) -> list[tuple[str, str]]:
    wanted = ipaddress.ip_address(port.host_ip or "0.0.0.0")
    if not port.host_port:  # routed: the container's own address
        own = endpoint.ipv6_address if wanted.version == 6 else endpoint.ipv4_address
        return [(own, endpoint.interface)]
    if wanted.is_loopback and wanted.version == 4:
        return [(str(wanted), "lo")]
    found = []
    for text, interface in addresses:
        address = ipaddress.ip_address(text)
        if address.version != wanted.version or address.is_link_local:
            continue
        if address.version == 6 and address.is_loopback:
            continue
        if wanted.is_unspecified or address == wanted:
            found.append((text, interface))
    return found
