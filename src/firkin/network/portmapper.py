"""Host ports for published container ports, each held by a socket.

A published port works by the firewall; no process listens on it. The socket is bound so that no
other program, and no other container, gets the port meanwhile, and so that a port which is in use
is found out before anything is set up. It never receives: a TCP socket that does not listen
refuses connections, a UDP socket gets a filter that lets nothing in. Only the relay makes use of
one, where the firewall cannot help.

A port of TCP can be barred from use for a minute by connections of its former server that are
closing. Such a port is taken all the same, as any server does with SO_REUSEADDR; that nobody
listens is proved by listening for an instant.
"""

from __future__ import annotations

import contextlib
import ctypes
import errno
import ipaddress
import logging
import os
import random
import socket
import struct
from collections.abc import Iterable, Mapping, Sequence

import msgspec

from firkin import errdefs
from firkin.linux import sysctl
from firkin.types import network as types

log = logging.getLogger(__name__)

_SO_ATTACH_FILTER, _SO_DETACH_FILTER = 26, 27
_BPF_RETURN = 0x06
_SCTP = 132

_SOCKETS = {
    "tcp": (socket.SOCK_STREAM, socket.IPPROTO_TCP),
    "udp": (socket.SOCK_DGRAM, socket.IPPROTO_UDP),
    "sctp": (socket.SOCK_STREAM, _SCTP),
}

_ANY = {4: "0.0.0.0", 6: "::"}
_ALL = set(_ANY.values())
_IPV4 = dict.fromkeys(_SOCKETS, (4,))
_TRIES = 16

Key = tuple[str, str, int]
"""Protocol, address, port."""


def check(port: types.PublishedPort) -> None:
    """Raises ``InvalidParameter`` for a port that cannot be published."""
    what = f"{port.container_port}/{port.proto}"
    if port.proto not in _SOCKETS:
        raise errdefs.InvalidParameter(
            f"cannot publish {what}: the protocol must be tcp, udp or sctp"
        )
    if not 0 < port.container_port < 65536:
        raise errdefs.InvalidParameter(f"cannot publish {what}: ports go from 1 to 65535")
    if not 0 <= port.host_port < 65536 or not 0 <= port.host_port_end < 65536:
        raise errdefs.InvalidParameter(
            f"cannot publish {what} on host port {port.host_port}: ports go from 1 to 65535"
        )
    if port.host_port_end and not 0 < port.host_port <= port.host_port_end:
        raise errdefs.InvalidParameter(
            f"cannot publish {what}: {port.host_port}-{port.host_port_end} is not a range of ports"
        )
    if port.host_ip:
        try:
            address = ipaddress.ip_address(port.host_ip)
        except ValueError as error:
            raise errdefs.InvalidParameter(
                f"cannot publish {what}: {port.host_ip!r} is not an IP address"
            ) from error
        if address.version == 6 and address.is_link_local:
            raise errdefs.InvalidParameter(
                f"cannot publish {what}: {port.host_ip} is a link-local address, which several "
                "interfaces may have: publish on another address of the host"
            )
        if address.is_multicast:
            raise errdefs.InvalidParameter(
                f"cannot publish {what}: {port.host_ip} is not an address of this host"
            )


class InUse(errdefs.System):
    """A port is taken. ``holder`` is the container that has it, "" for another program."""

    def __init__(self, where: str, proto: str, number: int, holder: str) -> None:
        super().__init__(f"Bind for {where} failed: port is already allocated")
        self.proto = proto
        self.number = number
        self.holder = holder


