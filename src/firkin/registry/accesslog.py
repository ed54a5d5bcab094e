"""The access log: one JSON object a line for every request.

Writing is a thread's work, because the reader of a pipe may be slow. Lines that it cannot take are
dropped and counted rather than kept in memory without end.
"""

from __future__ import annotations

import os
import queue
import threading
import time
from typing import Any

import msgspec

from firkin import errdefs

_WAITING = 10_000


class AccessLog:
    """Appends to a file; "-" is standard output, "" is nowhere."""

    def __init__(self, path: str) -> None:
        self._queue: queue.Queue[bytes | None] = queue.Queue(_WAITING)
        self._dropped = 0
        self._thread: threading.Thread | None = None
        if path:
            try:
                flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC
                fd = os.dup(1) if path == "-" else os.open(path, flags, 0o640)
            except OSError as error:
                raise errdefs.InvalidParameter(
                    f"cannot write the access log {path}: {error.strerror}"
                ) from error
            self._thread = threading.Thread(
                target=self._run, args=(fd,), name="firkin-access-log", daemon=True
            )
            self._thread.start()

    @property
    def active(self) -> bool:
        """Whether anybody reads it."""
        return self._thread is not None

    def write(self, entry: dict[str, Any]) -> None:
        """Log one request."""
        now = time.time()
        stamp = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now))
        line: dict[str, Any] = {"time": f"{stamp}.{int(now % 1 * 1000):03d}Z", **entry}
        if self._dropped:
            line["dropped"] = self._dropped
        try:
            self._queue.put_nowait(msgspec.json.encode(line) + b"\n")
            self._dropped = 0
        except queue.Full:
            self._dropped += 1

    def close(self) -> None:
        """Write what waits."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join(5.0)

    def _run(self, fd: int) -> None:
        over = False
        while not over:
            lines = [self._queue.get()]
            while not self._queue.empty():
                lines.append(self._queue.get())
            over = None in lines
            data = b"".join(line for line in lines if line)
            try:
                while data:
                    data = data[os.write(fd, data) :]
            except OSError:
                continue  # the disk is full or the pipe is closed: the registry goes on
        os.close(fd)
