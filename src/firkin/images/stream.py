"""Between the event loop, where bytes arrive, and the thread that works on them."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

from firkin import errdefs
from firkin.linux import tasks

T = TypeVar("T")

_LIMIT = 8 << 20


class Buffer:
    """A bounded queue of byte chunks with one reader; ``finish`` ends it, with an error or not."""

    def __init__(self, limit: int = _LIMIT) -> None:
        self._limit = limit
        self._chunks: deque[bytes] = deque()
        self._size = 0
        self._ended = False
        self._abandoned = False
        self._error: BaseException | None = None
        self._changed = threading.Condition()

    def _wait_for_room(self) -> None:
        with self._changed:
            while self._size > self._limit // 2 and not self._abandoned:
                self._changed.wait()

    def offer(self, data: bytes) -> bool:
        """Append without waiting; False when the buffer is now full or nobody reads any more."""
        with self._changed:
            self._chunks.append(data)
            self._size += len(data)
            self._changed.notify_all()
            return self._size < self._limit and not self._abandoned

    def put(self, data: bytes) -> None:
        """Append, waiting for room. For threads. Raises ``Cancelled`` when nobody reads."""
        if not self.offer(data):
            self._wait_for_room()
        if self._abandoned:
            raise errdefs.Cancelled("the reader of the stream has given up")

    async def feed(self, source: AsyncIterator[bytes]) -> None:
        """Append all of ``source``, then finish. Ends early when nobody reads any more."""
        try:
            async for data in source:
                if data and not self.offer(bytes(data)):
                    if self._abandoned:
                        return
                    await asyncio.to_thread(self._wait_for_room)
        except asyncio.CancelledError:
            self.finish(errdefs.Cancelled("the client went away"))
            raise
        except BaseException as error:
            self.finish(error)
        else:
            self.finish()

    def finish(self, error: BaseException | None = None) -> None:
        """No more data; ``error`` is raised to the reader after what is there."""
        with self._changed:
            if not self._ended:
                self._ended, self._error = True, error
            self._changed.notify_all()

    def abandon(self) -> None:
        """The reader's way to say that it has enough."""
        with self._changed:
            self._abandoned = True
            self._chunks.clear()
            self._changed.notify_all()

    def take(self) -> list[bytes]:
        """All that is there, waiting for some; an empty list at the end. Raises the error given."""
        with self._changed:
            while not self._chunks and not self._ended:
                self._changed.wait()
            if not self._chunks and self._error is not None:
                raise self._error
            chunks = list(self._chunks)
            self._chunks.clear()
            self._size = 0
            self._changed.notify_all()
        return chunks


async def in_own_thread(work: Callable[[], T], name: str) -> T:
    """Run ``work`` in a thread of its own; unlike ``to_thread`` it may wait for the event loop.

    When the awaiting task is cancelled, the thread is still waited for: make ``work`` end first
    (see :func:`consume`).
    """
    loop = asyncio.get_running_loop()
    future: asyncio.Future[T] = loop.create_future()

    def settle(result: Callable[[], None]) -> None:
        if not future.done():
            result()

    def body() -> None:
        try:
            value = work()
        except BaseException as error:
            failure = error
            loop.call_soon_threadsafe(settle, lambda: future.set_exception(failure))
        else:
            loop.call_soon_threadsafe(settle, lambda: future.set_result(value))

    threading.Thread(target=body, name=name, daemon=True).start()
    try:
        return await asyncio.shield(future)
    except asyncio.CancelledError:
        with contextlib.suppress(Exception):
            await asyncio.wait([future])
            future.exception()
        raise


async def consume(source: AsyncIterator[bytes], work: Callable[[Buffer], T], name: str) -> T:
    """``work(buffer)`` in a thread while the buffer is fed from ``source``.

    Cancelled, it makes the thread's next read fail and waits for its end.
    """
    buffer = Buffer()
    owner = tasks.Tasks(name)
    owner.spawn(buffer.feed(source), "receive")
    waiter = owner.spawn_quiet(in_own_thread(lambda: work(buffer), name), "work")
    try:
        return await asyncio.shield(waiter)
    finally:
        buffer.finish(errdefs.Cancelled("the client went away"))
        if not waiter.done():
            await asyncio.wait([waiter])
        buffer.abandon()
        await owner.close()
