"""Connections that dawdle are dropped, so that they cannot pile up.

aiohttp waits for a request's head without limit. Here it has to be complete :data:`HEAD` seconds
after its first byte; a connection that waits for nothing is closed after :data:`IDLE` seconds.
"""

from __future__ import annotations

import asyncio

from aiohttp import web, web_protocol

HEAD = 30.0
IDLE = 120.0

_READ_BUFFER = 128 * 1024


class Connection(web_protocol.RequestHandler):
    """The protocol of one connection."""

    __slots__ = ("_clock", "_dawdling", "_handling")

    def __init__(self, server: web.Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server, loop=loop, access_log=None, auto_decompress=False,  # type: ignore[arg-type]
            read_bufsize=_READ_BUFFER, keepalive_timeout=IDLE,
        )  # fmt: skip
        self._clock = loop
        self._dawdling: asyncio.TimerHandle | None = None
        self._handling = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: it begins."""
        super().connection_made(transport)
        self._expect_head()

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes arrived."""
        super().data_received(data)
        if not self._handling and self._dawdling is None:
            self._expect_head()

    def connection_lost(self, exc: BaseException | None) -> None:
        """asyncio: it is over."""
        self._forget()
        super().connection_lost(exc)

    def begin(self) -> None:
        """A request's head is complete and its handler begins."""
        self._handling = True
        self._forget()

    def finish(self) -> None:
        """The handler has ended."""
        self._handling = False

    def _expect_head(self) -> None:
        self._dawdling = self._clock.call_later(HEAD, self._drop)

    def _forget(self) -> None:
        if self._dawdling is not None:
            self._dawdling.cancel()
            self._dawdling = None

    def _drop(self) -> None:
        self._dawdling = None
        if not self._handling and self.transport is not None:
            self.transport.close()
