"""Where the engine is and how to open a byte stream to it.

An address is a URL::

    unix:///path             a Unix socket on this machine
    tcp://host[:port]        TCP, with TLS when there is a ``tls.Identity`` to use
    ssh://[user@]host[:port] the standard streams of a command on that host (see ``ssh``)

``parse`` turns one into a ``Transport``; a transport only knows how to ``connect`` and what to
write in ``Host:``. ``socket``, ``ssl`` and ``subprocess`` take long to import: each is imported by
the transport that needs it, and a Unix socket needs only the C half of ``socket``.
"""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Protocol

    from firkin.client import tls

    class Channel(Protocol):
        """A byte stream: what of a socket is used here."""

        def recv(self, size: int, /) -> bytes: ...

        def sendall(self, data: bytes, /) -> None: ...

        def shutdown(self, how: int, /) -> None: ...

        def close(self) -> None: ...

        def fileno(self) -> int: ...

    class Transport(Protocol):
        """A way to the engine. ``connect`` may be called many times; each stream is separate."""

        address: str
        host_header: str

        def connect(self) -> Channel:
            """Open a new stream; raises ``OSError`` when nobody answers."""


FIRKIN_SOCKET = "/run/firkin/firkin.sock"
DOCKER_SOCKET = "/var/run/docker.sock"
TCP_PORT = 2375
TLS_PORT = 2376


class BadAddress(ValueError):
    """The engine's address cannot be understood; the message names it and what is accepted."""


class UnixTransport:
    """A Unix socket on this machine."""

    host_header = "localhost"

    def __init__(self, path: str) -> None:
        self.path = path
        self.address = "unix://" + path

    def connect(self) -> Channel:
        import _socket as socket

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
    """TCP. Without TLS anyone on the way can read and alter the commands."""

    def __init__(self, host: str, port: int, identity: tls.Identity | None = None) -> None:
        self.host = host
        self.port = port
        self._identity = identity
        shown = f"[{host}]" if ":" in host else host
        self.host_header = f"{shown}:{port}"
        self.address = "tcp://" + self.host_header

    def connect(self) -> Channel:
        import socket

        stream = socket.create_connection((self.host, self.port))
        try:
            stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if self._identity is None:
                return stream
            from firkin.client import tls

            return tls.Channel(stream, self._identity, self.host)
        except BaseException:
            stream.close()
            raise


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


def parse(address: str, identity: tls.Identity | None = None) -> Transport:
    """The transport for ``address``; a bare ``host[:port]`` means tcp.

    With an ``identity`` TCP has TLS. ``https`` without one is refused: the address asks for a
    protection that nothing here could give.
    """
    scheme, separator, rest = address.partition("://")
    if not separator:
        scheme, rest = "tcp", address
    if scheme == "unix":
        return UnixTransport(rest or DOCKER_SOCKET)
    if scheme == "ssh":
        from firkin.client import ssh

        return ssh.parse(address)
    if scheme in ("tcp", "http") or (scheme == "https" and identity):
        return _parse_tcp(address, rest, identity)
    if scheme == "npipe":
        raise BadAddress(f"cannot use the engine address {address!r}: named pipes are not supported"
                         " yet; let the engine listen on tcp:// with TLS")  # fmt: skip
    raise BadAddress(
        f"cannot use the engine address {address!r}: only unix:///path/to/socket, tcp://host:port"
        " and ssh://user@host are supported"
    )


def _parse_tcp(address: str, rest: str, identity: tls.Identity | None) -> TcpTransport:
    rest = rest.rstrip("/")
    port = TLS_PORT if identity else TCP_PORT
    if rest.startswith("["):
        host, closed, tail = rest[1:].partition("]")
        if not closed or (tail and not tail.startswith(":")):
            raise BadAddress(f"engine address {address!r}: the IPv6 address is not closed by ']'")
        port_text = tail[1:]
    else:
        host, _, port_text = rest.partition(":")
    if port_text:
        port = parse_port(address, port_text)
    if "/" in host:
        raise BadAddress(f"engine address {address!r}: a path after the host is not supported")
    return TcpTransport(host or "127.0.0.1", port, identity)


def parse_port(address: str, text: str) -> int:
    """The port in an address. Raises ``BadAddress``."""
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 0 < int(text) < 65536):
        raise BadAddress(f"engine address {address!r}: {text!r} is not a port number")
    return int(text)
