"""Host ports for published container ports, each held by a socket.

A published port works by the firewall; no process listens on it. The socket is bound so that no
other program, and no other container, gets the port meanwhile, and so that a port which is in use
is found out before anything is set up. It never receives: a TCP socket that does not listen
refuses connections, a UDP socket gets a filter that lets nothing in.

A port of TCP can be barred from use for a minute by connections of its former server that are
closing. Such a port is taken all the same, as any server does with SO_REUSEADDR; that nobody
listens is proved by listening for an instant.
"""

from __future__ import annotations

import ctypes
import errno
import ipaddress
import logging
import socket
import struct
from collections.abc import Iterable, Sequence

import msgspec

from firkin import errdefs
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

Key = tuple[str, str, int]


def check(port: types.PublishedPort) -> None:
    """Raises ``InvalidParameter`` or ``NotImplemented`` for a port that cannot be published."""
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
        if address.version == 6:
            raise errdefs.NotImplemented(
                f"cannot publish {what} on {port.host_ip}: publishing on IPv6 addresses is not "
                "supported; give an IPv4 address or none"
            )
        if address.is_multicast:
            raise errdefs.InvalidParameter(
                f"cannot publish {what}: {port.host_ip} is not an address of this host"
            )


class PortMapper:
    """The host ports that are held, by the container that holds them."""

    def __init__(self) -> None:
        self._held: dict[str, dict[Key, socket.socket]] = {}

    def reserve(
        self, holder: str, ports: Sequence[types.PublishedPort]
    ) -> tuple[types.PublishedPort, ...]:
        """Hold all the ports for ``holder``, or none, and return them with their real numbers.

        Fixed ports are taken first, so that one picked from a range does not take them away.
        Raises ``InvalidParameter``, ``NotImplemented`` or, for a port in use, ``System``: its text
        begins with ``Bind for`` and holds ``port is already allocated``.
        """
        for port in ports:
            check(port)
        order = sorted(range(len(ports)), key=lambda index: _looseness(ports[index]))
        results: dict[int, types.PublishedPort] = {}
        taken: dict[Key, socket.socket] = {}
        try:
            for index in order:
                number, held = self._take(ports[index])
                taken[_key(ports[index], number)] = held
                results[index] = msgspec.structs.replace(
                    ports[index], host_port=number, host_port_end=0
                )
        except BaseException:
            for held in taken.values():
                held.close()
            raise
        self._held.setdefault(holder, {}).update(taken)
        return tuple(results[index] for index in range(len(ports)))

    def restore(self, holder: str, ports: Iterable[types.PublishedPort]) -> None:
        """Hold again the ports of a container that kept running while no engine held them.

        One that another program has taken meanwhile still leads to the container, because the
        firewall comes first; it is logged.
        """
        for port in ports:
            try:
                self.reserve(holder, [port])
            except errdefs.FirkinError as error:
                log.warning(
                    "port %d/%s still leads to container %s, but is not held: %s",
                    port.host_port, port.proto, holder, error,
                )  # fmt: skip

    def release(self, holder: str) -> None:
        """Let go of all ports of ``holder``; none is fine."""
        for held in self._held.pop(holder, {}).values():
            held.close()

    def close(self) -> None:
        """Let go of everything."""
        for holder in list(self._held):
            self.release(holder)

    def _take(self, port: types.PublishedPort) -> tuple[int, socket.socket]:
        last = port.host_port_end or port.host_port
        for number in range(port.host_port, last + 1):
            try:
                return _bind(port.proto, port.host_ip or "0.0.0.0", number)
            except OSError as error:
                if error.errno != errno.EADDRINUSE or number == last:
                    raise self._explain(port, number, error) from error
        raise AssertionError("a range has at least one port")

    def _explain(self, port: types.PublishedPort, number: int, error: OSError) -> Exception:
        address = port.host_ip or "0.0.0.0"
        where = f"{address}:{number}"
        if port.host_port_end > port.host_port:
            where = f"{address}:{port.host_port}-{port.host_port_end}"
        if error.errno == errno.EADDRINUSE:
            ours = any(
                key[0] == port.proto and key[2] == number
                for ports in self._held.values()
                for key in ports
            )
            by = "" if ours else ": address already in use by another program on this host"
            return errdefs.System(f"Bind for {where} failed: port is already allocated{by}")
        if error.errno == errno.EADDRNOTAVAIL:
            return errdefs.System(
                f"Bind for {where} failed: {address} is not an address of this host"
            )
        if error.errno in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
            return errdefs.NotImplemented(
                f"Bind for {where} failed: this kernel has no {port.proto} sockets"
            )
        return errdefs.System(f"Bind for {where} failed: {error.strerror}")


def _looseness(port: types.PublishedPort) -> int:
    if port.host_port_end > port.host_port:
        return 1
    return 0 if port.host_port else 2


def _key(port: types.PublishedPort, number: int) -> Key:
    return port.proto, port.host_ip or "0.0.0.0", number


def _bind(proto: str, address: str, number: int) -> tuple[int, socket.socket]:
    """A bound, deaf socket and its port; 0 asks for one of ip_local_port_range."""
    kind, protocol = _SOCKETS[proto]
    held = socket.socket(socket.AF_INET, kind | socket.SOCK_CLOEXEC, protocol)
    try:
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
