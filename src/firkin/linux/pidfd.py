"""Processes that are not our children, by pidfd.

A pid alone may have been reused; a pid with its start time (field 22 of /proc/PID/stat, in clock
ticks since boot) names one process until the next boot.
"""

from __future__ import annotations

import asyncio
import os
import select
import signal


def start_time(pid: int) -> int:
    """When ``pid`` started, in clock ticks since boot; 0 when there is no such process.

    A process that has ended and is not collected yet still counts as one.
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as stat:
            fields = stat.read().rpartition(b")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0
    if fields[0] == b"X":
        return 0
    return int(fields[19])


def open_process(pid: int, started: int = 0) -> int | None:
    """A pidfd for ``pid``, or ``None`` when it has ended or is not the one that began then."""
    if pid <= 0:
        return None
    try:
        fd = os.pidfd_open(pid)
    except (ProcessLookupError, OSError):
        return None
    if started and start_time(pid) != started:
        os.close(fd)
        return None
    return fd


def ended(fd: int) -> bool:
    """Whether the process behind ``fd`` has ended."""
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(0))


def send(fd: int, number: int) -> bool:
    """Send a signal; tells whether the process was still there."""
    try:
        signal.pidfd_send_signal(fd, number)
    except ProcessLookupError:
        return False
    return True


def wait_blocking(fd: int) -> None:
    """Block until the process has ended; for worker threads. Any descriptor will do: select(2)
    takes those below 1024 only."""
    poller = select.poll()
    poller.register(fd, select.POLLIN)
    poller.poll()


async def wait(fd: int) -> None:
    """Wait until the process behind ``fd`` ends."""
    loop = asyncio.get_running_loop()
    done = loop.create_future()

    def ready() -> None:
        loop.remove_reader(fd)
        if not done.done():
            done.set_result(None)

    loop.add_reader(fd, ready)
    try:
        await done
    finally:
        loop.remove_reader(fd)


def reap(pid: int) -> None:
    """Collect ``pid`` if it is an ended child of this process."""
    try:
        os.waitpid(pid, os.WNOHANG)
    except ChildProcessError:
        pass
