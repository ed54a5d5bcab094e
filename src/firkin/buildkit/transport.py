"""gRPC on a connection that exists already: grpclib's two ends without their own sockets."""

from __future__ import annotations

import asyncio
from collections.abc import Collection
from typing import Protocol

import grpclib.client
import grpclib.const
import grpclib.protocol
import grpclib.server
from grpclib import config as configuration

_WINDOW = 4 << 20
"""Bytes that a peer may send before it must wait for us, for a stream and for a connection."""

CONFIG = configuration.Configuration(
    http2_connection_window_size=_WINDOW, http2_stream_window_size=_WINDOW
)


class Service(Protocol):
    """What a gRPC server serves: handlers by the path of their method."""

    def __mapping__(self) -> dict[str, grpclib.const.Handler]: ...


class Server:
    """Serves the same services on any number of connections."""

    def __init__(self, services: Collection[Service]) -> None:
        self._server = grpclib.server.Server(services, config=CONFIG)

    def protocol(self) -> Ended:
        """The protocol for one more connection, whose transport it gets by ``connection_made``."""
        made = self._server._protocol_factory()
        return Ended(made)


class Ended(asyncio.Protocol):
    """A gRPC connection's protocol, and a way to wait for its end."""

    def __init__(self, inner: grpclib.protocol.H2Protocol) -> None:
        self.inner = inner
        self._over = asyncio.Event()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: the connection is ours."""
        self.inner.connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """asyncio: input arrived."""
        self.inner.data_received(data)

    def eof_received(self) -> bool:
        """asyncio: the peer has ended. HTTP/2 has no half-closed connections."""
        return False

    def pause_writing(self) -> None:
        """asyncio: the peer is behind."""
        self.inner.pause_writing()

    def resume_writing(self) -> None:
        """asyncio: it has caught up."""
        self.inner.resume_writing()

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio: it is over."""
        self.inner.connection_lost(error)
        self._over.set()

    async def over(self) -> None:
        """Wait for the end of the connection."""
        await self._over.wait()

    @property
    def ended(self) -> bool:
        """Whether the connection is over."""
        return self._over.is_set()


class Channel(grpclib.client.Channel):
    """Calls on one given connection; when that is over, calls fail."""

    def __init__(self) -> None:
        super().__init__(config=CONFIG)
        self.connection = Ended(self._protocol_factory())

    async def _create_connection(self) -> grpclib.protocol.H2Protocol:
        if self.connection.ended:
            raise ConnectionResetError("the session of the client is over")
        return self.connection.inner


class Tunnel(asyncio.Transport):
    """A connection whose bytes are messages of a stream of another one.

    ``closed`` is set when this side has ended it. What is written waits in ``outgoing``; the peer
    is told to pause while much of it does.
    """

    _HIGH, _LOW = 4 << 20, 1 << 20

    def __init__(self, protocol: Ended) -> None:
        super().__init__()
        self._protocol = protocol
        self.outgoing: asyncio.Queue[bytes | None] = asyncio.Queue()
        self._waiting = 0
        self._paused = False
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """asyncio: send."""
        if self._closing or not data:
            return
        self._waiting += len(data)
        self.outgoing.put_nowait(bytes(data))
        if self._waiting > self._HIGH and not self._paused:
            self._paused = True
            self._protocol.pause_writing()

    def sent(self, count: int) -> None:
        """That many bytes have left ``outgoing``."""
        self._waiting -= count
        if self._paused and self._waiting < self._LOW:
            self._paused = False
            self._protocol.resume_writing()

    def is_closing(self) -> bool:
        """asyncio: whether this side has ended it."""
        return self._closing

    def close(self) -> None:
        """asyncio: end it."""
        if not self._closing:
            self._closing = True
            self.outgoing.put_nowait(None)

    def abort(self) -> None:
        """asyncio: end it now."""
        self.close()

    def pause_reading(self) -> None:
        """asyncio: HTTP/2 has windows of its own, nothing needs to pause."""

    def resume_reading(self) -> None:
        """asyncio: see ``pause_reading``."""

    def get_write_buffer_size(self) -> int:
        """asyncio: bytes that wait."""
        return self._waiting
