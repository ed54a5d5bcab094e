"""Workers forked from one process that has loaded what they need.

A layer takes two workers (:mod:`firkin.images.worker`), and an interpreter with its libraries takes
longer to load than a small layer takes to unpack. So one process, the *nursery*, loads them once,
gives up its network, and forks a worker for each request. It sees no byte of any layer: the
worker's streams come with the request as descriptors. ::

    engine ── request: arguments, stdin, stdout, stderr, reply ──> nursery ── fork ──> worker
       <──────────────── reply: a pidfd of the worker ─────────────────┘

The nursery is started with the first request and ended when none came for :data:`IDLE` seconds; it
ends by itself with the engine. Everything here blocks and belongs in worker threads.
"""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Sequence

from firkin import errdefs

IDLE = 10.0

_START = (
    "import sys; n = int(sys.argv[1]); sys.path[:0] = sys.argv[2:2 + n]; "
    "from firkin.images import worker; worker.serve()"
)


class Nursery:
    """Starts workers. ``paths`` is where they find this package and the decompressors."""

    def __init__(self, paths: Sequence[str]) -> None:
        self._paths = paths
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._timer: threading.Timer | None = None

    def spawn(self, arguments: Sequence[str], stdin: int, stdout: int, stderr: int) -> int:
        """Start a worker on these descriptors; returns a pidfd, which is the caller's.

        Raises ``System`` when that can't be done.
        """
        with self._lock:
            for attempt in (1, 2):
                try:
                    return self._request(arguments, (stdin, stdout, stderr))
                except OSError as error:  # it was killed: begin with another one
                    self._end()
                    if attempt == 2:
                        raise errdefs.System(
                            f"cannot start the unpack worker: {error.strerror or error}"
                        ) from error
        raise AssertionError("unreachable")

    def _request(self, arguments: Sequence[str], streams: tuple[int, int, int]) -> int:
        control = self._running()
        mine, theirs = socket.socketpair()
        with mine, theirs:
            request = json.dumps(list(arguments)).encode()
            socket.send_fds(control, [request], [*streams, theirs.fileno()])
            theirs.close()
            data, fds, _, _ = socket.recv_fds(mine, 4096, 1)
        self._rest()
        if not fds:
            raise OSError(None, data.decode("utf-8", "replace") or "its parent process has ended")
        return fds[0]

    def _running(self) -> socket.socket:
        if self._control is None:
            mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", _START, str(len(self._paths)), *self._paths],
                    stdin=theirs.fileno(),
                    stdout=subprocess.DEVNULL,
                    env={"LC_ALL": "C.UTF-8"},
                    cwd="/",
                    start_new_session=True,
                )
            self._control = mine
        return self._control

    def _rest(self) -> None:
        """End it later, if nothing comes."""
        if self._timer is not None:
            self._timer.cancel()
        self._timer = threading.Timer(IDLE, self.close)
        self._timer.daemon = True
        self._timer.start()

    def _end(self) -> None:
        if self._control is not None:
            self._control.close()
            self._control = None
        if self._process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                self._process.wait(1)
            self._process.kill()
            self._process.wait()
            self._process = None

    def close(self) -> None:
        """End the nursery; workers that run go on."""
        with self._lock:
            self._end()
