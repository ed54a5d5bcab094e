"""Publishing events, and subscribing to them.

The last :data:`KEPT` events are kept in memory for ``since``; a subscriber that does not read is
dropped when its queue is full, so a slow client costs a bounded amount of memory.
"""

from __future__ import annotations

import asyncio
import collections
import time
from collections.abc import AsyncIterator, Callable

from firkin.types import event

KEPT = 1024
_QUEUE = 4096

Filter = Callable[[event.Message], bool]


class Exchange:
    """The engine's one place where events are published."""

    def __init__(self) -> None:
        self._recent: collections.deque[event.Message] = collections.deque(maxlen=KEPT)
        self._queues: set[asyncio.Queue[event.Message | None]] = set()
        self._last = 0
        self.published = 0
        """How many events there were since the engine began."""

    def publish(self, kind: str, action: str, object_id: str, attributes: dict[str, str]) -> None:
        """Tell everybody that ``action`` happened to the object ``object_id`` of type ``kind``."""
        now = max(time.time_ns(), self._last + 1)
        self._last = now
        message = event.Message(
            type=kind,
            action=action,
            actor=event.Actor(id=object_id, attributes=attributes),
            time=now // 1_000_000_000,
            time_nano=now,
        )
        self.published += 1
        self._recent.append(message)
        for queue in list(self._queues):
            try:
                queue.put_nowait(message)
            except asyncio.QueueFull:
                self._queues.discard(queue)
                while not queue.empty():
                    queue.get_nowait()
                queue.put_nowait(None)

    @property
    def subscribers(self) -> int:
        """How many listen now."""
        return len(self._queues)

    async def subscribe(
        self, wanted: Filter, *, since: int | None = None, until: int | None = None
    ) -> AsyncIterator[event.Message]:
        """The events that ``wanted`` accepts.

        ``since`` and ``until`` are nanoseconds since the epoch. With ``since``, kept events come
        first; with ``until``, the iteration ends at that time; with neither it never does.
        """
        queue: asyncio.Queue[event.Message | None] = asyncio.Queue(_QUEUE)
        past = list(self._recent) if since is not None else []
        live = until is None or until > time.time_ns()
        if live:
            self._queues.add(queue)
        try:
            for message in past:
                after = message.time_nano >= (since or 0)
                before = until is None or message.time_nano <= until
                if after and before and wanted(message):
                    yield message
            while live:
                try:
                    if until is None:
                        following = await queue.get()
                    else:
                        left = (until - time.time_ns()) / 1e9
                        following = await asyncio.wait_for(queue.get(), max(left, 0))
                except TimeoutError:
                    return
                if following is None:
                    return
                if wanted(following):
                    yield following
        finally:
            self._queues.discard(queue)

    def close(self) -> None:
        """End every subscription."""
        for queue in self._queues:
            while queue.full():
                queue.get_nowait()
            queue.put_nowait(None)
        self._queues.clear()
