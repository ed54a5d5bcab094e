"""Workers forked from one process that has loaded what they need.

A worker looks at bytes of others in a process of its own, which can reach nothing else. But an
interpreter with its libraries takes longer to load than a small layer takes to unpack, or a small
file to copy. So one process, the *nursery*, loads them once, gives up its network, and forks a
worker for each request. It sees no byte of anybody's: the worker's streams come with the request as
descriptors. ::

    engine ── request: arguments, stdin, stdout, stderr, reply, more ──> nursery ── fork ──> worker
       <──────────────── reply: a pidfd of the worker ─────────────────┘

The nursery is started with the first request and ended when none came for :data:`IDLE` seconds; it
ends by itself with the engine. :class:`Nursery` is the engine's side; it blocks and belongs in
worker threads. :func:`serve` is the other side.

Nobody can wait for a worker's exit status: one that did its work writes :data:`DONE` to standard
error at its end.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

from firkin import errdefs

IDLE = 10.0
DONE = b"\0done"
_MOST = 8
_APART = 64

_START = (
    "import sys; n = int(sys.argv[2]); sys.path[:0] = sys.argv[3:3 + n]; "
    "import importlib; importlib.import_module(sys.argv[1]).serve()"
)


class Nursery:
    """Starts workers of the module ``module``, whose ``serve`` calls :func:`serve`.

    ``paths`` is where they find this package and what else they import.
    """

    def __init__(self, module: str, paths: Sequence[str]) -> None:
        self._module = module
        self._paths = paths
        self._lock = threading.Lock()
        self._process: subprocess.Popen[bytes] | None = None
        self._control: socket.socket | None = None
        self._timer: threading.Timer | None = None

    def spawn(
        self, arguments: Sequence[str], stdin: int, stdout: int, stderr: int, *more: int
    ) -> int:
        """Start a worker on these descriptors; returns a pidfd, which is the caller's.

        The worker has ``more`` as descriptors 3, 4... Raises ``System`` when that can't be done.
        """
        with self._lock:
            for attempt in (1, 2):
                try:
                    return self._request(arguments, (stdin, stdout, stderr, *more))
                except OSError as error:  # it was killed: begin with another one
                    self._end()
                    if attempt == 2:
                        raise errdefs.System(
                            f"cannot start a worker ({self._module}): {error.strerror or error}"
                        ) from error
        raise AssertionError("unreachable")

    def _request(self, arguments: Sequence[str], streams: tuple[int, ...]) -> int:
        control = self._running()
        mine, theirs = socket.socketpair()
        with mine, theirs:
            request = json.dumps(list(arguments)).encode()
            socket.send_fds(control, [request], [theirs.fileno(), *streams])
            theirs.close()
            data, fds, _, _ = socket.recv_fds(mine, 4096, 1)
        self._rest()
        if not fds:
            raise OSError(None, data.decode("utf-8", "replace") or "its parent process has ended")
        return fds[0]

    def _running(self) -> socket.socket:
        if self._control is None:
            mine, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
            words = [self._module, str(len(self._paths)), *self._paths]
            with theirs:
                self._process = subprocess.Popen(
                    [sys.executable, "-I", "-S", "-c", _START, *words],
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


def serve(main: Callable[[list[str]], None]) -> None:
    """Fork a worker, which is ``main(arguments)``, for each request by standard input, a socket.

    What workers need is imported by then. Returns when the socket ends.
    """
    control = socket.socket(fileno=0)
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)  # nobody waits for workers
    while True:
        data, fds, _, _ = socket.recv_fds(control, 1 << 17, _MOST)
        if not data:
            return
        try:
            _spawn(main, json.loads(data), fds[0], fds[1:])
        except OSError as error:
            os.write(fds[0], str(error.strerror).encode())
        finally:
            for fd in fds:
                os.close(fd)


def _spawn(
    main: Callable[[list[str]], None], arguments: list[str], reply: int, streams: list[int]
) -> None:
    held, go = os.pipe()
    try:
        pid = os.fork()
        if pid == 0:
            try:
                os.close(go)
                os.setsid()
                _take(streams, held)
                main(arguments)
            finally:
                os._exit(1)
        pidfd = os.pidfd_open(pid)
        try:
            with socket.socket(fileno=os.dup(reply)) as answer:
                socket.send_fds(answer, [b"p"], [pidfd])
        finally:
            os.close(pidfd)
    finally:
        os.close(go)
        os.close(held)


def _take(streams: list[int], held: int) -> None:
    """Give the descriptors their numbers, and wait until the worker's pidfd is known."""
    # First out of the way of all numbers that are given out.
    *apart, held = (fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, _APART) for fd in (*streams, held))
    for number, fd in enumerate(apart):
        os.dup2(fd, number)
    os.read(held, 1)  # until then it must not end
    os.closerange(len(streams), held + 1)
