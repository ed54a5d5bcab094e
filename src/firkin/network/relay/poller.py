"""Readiness of files, and timers: what the relay's process runs on."""

from __future__ import annotations

import collections
import heapq
import itertools
import select
import time
from collections.abc import Callable

Handler = Callable[[int], None]
"""Called with the events (``select.EPOLL*``) of a file."""

READ = select.EPOLLIN
BOTH = select.EPOLLIN | select.EPOLLOUT | select.EPOLLRDHUP | select.EPOLLET


class Poller:
    """One per process."""

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._handlers: dict[int, Handler] = {}
        self._timers: list[tuple[float, int, Callable[[], None]]] = []
        self._order = itertools.count()
        self._soon: collections.deque[Callable[[], None]] = collections.deque()

    def add(self, fd: int, handler: Handler, events: int = READ) -> None:
        """Call ``handler`` when the file is ready. Raises ``OSError``."""
        self._epoll.register(fd, events)
        self._handlers[fd] = handler

    def drop(self, fd: int) -> None:
        """Forget a file before it is closed; an unknown one is fine."""
        if self._handlers.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def later(self, seconds: float, work: Callable[[], None]) -> None:
        """Call ``work`` once, after a time."""
        heapq.heappush(self._timers, (time.monotonic() + seconds, next(self._order), work))

    def soon(self, work: Callable[[], None]) -> None:
        """Call ``work`` once, after the files that are ready now."""
        self._soon.append(work)

    def turn(self) -> None:
        """Wait until something is to be done, and do it."""
        timeout = 0.0
        if not self._soon:
            timeout = max(self._timers[0][0] - time.monotonic(), 0) if self._timers else -1
        for fd, events in self._epoll.poll(timeout):
            handler = self._handlers.get(fd)  # another one may have dropped it meanwhile
            if handler is not None:
                handler(events)
        for _ in range(len(self._soon)):
            self._soon.popleft()()
        while self._timers and self._timers[0][0] <= time.monotonic():
            heapq.heappop(self._timers)[2]()
