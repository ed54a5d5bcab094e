"""Taking over an HTTP connection, as attach and exec do.

The client asks with ``Upgrade: tcp`` and gets 101, or asks without and gets 200; from then on the
connection carries the process's streams both ways. A client that closes its sending side ends the
input only (half-close).
"""

from __future__ import annotations

import asyncio
import fcntl
import termios
from socket import AF_UNIX
from typing import Any

from aiohttp import web

from firkin.api import connection

RAW = "application/vnd.docker.raw-stream"
MULTIPLEXED = "application/vnd.docker.multiplexed-stream"

_BUFFER = 1 << 18
_LOSES_WHAT_FOLLOWS = "docker-sdk-python"
"""It reads the head through a buffer and the stream past it: what came with the head is lost."""
_PAUSE, _TRIES = 0.001, 1000  # seconds


class Taken(web.StreamResponse):
    """What a handler returns after it has served a hijacked connection: nothing more is sent."""

    async def prepare(self, request: web.BaseRequest) -> Any:
        """Send no header."""
        return None

    async def write_eof(self, data: Any = b"") -> None:
        """Send no body."""

    @property
    def keep_alive(self) -> bool | None:
        """The connection ends here."""
        return False


def hand_over(request: web.BaseRequest, protocol: asyncio.Protocol, upgrade: str) -> Taken:
    """Answer 101 and give the connection to ``protocol``, which speaks ``upgrade`` from now on.

    Returns what the handler must return when the connection is over.
    """
    transport, http = request.transport, request.protocol
    if transport is None:
        raise ConnectionResetError("the client has gone")
    transport.write(
        f"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: {upgrade}\r\n\r\n".encode()
    )
    tail, http._message_tail = bytes(http._message_tail), b""
    transport.set_protocol(protocol)
    protocol.connection_made(transport)
    transport.resume_reading()
    if tail:
        protocol.data_received(tail)
    return Taken()


class Connection(asyncio.Protocol):
    """A hijacked connection; implements ``engine.containers.streams.Client``."""

    def __init__(self, request: web.BaseRequest) -> None:
        transport = request.transport
        if transport is None:
            raise ConnectionResetError("the client has gone")
        self._request = request
        self._transport: asyncio.Transport = transport
        self._http: Any = request.protocol
        self._buffer = bytearray()
        self._eof = False
        self._gone = asyncio.Event()
        self._readable = asyncio.Event()
        self._writable = asyncio.Event()
        self._writable.set()

    @property
    def gone(self) -> bool:
        """Whether the connection is lost."""
        return self._gone.is_set()

    async def take(self, content_type: str) -> None:
        """Answer the request and take the connection over."""
        if "Upgrade" in self._request.headers:
            head = "HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
        else:
            head = "HTTP/1.1 200 OK\r\nConnection: close\r\n"
        self._transport.write(f"{head}Content-Type: {content_type}\r\n\r\n".encode())
        tail, self._http._message_tail = bytes(self._http._message_tail), b""
        self._transport.set_protocol(self)
        self._transport.resume_reading()
        if tail:
            self.data_received(tail)
        if self._http.ended:
            self._eof = True
            self._readable.set()
        if self._request.headers.get("User-Agent", "").startswith(_LOSES_WHAT_FOLLOWS):
            await self._head_read()

    async def _head_read(self) -> None:
        """Wait until the client has read the answer's head, as far as its kernel tells us that."""
        socket = self._transport.get_extra_info("socket")
        if socket is None or socket.family != AF_UNIX:
            return
        for _ in range(_TRIES):
            unread = fcntl.ioctl(socket.fileno(), termios.TIOCOUTQ, b"\0" * 4)
            if not self._transport.get_write_buffer_size() and not any(unread):
                break
            if self._gone.is_set():
                break
            await asyncio.sleep(_PAUSE)

    def data_received(self, data: bytes) -> None:
        """asyncio: input arrived."""
        self._buffer += data
        if len(self._buffer) > _BUFFER:
            self._transport.pause_reading()
        self._readable.set()

    def eof_received(self) -> bool:
        """asyncio: the client closed its sending side, or altogether."""
        self._eof = True
        self._readable.set()
        return not connection.hung_up(self._transport)

    def connection_lost(self, error: Exception | None) -> None:
        """asyncio: it is over."""
        self._eof = True
        self._gone.set()
        self._readable.set()
        self._writable.set()

    def pause_writing(self) -> None:
        """asyncio: the client is behind."""
        self._writable.clear()

    def resume_writing(self) -> None:
        """asyncio: it has caught up."""
        self._writable.set()

    def write(self, data: bytes) -> bool:
        """See ``Client.write``."""
        if self._gone.is_set():
            return True
        self._transport.write(data)
        return self._writable.is_set()

    async def drained(self) -> None:
        """See ``Client.drained``."""
        await self._writable.wait()

    async def read(self) -> bytes:
        """See ``Client.read``."""
        while not self._buffer and not self._eof:
            self._readable.clear()
            await self._readable.wait()
        data = bytes(self._buffer)
        self._buffer.clear()
        if not self._eof:
            self._transport.resume_reading()
        return data

    async def lost(self) -> None:
        """See ``Client.lost``."""
        await self._gone.wait()

    def close(self) -> Taken:
        """Send what is still to be sent and close; what the handler returns."""
        if not self._gone.is_set():
            self._transport.close()
        self._http.connection_lost(None)
        return Taken()
