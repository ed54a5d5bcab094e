"""How much disk trees take, without a walk for each question.

A tree that nobody writes to is walked once. One that is in use is walked again when somebody asks,
but only after a pause of :data:`PATIENCE` times what its last walk took: however often it is asked
for, measuring a tree never takes more than that share of one CPU, and a small tree is exact.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import stat
import time
from collections.abc import Callable
from typing import NamedTuple

PATIENCE = 20


class Usage(NamedTuple):
    """What a tree takes: bytes on the disk as du(1) counts them, and inodes."""

    size: int
    inodes: int


def measure(path: str) -> Usage:
    """Walk the tree at ``path``, itself included; a hard-linked file counts once. Blocks.

    Stays on one file system, follows no link, and takes what vanishes meanwhile as not there.
    """
    try:
        top = os.lstat(path)
    except FileNotFoundError:
        return Usage(0, 0)
    blocks, inodes = top.st_blocks, 1
    if not stat.S_ISDIR(top.st_mode):
        return Usage(blocks * 512, inodes)
    seen: set[int] = set()
    pending = [path]
    while pending:
        with (
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
            os.scandir(pending.pop()) as entries,
        ):
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if status.st_dev != top.st_dev:
                    continue
                if stat.S_ISDIR(status.st_mode):
                    pending.append(entry.path)
                elif status.st_nlink > 1:
                    if status.st_ino in seen:
                        continue
                    seen.add(status.st_ino)
                inodes += 1
                blocks += status.st_blocks
    return Usage(blocks * 512, inodes)


class _Known:
    __slots__ = ("after", "exact", "lock", "usage")

    def __init__(self) -> None:
        self.usage = Usage(0, 0)
        self.exact = False
        self.after = 0.0
        self.lock = asyncio.Lock()


class Sizes:
    """The sizes of trees by key."""

    def __init__(
        self,
        walk: Callable[[str], Usage] = measure,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._walk = walk
        self._clock = clock
        self._known: dict[str, _Known] = {}

    def touch(self, key: str) -> None:
        """The tree may have been changed: the next question is answered by a walk."""
        if (known := self._known.get(key)) is not None:
            known.exact = False
            known.after = 0.0

    def forget(self, key: str) -> None:
        """The tree is gone."""
        self._known.pop(key, None)

    async def of(self, key: str, path: str, *, live: bool) -> Usage:
        """What the tree at ``path`` takes; ``live`` says that somebody may be writing to it."""
        known = self._known.setdefault(key, _Known())
        async with known.lock:  # those who ask at once share one walk
            if not known.exact and self._clock() >= known.after:
                begun = self._clock()
                known.exact = not live
                known.usage = await asyncio.to_thread(self._walk, path)
                ended = self._clock()
                known.after = ended + PATIENCE * (ended - begun)
        return known.usage
