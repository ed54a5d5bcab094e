"""Which of a container's endpoints is its way out, and what the firewall does for its ports. Pure.

A container on several networks has one default gateway per address family: that of the endpoint
with the highest priority (``--gw-priority``), among equals that of the network whose name comes
first. Its published ports lead to the same endpoint, so that answers leave the way the questions
came.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

import msgspec

from firkin import errdefs
from firkin.network import driver as drivers
from firkin.network import ruleset
from firkin.types import network as types


def gateway(endpoints: Iterable[types.Endpoint], version: int) -> types.Endpoint | None:
    """The endpoint that is the way out for an IP version, if there is one."""
    able = [one for one in endpoints if (one.gateway if version == 4 else one.ipv6_gateway)]
    return min(able, key=lambda one: (-one.gw_priority, one.network_name), default=None)


def wanted(
    ports: Sequence[types.PublishedPort],
    ipv4: drivers.Publishing | None,
    ipv6: drivers.Publishing | None,
) -> list[types.PublishedPort]:
    """The ports that can be published by ways out of these kinds, with the networks' defaults.

    Raises ``InvalidParameter`` for an address of a family that the container has no way out for.
    """
    if ipv4 is None and ipv6 is None:
        return []
    found = []
    for port in ports:
        address = port.host_ip or (ipv4.binding if ipv4 else "")
        if address:
            version = ipaddress.ip_address(address).version
            if (ipv4 if version == 4 else ipv6) is None:
                raise errdefs.InvalidParameter(
                    f"cannot publish {port.container_port}/{port.proto} on {address}: the "
                    f"container has no IPv{version} address with a way out; join it to a network "
                    f"with IPv{version}, or publish on an address of the other kind"
                )
        found.append(msgspec.structs.replace(port, host_ip=address))
    return found


def kept(
    ports: Iterable[types.PublishedPort], before: Iterable[types.PublishedPort]
) -> list[types.PublishedPort]:
    """The ports, with the host ports of ``before`` for those that leave them open."""
    chosen = {(one.proto, one.container_port, one.host_ip): one.host_port for one in before}
    return [
        msgspec.structs.replace(
            one, host_port=chosen.get((one.proto, one.container_port, one.host_ip), 0)
        )
        if not one.host_port
        else one
        for one in ports
    ]


def version_of(port: types.PublishedPort) -> int:
    """The IP version by which a real port is published."""
    return 6 if ":" in port.host_ip else 4


def redirects(endpoint: types.Endpoint) -> list[ruleset.Redirect]:
    """What the firewall must do for the endpoint's published ports."""
    return [
        ruleset.Redirect(
            proto=port.proto,
            host_ip=ipaddress.ip_address(port.host_ip or "0.0.0.0"),
            host_port=port.host_port,
            container_ip=ipaddress.ip_address(
                endpoint.ipv6_address if version_of(port) == 6 else endpoint.ipv4_address
            ),
            container_port=port.container_port,
        )
        for port in endpoint.ports
    ]


def merged(ports: Iterable[types.PublishedPort]) -> list[types.PublishedPort]:
    """Real ports as they would be asked for again: those without address, once for each."""
    found = list(ports)
    return [
        port
        for port in found
        if port.host_ip != "::" or msgspec.structs.replace(port, host_ip="") not in found
    ]
