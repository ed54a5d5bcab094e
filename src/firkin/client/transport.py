"""Ways to open a byte stream to the engine.

A transport only knows how to ``connect`` and what to write in ``Host:``; ``addresses`` chooses one.
``socket`` and ``ssl`` take long to import: each is imported by the transport that needs it, and a
Unix socket needs only the C half of ``socket``.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
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
        base: str
        """What comes before every path."""
        host_header: str

        def connect(self) -> Channel:
            """Open a new stream; raises ``OSError`` when nobody answers."""


class BadAddress(ValueError):
    """The engine's address cannot be understood; the message names it and what is accepted."""


class UnixTransport:
    """A Unix socket on this machine."""

    base = ""
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

    def __init__(
        self, host: str, port: int, identity: tls.Identity | None = None, base: str = ""
    ) -> None:
        self.host = host
        self.base = base
        self.port = port
        self._identity = identity
        shown = f"[{host}]" if ":" in host else host
        self.host_header = f"{shown}:{port}"
        self.address = "tcp://" + self.host_header + base

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


def parse_port(address: str, text: str) -> int:
    """The port in an address. Raises ``BadAddress``."""
    if not (text.isascii() and text.isdigit() and len(text) < 6 and 0 < int(text) < 65536):
        raise BadAddress(f"engine address {address!r}: {text!r} is not a port number")
    return int(text)
