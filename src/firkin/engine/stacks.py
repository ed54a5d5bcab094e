"""What the engine is doing at this moment: for SIGUSR1 and for ``/debug``."""

from __future__ import annotations

import asyncio
import gc
import io
import logging
import os
import resource
import sys
import threading
import time
import traceback
from typing import Any

log = logging.getLogger(__name__)


def threads() -> str:
    """The stack of each thread."""
    names = {thread.ident: thread.name for thread in threading.enumerate()}
    out = io.StringIO()
    for ident, frame in sys._current_frames().items():
        out.write(f"thread {names.get(ident, ident)}:\n")
        out.write("".join(traceback.format_stack(frame)))
        out.write("\n")
    return out.getvalue()


def tasks() -> str:
    """The stack of each task of the event loop, which must be the running one."""
    out = io.StringIO()
    for task in sorted(asyncio.all_tasks(), key=lambda one: one.get_name()):
        task.print_stack(limit=30, file=out)
        out.write("\n")
    return out.getvalue()


def variables() -> dict[str, Any]:
    """Numbers that tell of a leak: memory in bytes, objects, tasks, threads, descriptors."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    with open("/proc/self/statm", encoding="ascii") as file:
        resident = int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    return {
        "pid": os.getpid(),
        "memory_resident": resident,
        "memory_peak": usage.ru_maxrss * 1024,
        "cpu_seconds": usage.ru_utime + usage.ru_stime,
        "gc_counts": gc.get_count(),
        "gc_collections": [generation["collections"] for generation in gc.get_stats()],
        "gc_uncollectable": [generation["uncollectable"] for generation in gc.get_stats()],
        "tasks": len(asyncio.all_tasks()),
        "threads": threading.active_count(),
        "descriptors": len(os.listdir("/proc/self/fd")),
    }


def dump(directory: str) -> None:
    """Write all stacks to a file in ``directory`` and say in the log where it is."""
    path = os.path.join(directory, f"stacks-{time.strftime('%Y-%m-%dT%H%M%S')}.log")
    try:
        fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        with open(fd, "w", encoding="utf-8") as file:
            file.write(f"{variables()}\n\n{threads()}\n{tasks()}")
    except OSError as error:
        log.error("cannot write the stacks to %s: %s", path, error.strerror)
        return
    log.warning("stacks of threads and tasks written to %s", path)