class PortMapper:
    """The host ports that are held, by the container that holds them."""

    def __init__(self) -> None:
        self._held: dict[str, dict[Key, socket.socket | None]] = {}

    def reserve(
        self,
        holder: str,
        ports: Sequence[types.PublishedPort],
        versions: Mapping[str, Sequence[int]] = _IPV4,
    ) -> tuple[types.PublishedPort, ...]:
        """Hold all the ports for ``holder``, or none, and return them with their real numbers.

        A port without an address is held, by the same number, on every address of each IP version
        that ``versions`` has for its protocol, and returned once for each: without address for
        IPv4, with :: for IPv6. Fixed ports are taken first, so that one picked from a range does
        not take them away. Raises ``InvalidParameter``, ``System``, and ``InUse`` for a port that
        somebody has.
        """
        for port in ports:
            check(port)
        order = sorted(range(len(ports)), key=lambda index: _looseness(ports[index]))
        results: dict[int, list[types.PublishedPort]] = {}
        mine = self._held.setdefault(holder, {})
        taken: dict[Key, socket.socket | None] = {}
        try:
            for index in order:
                port = ports[index]
                number, held = self._take(port, _addresses(port, versions[port.proto]))
                for address, one in held.items():
                    key = (port.proto, address, number)
                    mine[key] = taken[key] = one
                results[index] = [
                    msgspec.structs.replace(
                        port,
                        host_port=number,
                        host_port_end=0,
                        host_ip=port.host_ip or ("" if address == _ANY[4] else address),
                    )
                    for address in held
                ]
        except BaseException:
            for key in taken:
                del mine[key]
            _close(taken.values())
            raise
        return tuple(port for index in range(len(ports)) for port in results[index])

    def restore(
        self,
        holder: str,
        ports: Iterable[types.PublishedPort],
        held: Mapping[Key, socket.socket],
    ) -> None:
        """Hold again the ports of a container that kept running while no engine held them.

        ``held`` are sockets that the relay kept. A port that another program has taken meanwhile
        still leads to the container, because the firewall comes first; it is logged.
        """
        for port in ports:
            key = (port.proto, port.host_ip or _ANY[4], port.host_port)
            if key in held:
                self._held.setdefault(holder, {})[key] = held[key]
                continue
            try:
                self.reserve(holder, [port])
            except errdefs.FirkinError as error:
                log.warning(
                    "port %d/%s still leads to container %s, but is not held: %s",
                    port.host_port, port.proto, holder, error,
                )  # fmt: skip

    def hearing(self, holder: str, key: Key) -> socket.socket | None:
        """The socket by which a port is held, ready to receive; None for a port without one."""
        held = self._held.get(holder, {}).get(key)
        if held is not None and key[0] == "udp":
            with contextlib.suppress(FileNotFoundError):  # it has no filter any more
                held.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
        return held

    def release(self, holder: str) -> None:
        """Let go of all ports of ``holder``; none is fine."""
        _close(self._held.pop(holder, {}).values())

    def close(self) -> None:
        """Let go of everything."""
        for holder in list(self._held):
            self.release(holder)

    def _take(
        self, port: types.PublishedPort, addresses: Sequence[str]
    ) -> tuple[int, dict[str, socket.socket | None]]:
        """One number of those that are asked for, held on all the addresses."""
        last = port.host_port_end or port.host_port
        numbers = list(range(port.host_port, last + 1))
        if not last:
            numbers *= _TRIES
        for position, number in enumerate(numbers):
            held: dict[str, socket.socket | None] = {}
            try:
                for address in addresses:
                    number, held[address] = self._hold(port.proto, address, number)
                return number, held
            except OSError as error:
                _close(held.values())
                if error.errno != errno.EADDRINUSE or position == len(numbers) - 1:
                    raise self._explain(port, number, error, addresses[len(held)]) from error
            except BaseException:
                _close(held.values())
                raise
        raise AssertionError("a range has at least one port")

    def _hold(self, proto: str, address: str, number: int) -> tuple[int, socket.socket | None]:
        try:
            return _bind(proto, address, number)
        except OSError as error:
            # A kernel without SCTP sockets redirects SCTP all the same; nobody can take the port.
            missing = (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT)
            if proto != "sctp" or error.errno not in missing:
                raise
        used = {key[2] for ports in self._held.values() for key in ports if key[0] == proto}
        if number in used:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        first, last = map(int, sysctl.read("net.ipv4.ip_local_port_range").split())
        free = [one for one in range(first, last + 1) if one not in used]
        return number or random.choice(free), None

    def _explain(
        self, port: types.PublishedPort, number: int, error: OSError, address: str
    ) -> Exception:
        shown = f"[{address}]" if ":" in address else address
        where = f"{shown}:{number}"
        if port.host_port_end > port.host_port:
            where = f"{shown}:{port.host_port}-{port.host_port_end}"
        if error.errno == errno.EADDRINUSE:
            return InUse(where, port.proto, number, self._holder(port.proto, address, number))
        if error.errno == errno.EADDRNOTAVAIL:
            return errdefs.System(
                f"Bind for {where} failed: {address} is not an address of this host"
            )
        return errdefs.System(f"Bind for {where} failed: {error.strerror}")

    def _holder(self, proto: str, address: str, number: int) -> str:
        """The container that has a port on an address, or on all of them; "" when none has."""
        for holder, ports in self._held.items():
            for held in ports:
                both = {held[1], address}
                if held[0] == proto and held[2] == number and (len(both) == 1 or both & _ALL):
                    return holder
        return ""


def _looseness(port: types.PublishedPort) -> int:
    if port.host_port_end > port.host_port:
        return 1
    return 0 if port.host_port else 2


def _addresses(port: types.PublishedPort, versions: Sequence[int]) -> list[str]:
    return [port.host_ip] if port.host_ip else [_ANY[version] for version in versions]


def _close(held: Iterable[socket.socket | None]) -> None:
    for one in held:
        if one is not None:
            one.close()


def _bind(proto: str, address: str, number: int) -> tuple[int, socket.socket]:
    """A bound, deaf socket and its port; 0 asks for one of ip_local_port_range."""
    kind, protocol = _SOCKETS[proto]
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    held = socket.socket(family, kind | socket.SOCK_CLOEXEC, protocol)
    try:
        if family == socket.AF_INET6:
            held.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if proto == "udp":
            _refuse_all(held)
        try:
            held.bind((address, number))
        except OSError as error:
            if error.errno != errno.EADDRINUSE or proto != "tcp":
                raise
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            _refuse_all(held)
            held.bind((address, number))
            held.listen(1)
            held.shutdown(socket.SHUT_RD)  # back to bound and not listening
            held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)
            held.setsockopt(socket.SOL_SOCKET, _SO_DETACH_FILTER, 0)
        return held.getsockname()[1], held
    except BaseException:
        held.close()
        raise


def _refuse_all(held: socket.socket) -> None:
    """Attach a filter that accepts no byte of any packet."""
    program = ctypes.create_string_buffer(struct.pack("=HBBI", _BPF_RETURN, 0, 0, 0))
    filters = struct.pack("@HP", 1, ctypes.addressof(program))
    held.setsockopt(socket.SOL_SOCKET, _SO_ATTACH_FILTER, filters)
