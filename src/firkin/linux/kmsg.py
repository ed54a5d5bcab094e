"""Whom the kernel killed for lack of memory, by its own log.

A group's ``memory.events`` goes with the group, and systemd removes a scope's group as soon as
its last process has ended: whoever looks then, comes too late. The log still names the group, in
one record for each kill (mm/oom_kill.c, ``dump_oom_summary``)::

    oom-kill:constraint=CONSTRAINT_MEMCG,...,oom_memcg=GROUP,task_memcg=GROUP,task=NAME,pid=N,uid=N

The records are those of /dev/kmsg (Documentation/ABI/testing/dev-kmsg): ``PRIORITY,SEQUENCE,
MICROSECONDS,FLAGS;TEXT``. Its upper bits of the priority are 0 only for the kernel's own words, so
no process can write such a record. The kernel may leave records out when very many kills come at
once, and the oldest are overwritten: no record is no proof that there was no kill.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

PATH = "/dev/kmsg"
_RECORD = 8192  # bytes: the longest that the kernel gives
_LIMIT = 100_000  # records in one look


def oom_killed(group: str, *, since: float, path: str = PATH) -> bool:
    """Whether the log has a kill for lack of memory in ``group`` or below.

    ``group`` is absolute within the memory hierarchy, ``since`` is seconds of the monotonic clock.
    False where the log can't be read.
    """
    return any(
        moment >= since and (found == group or found.startswith(f"{group}/"))
        for moment, found in map(_kill, _records(path))
        if found
    )


def _kill(record: bytes) -> tuple[float, str]:
    """When a record says that a process of which group was killed; ``(0, "")`` for any other."""
    head, _, text = record.partition(b";")
    if not text.startswith(b"oom-kill:"):
        return 0.0, ""
    fields = head.split(b",")
    if len(fields) < 3 or int(fields[0]) >> 3:
        return 0.0, ""
    words = (word.partition(b"=") for word in text.splitlines()[0].split(b","))
    facts = {name: value for name, _, value in words}
    return int(fields[2]) / 1e6, os.fsdecode(facts.get(b"task_memcg", b""))


def _records(path: str) -> Iterator[bytes]:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return
    try:
        for _ in range(_LIMIT):
            try:
                record = os.read(fd, _RECORD)
            except BrokenPipeError:  # overwritten while we read: the next is the oldest there is
                continue
            except OSError:  # the end of the log
                return
            if not record:
                return
            yield record
    finally:
        os.close(fd)
