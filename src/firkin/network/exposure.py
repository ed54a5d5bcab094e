"""Which of the host's addresses really reach a published port. Pure.

``0.0.0.0:8080`` says nothing about who gets in; the addresses behind it do. A port published on an
address that the host has lost reaches nobody. ``::1`` does where the relay listens on the port.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

from msgspec import field

from firkin.network import publishing
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
    endpoints: Iterable[network.Endpoint],
    addresses: Sequence[tuple[str, str]],
    *,
    relay: bool,
) -> list[Reach]:
    """All ways to the published ports of the endpoints.

    ``addresses`` are those of the host, each with the name of its interface; ``relay``: whether
    there is one.
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
        for address, interface in _of(port, endpoint, addresses, relay=relay)
    ]


def _of(
    port: network.PublishedPort,
    endpoint: network.Endpoint,
    addresses: Sequence[tuple[str, str]],
    *,
    relay: bool,
) -> list[tuple[str, str]]:
    relayed = relay and any(
        (one.proto, one.address, one.port) == (port.proto, port.host_ip, port.host_port)
        for one in publishing.relayed(endpoint)
    )
    wanted = ipaddress.ip_address(port.host_ip or "0.0.0.0")
    if not port.host_port:  # routed: the container's own address
        own = endpoint.ipv6_address if wanted.version == 6 else endpoint.ipv4_address
        return [(own, endpoint.interface)]
    if wanted.is_loopback:
        return [(str(wanted), "lo")]
    found = []
    for text, interface in addresses:
        address = ipaddress.ip_address(text)
        if address.version != wanted.version or address.is_link_local:
            continue
        if address.version == 6 and address.is_loopback and not relayed:
            continue
        if wanted.is_unspecified or address == wanted:
            found.append((text, interface))
    return found
