"""A websocket as the client of a container's streams (ContainerAttachWebsocket)."""

from __future__ import annotations

import asyncio

import aiohttp
from aiohttp import web

from firkin import errdefs

_QUEUE = 64


class Connection:
    """Implements ``engine.containers.streams.Client`` over a websocket of binary messages."""

    def __init__(self, request: web.BaseRequest) -> None:
        self._request = request
        self._socket = web.WebSocketResponse()
        self._outgoing: asyncio.Queue[bytes] = asyncio.Queue()
        self._behind = asyncio.Event()
        self._behind.set()
        self._gone = asyncio.Event()

    @property
    def gone(self) -> bool:
        """See ``Client.gone``."""
        return self._gone.is_set()

    async def open(self) -> None:
        """Do the websocket handshake. Raises ``InvalidParameter`` for a request of another kind."""
        try:
            await self._socket.prepare(self._request)
        except web.HTTPBadRequest as error:
            reason = " ".join((error.text or "").split())
            raise errdefs.InvalidParameter(f"this is a door for websockets: {reason}") from error

    def write(self, data: bytes) -> bool:
        """See ``Client.write``."""
        self._outgoing.put_nowait(data)
        if self._outgoing.qsize() > _QUEUE:
            self._behind.clear()
        return self._behind.is_set()

    async def drained(self) -> None:
        """See ``Client.drained``."""
        await self._behind.wait()

    async def read(self) -> bytes:
        """See ``Client.read``."""
        while True:
            message = await self._socket.receive()
            if message.type in (aiohttp.WSMsgType.BINARY, aiohttp.WSMsgType.TEXT):
                data = message.data
                encoded = data.encode() if isinstance(data, str) else bytes(data)
                if encoded:
                    return encoded
            else:
                self._gone.set()
                self._behind.set()
                return b""

    async def lost(self) -> None:
        """See ``Client.lost``."""
        await self._gone.wait()

    async def send(self) -> None:
        """Bring queued output to the client; runs beside the session."""
        while True:
            data = await self._outgoing.get()
            try:
                await self._socket.send_bytes(data)
            except ConnectionError:
                self._gone.set()
                self._behind.set()
                return
            if self._outgoing.qsize() <= _QUEUE // 2:
                self._behind.set()

    async def flush(self) -> None:
        """Send what is queued, and close."""
        while not self._outgoing.empty() and not self._gone.is_set():
            await self._socket.send_bytes(self._outgoing.get_nowait())
        await self._socket.close()

    @property
    def response(self) -> web.StreamResponse:
        """What the handler returns."""
        return self._socket
