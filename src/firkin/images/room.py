"""How much may still be stored.

The engine grants a number of bytes now and then, when it has measured what is in use. Whoever
stores takes of that while the bytes arrive, so nothing is stored that does not fit, however long
the stream is and however many there are at the same time. A :class:`Claim` that is given up gives
back what it took; what was kept is part of the next measurement.
"""

from __future__ import annotations

import threading
from typing import Protocol

from firkin import errdefs


class Keeper(Protocol):
    """Makes room: collects what nobody needs, and grants what there is."""

    @property
    def limited(self) -> bool:
        """Whether there is any limit."""

    async def admit(self, need: int | None, expected: int = 0) -> None:
        """Something of at least ``need`` bytes will be stored; None when that is not known.

        ``expected`` is what it may come to: as much room is made if it can be had.

        Raises ``InsufficientStorage`` when ``need`` is more than can be had.
        """

    async def refused(self, error: errdefs.InsufficientStorage) -> errdefs.InsufficientStorage:
        """Storing failed for want of room, and was undone: collect. Returns what to tell."""


class Room:
    """What is left of the bytes granted. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._granted: int | None = None
        self._kept = 0
        self._claimed = 0
        self._reason = ""

    def grant(self, size: int | None, reason: str = "") -> None:
        """From now on ``size`` more bytes may be stored; None for any number.

        ``reason`` is what to tell when they are not enough.
        """
        with self._lock:
            self._granted, self._reason, self._kept = size, reason, 0

    def check(self) -> None:
        """Raises ``InsufficientStorage`` when nothing is left."""
        with self._lock:
            self._check(1)

    def _check(self, more: int) -> None:
        granted = self._granted
        if granted is not None and self._kept + self._claimed + more > granted:
            raise errdefs.InsufficientStorage(self._reason)

    def keep(self, size: int) -> None:
        """Take bytes for good. Raises ``InsufficientStorage``, and takes nothing."""
        with self._lock:
            self._check(size)
            self._kept += size

    def claim(self) -> Claim:
        """Begin to store something of a length that is not known."""
        return Claim(self)

    def _take(self, size: int) -> None:
        with self._lock:
            self._check(size)
            self._claimed += size

    def _end(self, size: int, kept: bool) -> None:
        with self._lock:
            self._claimed -= size
            self._kept += size if kept else 0


class Claim:
    """What one writer has taken."""

    def __init__(self, room: Room) -> None:
        self._room = room
        self._size = 0

    def take(self, size: int) -> None:
        """Take more. Raises ``InsufficientStorage``."""
        self._room._take(size)
        self._size += size

    def end(self, *, kept: bool) -> None:
        """Nothing more comes; the bytes were kept, or are gone again. The first call counts."""
        size, self._size = self._size, 0
        self._room._end(size, kept)
