"""Running helper programs.

The engine is a large process: ``fork`` would copy its page tables for every helper. ``subprocess``
uses ``vfork``, which does not; its short wait for the exec is done in a worker thread, and the end
of the program is told by a pidfd.
"""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from firkin import errdefs
from firkin.linux import pidfd


class Result(NamedTuple):
    """How a program ended; ``code`` is negative for a signal."""

    code: int
    stdout: bytes
    stderr: bytes


_MAX_OUTPUT = 1 << 20
_MAX_ERROR = 4096


def _spawn(
    argv: Sequence[str], out: int, err: int, env: Mapping[str, str] | None
) -> tuple[subprocess.Popen[bytes], int]:
    child = subprocess.Popen(argv, stdin=subprocess.DEVNULL, stdout=out, stderr=err, env=env)
    return child, os.pidfd_open(child.pid)


async def run(
    argv: Sequence[str], *, timeout: float = 60.0, env: Mapping[str, str] | None = None
) -> Result:
    """Run ``argv`` to its end without standard input; at most 1 MiB of each output is returned.

    ``timeout`` is in seconds; the program is killed when it takes longer, or when the caller is
    cancelled. Raises ``System`` when it can't be started or times out.
    """
    out = os.memfd_create("stdout", os.MFD_CLOEXEC)
    err = os.memfd_create("stderr", os.MFD_CLOEXEC)
    try:
        starting = asyncio.get_running_loop().run_in_executor(None, _spawn, argv, out, err, env)
        try:
            child, fd = await asyncio.shield(starting)
        except asyncio.CancelledError:
            child, fd = await starting
            _end(child, fd)
            raise
        except OSError as error:
            raise errdefs.System(f"cannot run {argv[0]}: {error.strerror or error}") from error
        try:
            await asyncio.wait_for(pidfd.wait(fd), timeout)
        except TimeoutError as error:
            raise errdefs.System(f"{argv[0]} did not end within {timeout:g} s") from error
        finally:
            _end(child, fd)
        return Result(child.returncode, _read(out), _read(err))
    finally:
        os.close(out)
        os.close(err)


def _end(child: subprocess.Popen[bytes], fd: int) -> None:
    """Kill the child unless it has ended, and collect it."""
    if not pidfd.ended(fd):
        pidfd.send(fd, signal.SIGKILL)
    os.close(fd)
    child.wait()


def _read(fd: int) -> bytes:
    return os.pread(fd, _MAX_OUTPUT, 0)


def complaint(result: Result) -> str:
    """What the program said about its failure, in one line of bounded length."""
    text = result.stderr.decode(errors="replace").strip() or f"exit status {result.code}"
    return " ".join(text.split())[:_MAX_ERROR]
