"""A thread that does one thing after the other, for work that may block for long.

Work on the event loop's own pool of threads holds up all the rest of the engine when it blocks;
this holds up nobody. The thread is started with the first work and does not keep the process.
"""

from __future__ import annotations

import asyncio
import queue
import threading
from collections.abc import Callable
from typing import Any, TypeVar

T = TypeVar("T")


class Worker:
    """One thread and its queue."""

    def __init__(self, name: str) -> None:
        self._name = name
        self._queue: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._ended = asyncio.Event()

    async def run(self, work: Callable[..., T], *args: Any) -> T:
        """``work(*args)`` in the thread, after what was asked for before.

        When the caller is cancelled the work is done all the same.
        """
        loop = asyncio.get_running_loop()
        future: asyncio.Future[T] = loop.create_future()

        def settle(result: Any, error: BaseException | None) -> None:
            if future.done():
                return
            if error is not None:
                future.set_exception(error)
            else:
                future.set_result(result)

        def task() -> None:
            result, failure = None, None
            try:
                result = work(*args)
            except BaseException as error:
                failure = error
            try:
                loop.call_soon_threadsafe(settle, result, failure)
            except RuntimeError:
                pass  # the loop is closed: nobody waits any more

        self._queue.put(task)
        if self._thread is None:
            self._thread = threading.Thread(
                target=self._serve, args=(loop,), name=self._name, daemon=True
            )
            self._thread.start()
        return await future

    def _serve(self, loop: asyncio.AbstractEventLoop) -> None:
        while (task := self._queue.get()) is not None:
            task()
        try:
            loop.call_soon_threadsafe(self._ended.set)
        except RuntimeError:
            pass  # the loop is closed: nobody waits any more

    def submit(self, work: Callable[[], None]) -> None:
        """``work()`` in the thread, after what was asked for before, if it was ever started."""
        if self._thread is not None:
            self._queue.put(work)

    def close(self) -> None:
        """No more work comes; the thread ends when it has done what there is."""
        if self._thread is not None:
            self._queue.put(None)

    async def ended(self) -> None:
        """Wait for the end of the thread after :meth:`close`."""
        if self._thread is not None:
            await self._ended.wait()
