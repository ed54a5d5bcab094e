"""Network modes and published ports, from a HostConfig's words to values."""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from firkin import errdefs
from firkin.network import publishing
from firkin.types import container, network

_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(\w+))?")
_PROTOCOLS = ("tcp", "udp", "sctp")


def shared_with(mode: str) -> str:
    """The container named by ``container:NAME``; "" for any other mode."""
    return mode.partition(":")[2] if mode.startswith("container:") else ""


def network_of(mode: str, bridge: str = "") -> str:
    """The network that a container without further words joins in this mode.

    ``bridge`` is the name of the default bridge in the configuration: "none" means there is none.
    """
    found = "bridge" if mode in ("", "default") else mode
    return "none" if (found, bridge) == ("bridge", "none") else found


def host_gateways(
    endpoints: Sequence[network.Endpoint], given: Sequence[str] = ()
) -> tuple[str, ...]:
    """The addresses by which a container with these endpoints reaches its host.

    ``given`` are those of the engine's configuration, if it has any.
    """
    if given:
        return tuple(given)
    for version in (4, 6):
        way = publishing.gateway(endpoints, version)
        if way is not None:
            return (way.gateway if version == 4 else way.ipv6_gateway,)
    return ("127.0.0.1",)


def parse_port(text: str) -> tuple[list[int], str]:
    """``8080``, ``8080/udp`` or ``8000-8002/tcp`` as port numbers and protocol.

    Raises ``InvalidParameter``.
    """
    match = _PORT.fullmatch(text)
    if match is None:
        raise errdefs.InvalidParameter(f"invalid port {text!r}: use PORT[-PORT][/tcp|udp|sctp]")
    first, last = int(match[1]), int(match[2] or match[1])
    proto = (match[3] or "tcp").lower()
    if proto not in _PROTOCOLS:
        raise errdefs.InvalidParameter(f"invalid port {text!r}: unknown protocol {match[3]!r}")
    if not 0 < first <= last <= 65535:
        raise errdefs.InvalidParameter(f"invalid port {text!r}: ports are 1 to 65535, in order")
    return list(range(first, last + 1)), proto


def _host_range(text: str) -> tuple[int, int]:
    if not text:
        return 0, 0
    match = re.fullmatch(r"(\d{1,5})(?:-(\d{1,5}))?", text)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (-1, -1)
    if not 0 <= first <= last <= 65535:
        raise errdefs.InvalidParameter(
            f'invalid port specification: "{text}": use PORT or PORT-PORT'
        )
    return first, last


def published(config: container.Config, host: container.HostConfig) -> list[network.PublishedPort]:
    """What the container publishes: its bindings and, with ``-P``, every exposed port.

    Raises ``InvalidParameter``.
    """
    ports: list[network.PublishedPort] = []
    bound: set[tuple[int, str]] = set()
    for text, bindings in (host.port_bindings or {}).items():
        numbers, proto = parse_port(text)
        for number in numbers:
            for binding in bindings or [container.PortBinding()]:
                ip = binding.host_ip.strip("[]")
                if ip:
                    try:
                        address = ipaddress.ip_address(ip)
                    except ValueError:
                        raise errdefs.InvalidParameter(
                            f"invalid host address {binding.host_ip!r} for port {text}"
                        ) from None
                    ip = str(address)
                first, last = _host_range(binding.host_port)
                if len(numbers) > 1 and first and last - first == len(numbers) - 1:
                    first = last = first + number - numbers[0]
                ports.append(
                    network.PublishedPort(
                        proto=proto,
                        container_port=number,
                        host_ip=ip,
                        host_port=first,
                        host_port_end=last if last > first else 0,
                    )
                )
                bound.add((number, proto))
    if host.publish_all_ports:
        for text in config.exposed_ports or {}:
            numbers, proto = parse_port(text)
            ports += [
                network.PublishedPort(proto=proto, container_port=number)
                for number in numbers
                if (number, proto) not in bound
            ]
    return ports


def check(config: container.Config, host: container.HostConfig) -> None:
    """Raise ``InvalidParameter`` or ``Conflict`` for words that contradict each other."""
    mode = host.network_mode
    shared = shared_with(mode)
    if mode in ("container", "container:"):
        raise errdefs.InvalidParameter(
            "invalid network mode: invalid container format container:<name|id>: a name is missing"
        )
    if shared:
        if config.hostname:
            raise errdefs.InvalidParameter(
                "conflicting options: hostname and the network mode: the hostname belongs to "
                f"container {shared}"
            )
        if host.links:
            raise errdefs.InvalidParameter(
                "conflicting options: container type network can't be used with links. This would "
                "result in undefined behavior: leave --link or --network out"
            )
        if host.port_bindings or host.publish_all_ports:
            raise errdefs.InvalidParameter(
                "conflicting options: port publishing and the container type network mode: publish "
                f"the ports with container {shared}"
            )
        for what, given in (
            ("dns", host.dns),
            ("custom host-to-IP mapping", host.extra_hosts),
        ):
            if given:
                raise errdefs.InvalidParameter(
                    f"conflicting options: {what} and the network mode: give it to container "
                    f"{shared}"
                )
        if config.mac_address:
            raise errdefs.InvalidParameter("conflicting options: mac-address and the network mode")
    for port in config.exposed_ports or {}:
        parse_port(port)
    for entry in host.extra_hosts or []:
        name, colon, address = entry.partition(":")
        address = address.strip("[]")
        if not (name and colon):
            raise errdefs.InvalidParameter(f"bad format for add-host: {entry!r}: use HOST:IP")
        if address != "host-gateway":
            try:
                ipaddress.ip_address(address)
            except ValueError:
                raise errdefs.InvalidParameter(
                    f"invalid IP address in add-host: {address!r}"
                ) from None
    for server in host.dns or []:
        try:
            ipaddress.ip_address(server)
        except ValueError:
            raise errdefs.InvalidParameter(f"invalid DNS server {server!r}: not an IP") from None
    published(config, host)
