"""Which of a container's endpoints is its way out, and what the firewall does for its ports. Pure.

A container on several networks has one default gateway per address family: that of the endpoint
with the highest priority (``--gw-priority``), among equals that of the network whose name comes
first. Its published ports lead to the same endpoint, so that answers leave the way the questions
came.

The firewall redirects packets to published ports, but cannot where the kernel translates no
addresses: packets from ::1 (Linux has no route_localnet for IPv6), and packets of IPv6 for a
container that has only IPv4. There the relay listens on the port.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Sequence

import msgspec

from firkin import errdefs
from firkin.network import driver as drivers
from firkin.network import ruleset
from firkin.network.relay import protocol as relay_protocol
from firkin.types import network as types

PROTOCOLS = ("tcp", "udp", "sctp")
RELAYED = ("tcp", "udp")
"""The protocols that the relay knows."""

_ANYWHERE = ("0.0.0.0", "::")


def gateway(endpoints: Iterable[types.Endpoint], version: int) -> types.Endpoint | None:
    """The endpoint that is the way out for an IP version, if there is one."""
    able = [one for one in endpoints if (one.gateway if version == 4 else one.ipv6_gateway)]
    return min(able, key=lambda one: (-one.gw_priority, one.network_name), default=None)


def versions(
    ipv4: drivers.Publishing | None, ipv6: drivers.Publishing | None, *, relay: bool
) -> dict[str, tuple[int, ...]]:
    """By which IP versions ports that name no address are redirected, by their protocol.

    Ways out of these kinds; ``relay``: whether there is one, on a host that has IPv6.
    """
    redirected = [4] if ipv4 is not None and not ipv4.routed else []
    own = [*redirected, 6] if ipv6 is not None and not ipv6.routed else redirected
    relayed = [4, 6] if relay and ipv6 is None and redirected else own
    return {proto: tuple(relayed if proto in RELAYED else own) for proto in PROTOCOLS}


def wanted(
    ports: Sequence[types.PublishedPort],
    ipv4: drivers.Publishing | None,
    ipv6: drivers.Publishing | None,
    *,
    relay: bool,
) -> list[types.PublishedPort]:
    """The ports that can be published by ways out of these kinds, with the networks' defaults.

    Raises ``InvalidParameter`` for an address that the container cannot be reached by.
    """
    if ipv4 is None and ipv6 is None:
        return []
    found = []
    for port in ports:
        address = port.host_ip or (ipv4.binding if ipv4 else "")
        if not port.host_ip and address in _ANYWHERE:
            address = ""
        if address:
            _check_address(port, ipaddress.ip_address(address), ipv4, ipv6, relay=relay)
        found.append(msgspec.structs.replace(port, host_ip=address))
    return found


def _check_address(
    port: types.PublishedPort,
    address: ruleset.Address,
    ipv4: drivers.Publishing | None,
    ipv6: drivers.Publishing | None,
    *,
    relay: bool,
) -> None:
    what = f"cannot publish {port.container_port}/{port.proto} on {address}: "
    own = ipv4 if address.version == 4 else ipv6
    needs_relay = address.version == 6 and (own is None or address.is_loopback)
    if own is not None and (own.routed or not needs_relay):
        return
    if own is None and (address.version == 4 or ipv4 is None or ipv4.routed):
        raise errdefs.InvalidParameter(
            f"{what}the container has no IPv{address.version} address with a way out; join it to a "
            f"network with IPv{address.version}, or publish on an address of the other kind"
        )
    why = "packets from ::1" if address.is_loopback else "IPv6 packets for an IPv4 container"
    if not relay:
        raise errdefs.InvalidParameter(
            f"{what}the kernel cannot redirect {why}, and the engine's relay is switched off "
            "(userland-proxy) or the host has no IPv6; publish on an IPv4 address"
        )
    if port.proto not in RELAYED:
        raise errdefs.InvalidParameter(
            f"{what}the kernel cannot redirect {why}, and the engine's relay knows only "
            f"{' and '.join(RELAYED)}; publish on another address"
        )


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
    """What the firewall must do for the endpoint's published ports.

    A redirect from IPv6 to IPv4 stands for a port that the relay listens on.
    """
    return [
        ruleset.Redirect(
            proto=port.proto,
            host_ip=ipaddress.ip_address(port.host_ip or "0.0.0.0"),
            host_port=port.host_port,
            container_ip=ipaddress.ip_address(_target(endpoint, port)),
            container_port=port.container_port,
        )
        for port in endpoint.ports
        if not (port.host_port and _is_loopback6(port))
    ]


def relayed(endpoint: types.Endpoint) -> list[relay_protocol.Port]:
    """What the relay must do for the endpoint's published ports."""
    return [
        relay_protocol.Port(
            port.proto,
            port.host_ip,
            port.host_port,
            _target(endpoint, port),
            port.container_port,
            endpoint.netns,
        )
        for port in endpoint.ports
        if port.host_port
        and port.proto in RELAYED
        and version_of(port) == 6
        and (not endpoint.ipv6_address or port.host_ip == "::" or _is_loopback6(port))
    ]


def _target(endpoint: types.Endpoint, port: types.PublishedPort) -> str:
    own = endpoint.ipv6_address if version_of(port) == 6 else endpoint.ipv4_address
    return own or endpoint.ipv4_address


def _is_loopback6(port: types.PublishedPort) -> bool:
    return port.host_ip == "::1"


def merged(ports: Iterable[types.PublishedPort]) -> list[types.PublishedPort]:
    """Real ports as they would be asked for again: those without address, once for each."""
    found = list(ports)
    return [
        port
        for port in found
        if port.host_ip != "::" or msgspec.structs.replace(port, host_ip="") not in found
    ]
