"""Locks between tasks, worker processes and commands: of a blob while it comes into being or goes.

A lock is a file under flock(2), which the kernel gives back when its holder is killed. Waiting for
one takes no thread: a blob that is stored slowly must not keep others from being served.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import hashlib
import os
from collections.abc import AsyncIterator

_FIRST = 0.002
_LONGEST = 0.1


class Locks:
    """Locks by name, in a directory that is shared by all who use them."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        self._local: dict[str, tuple[asyncio.Lock, list[None]]] = {}
        os.makedirs(directory, mode=0o700, exist_ok=True)

    @contextlib.asynccontextmanager
    async def hold(self, name: str) -> AsyncIterator[None]:
        """Hold the lock of this name; waits without limit.

        Names share 65,536 files, so one may now and then wait for another one's holder: nobody may
        hold two.
        """
        file = hashlib.sha256(name.encode()).hexdigest()[:4]
        lock, users = self._local.setdefault(file, (asyncio.Lock(), []))
        users.append(None)
        try:
            async with lock:
                path = os.path.join(self._directory, file)
                fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
                try:
                    await take(fd)
                    yield
                finally:
                    os.close(fd)
        finally:
            users.pop()
            if not users:
                del self._local[file]


async def take(fd: int, seconds: float | None = None) -> bool:
    """Lock an open file; tells whether it was possible within ``seconds``."""
    pause, waited = _FIRST, 0.0
    while True:
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            return True
        except BlockingIOError:
            if seconds is not None and waited >= seconds:
                return False
        await asyncio.sleep(pause)
        waited += pause
        pause = min(pause * 2, _LONGEST)
