"""Where the engine is and how to open a byte stream to it.

An address is a URL: ``unix:///path`` or ``tcp://host:port``. ``parse`` turns one into a
``Transport``; a transport only knows how to ``connect`` and what to write in ``Host:``, so another
way to reach an engine (TLS, ssh) is one more class here and nothing else changes.
"""

from __future__ import annotations

import os
import socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Protocol

    class Transport(Protocol):
        """A way to the engine. ``connect`` may be called many times; each stream is separate."""

        address: str
        host_header: str

        def connect(self) -> socket.socket:
            """Open a new stream; raises ``OSError`` when nobody answers."""


FIRKIN_SOCKET = "/run/firkin/firkin.sock"
DOCKER_SOCKET = "/var/run/docker.sock"
TCP_PORT = 2375


class BadAddress(ValueError):
    """The engine's address cannot be understood; the message names it and what is accepted."""


class UnixTransport:
    """A Unix socket on this machine."""

    host_header = "localhost"

    def __init__(self, path: str) -> None:
        self.path = path
        self.address = "unix://" + path

    def connect(self) -> socket.socket:
        family = getattr(socket, "AF_UNIX", None)
        if family is None:
            raise OSError("this system's Python has no Unix sockets; use a tcp:// address")
        stream = socket.socket(family, socket.SOCK_STREAM)
        try:
            stream.connect(self.path)
        except BaseException:
            stream.close()
            raise
        return stream


class TcpTransport:
    """Plain TCP. Without TLS anyone on the way can read and alter the commands."""

    def __init__(self, host: str, port: int) -> None:
        self.host = host
        self.port = port
        shown = f"[{host}]" if ":" in host else host
        self.host_header = f"{shown}:{port}"
        self.address = "tcp://" + self.host_header

    def connect(self) -> socket.socket:
        stream = socket.create_connection((self.host, self.port))
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
        return stream


def default_address(environ: Mapping[str, str]) -> str:
    """The address to use when no ``--host`` was given.

    ``FIRKIN_HOST`` wins over ``DOCKER_HOST``; without either it is Firkin's own socket, or
    Docker's if only that one exists.
    """
    for name in ("FIRKIN_HOST", "DOCKER_HOST"):
        if value := environ.get(name):
            return value
    if not os.path.exists(FIRKIN_SOCKET) and os.path.exists(DOCKER_SOCKET):
        return "unix://" + DOCKER_SOCKET
    return "unix://" + FIRKIN_SOCKET


def parse(address: str) -> Transport:
    """The transport for ``address``; a bare ``host[:port]`` means tcp."""
    scheme, separator, rest = address.partition("://")
    if not separator:
        scheme, rest = "tcp", address
    if scheme == "unix":
        return UnixTransport(rest or DOCKER_SOCKET)
    if scheme in ("tcp", "http"):
        return _parse_tcp(address, rest)
    raise BadAddress(
        f"cannot use the engine address {address!r}: "
        "only unix:///path/to/socket and tcp://host:port are supported"
    )


def _parse_tcp(address: str, rest: str) -> TcpTransport:
    rest = rest.rstrip("/")
    port = TCP_PORT
    if rest.startswith("["):
        host, closed, tail = rest[1:].partition("]")
        if not closed or (tail and not tail.startswith(":")):
            raise BadAddress(f"engine address {address!r}: the IPv6 address is not closed by ']'")
        port_text = tail[1:]
    else:
        host, _, port_text = rest.partition(":")
    if port_text:
        if not (port_text.isascii() and port_text.isdigit() and 0 < int(port_text) < 65536):
            raise BadAddress(f"engine address {address!r}: {port_text!r} is not a port number")
        port = int(port_text)
    if "/" in host:
        raise BadAddress(f"engine address {address!r}: a path after the host is not supported")
    return TcpTransport(host or "127.0.0.1", port)
