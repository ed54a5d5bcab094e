"""One client's connection: who is slow, who has stopped sending, who has gone.

aiohttp reads and answers the requests. What is added here:

* A client may close its sending side when its request is out (``nc -N``, ``dial-stdio`` at the end
  of a pipe) and still gets its answer. On Unix sockets and with TLS only: there such a client can
  be told from one that has gone, and one that goes later is noticed within :data:`WATCH` seconds.
* A request's head has to be complete :data:`HEAD` seconds after its first byte, and within
  :data:`MAX_HEAD` bytes. Connections that dawdle or send nothing more are dropped, so that they
  cannot pile up.
* There are never more connections than a :class:`Census` allows, so that files can still be opened
  for those that are served.
* A client that takes nothing of an answer for :data:`STALL` seconds is dropped, since the answer is
  in memory. Not from a stream, which waits for its reader and holds little: ``logs | less``.
"""

from __future__ import annotations

import asyncio
import logging
import select
import socket
from typing import cast

from aiohttp import web, web_protocol

from firkin.linux import descriptors
from firkin.types import base

log = logging.getLogger(__name__)

HEAD = 30.0
WATCH = 2.0
STALL = 120.0
LINGER = 0.25
"""Seconds for which the rest of a refused body is read, so that its sender hears the answer."""

MAX_HEAD = 1 << 20
MAX_LINE = 256 << 10
"""The longest request line or header, in bytes: build arguments and credentials are long."""


class Census:
    """How many connections there are, and whether there is room for one more.

    They may take three quarters of the files that may be open.
    """

    def __init__(self) -> None:
        self.count = 0
        self._room = descriptors.take_all() // 4 * 3

    def admit(self) -> bool:
        """Count one more, unless there are too many."""
        if self.count >= self._room:
            return False
        self.count += 1
        return True

    def leave(self) -> None:
        """One is gone."""
        self.count -= 1


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

    __slots__ = (
        "_census", "_dawdling", "_head", "_loop_", "_stalled", "_watching", "answering", "ended",
        "streaming",
    )  # fmt: skip

    def __init__(
        self,
        server: web.Server,
        loop: asyncio.AbstractEventLoop,
        census: Census | None = None,
    ) -> None:
        """``census`` counts it; ``None`` where that is done already."""
        super().__init__(
            server,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]
            auto_decompress=False,
            lingering_time=LINGER,
            max_line_size=MAX_LINE,
            max_field_size=MAX_LINE,
        )
        self._loop_ = loop
        self._census = census
        self._dawdling: asyncio.TimerHandle | None = None
        self._watching: asyncio.TimerHandle | None = None
        self._stalled: asyncio.TimerHandle | None = None
        self._head = 0
        self.answering = False
        self.ended = False
        """Whether the client has stopped sending."""
        self.streaming = False
        """Whether the answer is a stream, which may wait for its reader."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """asyncio: a client has come."""
        if self._census is not None and not self._census.admit():
            self._census = None
            cast(asyncio.Transport, transport).abort()
            return
        super().connection_made(transport)

    def begin(self) -> None:
        """The head of a request is complete and its handler begins."""
        self.answering = True
        self.streaming = False
        self._head = 0
        self._expect_head(None)

    def finish(self, response: web.StreamResponse) -> None:
        """A handler has ended."""
        self.answering = False
        if self.ended:
            response.force_close()

    def data_received(self, data: bytes) -> None:
        """asyncio: bytes arrived."""
        super().data_received(data)
        if self.answering or not self._between_requests():
            return
        self._head += len(data)
        if self._head > MAX_HEAD:
            self._drop()
        elif self._dawdling is None:
            self._expect_head(HEAD)

    def _between_requests(self) -> bool:
        """Whether what arrives is a head, and not the rest of a body that nobody wants."""
        waiter = self._waiter
        return self._request_count == 0 or (waiter is not None and not waiter.done())

    def pause_writing(self) -> None:
        """asyncio: the client is behind."""
        super().pause_writing()
        if not self.streaming:
            self._stalled = self._loop_.call_later(STALL, self._give_up)

    def resume_writing(self) -> None:
        """asyncio: it has caught up."""
        super().resume_writing()
        self._cancel_stall()

    def _cancel_stall(self) -> None:
        if self._stalled is not None:
            self._stalled.cancel()
            self._stalled = None

    def _give_up(self) -> None:
        self._stalled = None
        if self.transport is not None and not self.streaming:
            self.transport.abort()

    def eof_received(self) -> bool:  # type: ignore[override]
        """asyncio: the client closed its sending side, or altogether."""
        sock = self.transport.get_extra_info("socket") if self.transport is not None else None
        told = sock is not None and (sock.family == socket.AF_UNIX or _secure(self.transport))
        waiting = self.answering or self._dawdling is not None or not self._between_requests()
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
        self._cancel_stall()
        if self._census is not None:
            self._census.leave()
            self._census = None
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
