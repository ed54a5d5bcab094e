"""inotify(7): being told when a file changes. One instance serves a whole process."""

from __future__ import annotations

import asyncio
import errno
import os
import struct
from collections.abc import Callable

from firkin.linux import syscalls

MODIFY = 0x2
ATTRIB = 0x4
CLOSE_WRITE = 0x8
MOVED_FROM = 0x40
MOVED_TO = 0x80
CREATE = 0x100
DELETE_SELF = 0x400
MOVE_SELF = 0x800

_EVENT = struct.Struct("iIII")


class Watcher:
    """Calls back on changes of watched files, from the event loop."""

    def __init__(self) -> None:
        self._fd: int = syscalls.check(
            syscalls.libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC), "inotify_init1"
        )
        self._callbacks: dict[int, dict[int, Callable[[], None]]] = {}
        self._next = 0
        asyncio.get_running_loop().add_reader(self._fd, self._read)

    def watch(self, path: str, mask: int, callback: Callable[[], None]) -> tuple[int, int]:
        """Call ``callback`` on every change in ``mask``. Raises ``OSError``. Returns a handle."""
        wd: int = syscalls.check(
            syscalls.libc.inotify_add_watch(self._fd, os.fsencode(path), mask | 0x20000000),
            path,
        )
        self._next += 1
        self._callbacks.setdefault(wd, {})[self._next] = callback
        return wd, self._next

    def unwatch(self, handle: tuple[int, int]) -> None:
        """Stop the callbacks of one :meth:`watch`."""
        wd, key = handle
        callbacks = self._callbacks.get(wd)
        if callbacks is None:
            return
        callbacks.pop(key, None)
        if not callbacks:
            del self._callbacks[wd]
            if syscalls.libc.inotify_rm_watch(self._fd, wd) < 0:
                pass  # the file is gone, and its watch with it

    def _read(self) -> None:
        try:
            data = os.read(self._fd, 65536)
        except BlockingIOError:
            return
        except OSError as error:
            if error.errno != errno.EBADF:
                raise
            return
        position = 0
        seen: set[int] = set()
        while position + _EVENT.size <= len(data):
            wd, _, _, length = _EVENT.unpack_from(data, position)
            position += _EVENT.size + length
            seen.add(wd)
        for wd in seen:
            for callback in list(self._callbacks.get(wd, {}).values()):
                callback()

    def close(self) -> None:
        """Stop all watches."""
        asyncio.get_running_loop().remove_reader(self._fd)
        os.close(self._fd)
        self._callbacks.clear()
