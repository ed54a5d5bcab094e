"""Running one probe of a health check in a container, at the least possible cost.

There is no monitor: the OCI runtime stays as the process's parent and ends with its exit code. Both
output streams go to one pipe, of which the first 4 KiB are kept. When the probe takes too long its
whole session is killed, and the runtime too.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import subprocess
import time
from typing import NamedTuple

from firkin import errdefs
from firkin.linux import pidfd

MOST_OUTPUT = 4096
"""How much of a probe's output is kept, in bytes."""
_PIECE = 1 << 16
_REST = 0.01  # seconds between reads of what is thrown away: a probe can't keep the engine busy


class Outcome(NamedTuple):
    """``code`` is ``None`` when the probe did not end in time."""

    code: int | None
    output: str


class _Output:
    """The reading end of a probe's output."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._loop = asyncio.get_running_loop()
        self._kept = bytearray()
        self._resting: asyncio.TimerHandle | None = None
        self._loop.add_reader(fd, self._read)

    def _read(self) -> bool:
        try:
            data = os.read(self._fd, _PIECE)
        except BlockingIOError:
            return False
        self._kept += data[: MOST_OUTPUT - len(self._kept)]
        if not data:
            self._loop.remove_reader(self._fd)
        elif len(self._kept) >= MOST_OUTPUT and self._resting is None:
            self._loop.remove_reader(self._fd)
            self._resting = self._loop.call_later(_REST, self._resume)
        return bool(data)

    def _resume(self) -> None:
        self._resting = None
        self._loop.add_reader(self._fd, self._read)

    def close(self) -> str:
        """What was kept."""
        while len(self._kept) < MOST_OUTPUT and self._read():
            pass
        self._loop.remove_reader(self._fd)
        if self._resting is not None:
            self._resting.cancel()
        os.close(self._fd)
        return self._kept.decode(errors="replace")


async def run(argv: list[str], pid_file: str, timeout: float) -> Outcome:
    """Run ``argv``, which leaves the probe's pid in ``pid_file``; kill it after ``timeout`` s.

    Raises ``System`` when it can't be started.
    """
    with contextlib.suppress(FileNotFoundError):
        os.unlink(pid_file)
    read_end, write_end = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(read_end, False)
    output = _Output(read_end)
    try:
        starting = asyncio.get_running_loop().run_in_executor(None, _spawn, argv, write_end)
        try:
            child, fd = await asyncio.shield(starting)
        except asyncio.CancelledError:
            child, fd = await starting
            _end(child, fd, pid_file)
            raise
        except OSError as error:
            raise errdefs.System(f"cannot run {argv[0]}: {error.strerror or error}") from error
        try:
            await asyncio.wait_for(pidfd.wait(fd), timeout)
            code: int | None = child.wait()
        except TimeoutError:
            code = None
        finally:
            _end(child, fd, pid_file)
    finally:
        os.close(write_end)
        text = output.close()
    return Outcome(code, text)


def _spawn(argv: list[str], out: int) -> tuple[subprocess.Popen[bytes], int]:
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=out)
    return child, os.pidfd_open(child.pid)


def _end(child: subprocess.Popen[bytes], fd: int, pid_file: str) -> None:
    if child.returncode is None:
        if not pidfd.ended(fd):
            end_left_over(pid_file)
            pidfd.send(fd, signal.SIGKILL)
        child.wait()
    os.close(fd)


def end_left_over(pid_file: str, group: frozenset[int] | None = None) -> None:
    """Kill the session of the probe that left its pid in ``pid_file``, if it is still there.

    With ``group``, the pids of the container, only when it is one of them and older than the file:
    the engine that started it may be gone for long.
    """
    try:
        with open(pid_file, encoding="ascii") as file:
            pid = int(file.read())
            written = os.fstat(file.fileno()).st_mtime
        if group is not None and (pid not in group or _began(pid) > written + 1):
            return
        if os.getsid(pid) != os.getsid(0):  # the runtime gives each process a session of its own
            os.killpg(os.getpgid(pid), signal.SIGKILL)
        os.kill(pid, signal.SIGKILL)
    except (FileNotFoundError, ProcessLookupError, PermissionError, ValueError):
        return


def _began(pid: int) -> float:
    """When a process began, in seconds since the epoch, to within a tick."""
    booted = time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
    return booted + pidfd.start_time(pid) / os.sysconf("SC_CLK_TCK")
