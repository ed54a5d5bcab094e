"""Writing a long file while its bytes are still arriving, hashing them on the way.

The bytes are gathered in a few aligned buffers; a thread of the file's own hashes and writes full
ones, so that whoever produces the bytes never waits for either as long as the disk keeps up.

Full buffers go past the page cache (O_DIRECT): a blob is written once and seldom read soon, and the
memory it would take is better left to the unpacked files. Where the file system can't do that, or
the disk is slower at it than :data:`SLOW`, the page cache takes the rest.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import mmap
import os
import queue
import threading
import time
from collections.abc import Sequence

Buffer = bytes | bytearray | memoryview

BLOCK = 1 << 20
"""Bytes of one buffer; a multiple of every disk's block size."""

SLOW = 0.008
"""Seconds for one buffer, on average, from which on the page cache is faster for the producer."""

_PATIENCE = 4

_BUFFERS = 4


class Spool:
    """Appends to the open file ``fd``, which is the spool's from now on, and hashes by SHA-256.

    Belongs to one thread. An error of the disk shows, as ``OSError``, in a later ``write`` or in
    ``finish`` at the latest. Either ``finish`` or ``abandon`` has to be called.
    """

    def __init__(self, fd: int) -> None:
        self.size = 0
        self._fd = fd
        self._hash = hashlib.sha256()
        self._full: queue.SimpleQueue[tuple[mmap.mmap, int] | None] = queue.SimpleQueue()
        self._free: queue.SimpleQueue[mmap.mmap] = queue.SimpleQueue()
        self._made = 0
        self._current: mmap.mmap | None = None
        self._used = 0
        self._owed = 0.0  # seconds that writing took longer than it should have
        self._error: OSError | None = None
        self._thread: threading.Thread | None = None

    def absorb(self, part: Buffer) -> None:
        """Count and hash what the file has already, before anything is written behind it."""
        self.size += len(part)
        self._hash.update(part)

    def skip_to_end(self) -> None:
        """Write behind what was absorbed."""
        os.lseek(self._fd, self.size, os.SEEK_SET)

    def write(self, parts: Sequence[Buffer]) -> None:
        """Append all ``parts``."""
        for part in parts:
            view = memoryview(part).cast("B") if not isinstance(part, memoryview) else part
            self.size += len(view)
            while view:
                if self._current is None:
                    self._current = self._buffer()
                taken = min(len(view), BLOCK - self._used)
                self._current[self._used : self._used + taken] = view[:taken]
                self._used += taken
                view = view[taken:]
                if self._used == BLOCK:
                    self._pass_on()

    def finish(self) -> bytes:
        """Write what is left and close the file; returns the SHA-256 of all bytes."""
        if self._used and self._thread is None:  # short: a thread would cost more than the write
            assert self._current is not None
            self._store(self._current, self._used)
        elif self._used:
            self._pass_on()
        self._end()
        if self._error is not None:
            raise self._error
        return self._hash.digest()

    def suspend(self) -> None:
        """Close the file after its full buffers, whose bytes alone are kept."""
        self._end()

    def abandon(self) -> None:
        """Close the file and forget the rest. Does nothing after ``finish``."""
        if self._error is None:
            self._error = OSError("abandoned")
        self._end()

    def _buffer(self) -> mmap.mmap:
        if self._made < _BUFFERS:
            self._made += 1
            return mmap.mmap(-1, BLOCK)
        return self._free.get()

    def _pass_on(self) -> None:
        if self._error is not None:
            raise self._error
        assert self._current is not None
        if self._thread is None:
            self._go_direct()
            self._thread = threading.Thread(target=self._run, name="firkin-spool", daemon=True)
            self._thread.start()
        self._full.put((self._current, self._used))
        self._current, self._used = None, 0

    def _run(self) -> None:
        while (item := self._full.get()) is not None:
            buffer, used = item
            if self._error is None:
                try:
                    self._store(buffer, used)
                except OSError as error:
                    self._error = error
            self._free.put(buffer)

    def _store(self, buffer: mmap.mmap, used: int) -> None:
        view = memoryview(buffer)[:used]
        try:
            self._hash.update(view)
            if used < BLOCK:
                self._go_buffered()
            self._owed -= SLOW
            self._owed -= time.monotonic()
            done = 0
            while done < used:
                done += os.write(self._fd, view[done:])
                if done < used:
                    self._go_buffered()  # the next write would not begin at a block's border
            self._owed += time.monotonic()
            if self._owed > _PATIENCE * SLOW:
                self._go_buffered()
        finally:
            view.release()

    def _go_direct(self) -> None:
        with contextlib.suppress(OSError):
            flags = fcntl.fcntl(self._fd, fcntl.F_GETFL)
            fcntl.fcntl(self._fd, fcntl.F_SETFL, flags | os.O_DIRECT)

    def _go_buffered(self) -> None:
        flags = fcntl.fcntl(self._fd, fcntl.F_GETFL)
        if flags & os.O_DIRECT:
            fcntl.fcntl(self._fd, fcntl.F_SETFL, flags & ~os.O_DIRECT)

    def _end(self) -> None:
        if self._thread is not None:
            self._full.put(None)
            self._thread.join()
            self._thread = None
        self._current, self._used = None, 0
        if self._fd >= 0:
            fd, self._fd = self._fd, -1
            os.close(fd)
