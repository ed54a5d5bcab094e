"""One client's connection: who is slow, who has stopped sending, who has gone.

aiohttp reads and answers the requests. What is added here:

* A client may close its sending side when its request is out (``nc -N``, ``dial-stdio`` at the end
  of a pipe) and still gets its answer. On Unix sockets and with TLS only: there such a client can
  be told from one that has gone, and one that goes later is noticed within :data:`WATCH` seconds.
* A request's head has to be complete :data:`HEAD` seconds after its first byte. Connections that
  dawdle or send nothing more are dropped, so that they cannot pile up.
"""

from __future__ import annotations

import asyncio
import logging
import select
import socket

from aiohttp import web, web_protocol

from firkin.types import base

log = logging.getLogger(__name__)

HEAD = 30.0
WATCH = 2.0


def hung_up(transport: asyncio.BaseTransport | None) -> bool:
    """Whether the other end is closed altogether, and not only for sending."""
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is None or sock.fileno() < 0:
        return True
    poll = select.poll()
    poll.register(sock.fileno(), 0)
    return any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))


def _secure(transport: asyncio.BaseTransport | None) -> bool:
    return transport is not None and transport.get_extra_info("ssl_object") is not None


class Connection(web_protocol.RequestHandler):
    """The protocol of a connection until something takes it over (``firkin.api.hijack``)."""

    __slots__ = ("_dawdling", "_loop_", "_watching", "answering", "ended")

    def __init__(self, server: web.Server, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(server, loop=loop, access_log=None, auto_decompress=False)  # type: ignore[arg-type]
        self._loop_ = loop
        self._dawdling: asyncio.TimerHandle | None = None
        self._watching: asyncio.TimerHandle | None = None
        self.answering = False
        self.ended = False
        """Whether the client has stopped sending."""

    def begin(self) -> None:
        """The head of a request is complete and its handler begins."""
        self.answering = True
        self._expect_head(None)

    def finish(self, response: web.StreamResponse) -> None:
        """A handler has ended."""
        self.answering = False
        if self.ended:
            response.force_close()

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes arrived."""
        super().data_received(data)
        if not self.answering and self._dawdling is None:
            self._expect_head(HEAD)

    def eof_received(self) -> bool:  # type: ignore[override]
        """asyncio: the client closed its sending side, or altogether."""
        sock = self.transport.get_extra_info("socket") if self.transport is not None else None
        told = sock is not None and (sock.family == socket.AF_UNIX or _secure(self.transport))
        waiting = self.answering or self._dawdling is not None
        if not (told and waiting) or hung_up(self.transport):
            return False
        self.ended = True
        if not self.answering:  # the rest of an unfinished head will never come
            self._expect_head(1.0)
        self._watch()
        return True

    def connection_lost(self, exc: BaseException | None) -> None:
        """asyncio: it is over."""
        self._expect_head(None)
        if self._watching is not None:
            self._watching.cancel()
        super().connection_lost(exc)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """aiohttp: what came was no HTTP, or nobody handled an error. Answered as any other error.

        A client can send what it likes, so what it sends is not worth a traceback in the log.
        """
        if status >= 500:
            return super().handle_error(request, status, exc, message)
        reason = " ".join(str(message or exc or "bad request").split())
        log.debug("refused: %s", reason)
        answer = web.Response(
            status=status,
            body=base.encode({"message": reason[:500]}),
            content_type="application/json",
        )
        answer.force_close()
        return answer

    def _expect_head(self, seconds: float | None) -> None:
        """Drop the connection unless a handler begins in time; ``None``: no matter when."""
        if self._dawdling is not None:
            self._dawdling.cancel()
        self._dawdling = self._loop_.call_later(seconds, self._drop) if seconds else None

    def _watch(self) -> None:
        transport = self.transport
        if transport is None or transport.get_protocol() is not self:
            return
        if hung_up(transport):
            transport.close()
        else:
            self._watching = self._loop_.call_later(WATCH, self._watch)

    def _drop(self) -> None:
        self._dawdling = None
        if not self.answering and self.transport is not None:
            self.transport.close()
