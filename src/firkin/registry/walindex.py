"""Blocks for the index of a write-ahead log, which SQLite maps into memory.

SQLite makes that file (``DATABASE-shm``) long enough and touches each of its pages, so that a disk
that fills up later does not matter. Where the file system's blocks are smaller than a page, as on
small ones, most of a page stays a hole all the same; a write to it on a full disk ends the process
with SIGBUS. So the holes are filled while there is room.
"""

from __future__ import annotations

import contextlib
import os
import subprocess

_PATIENCE = 10.0


def allocate(database: str) -> None:
    """Fill the holes of the index that belongs to an open database, as far as there is room.

    Another process does it: SQLite's locks on the file would go with the first descriptor of it
    that this process closes (POSIX, fcntl). Blocks.
    """
    path = f"{database}-shm"
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        size = os.stat(path).st_size
        if size and os.statvfs(path).f_frsize < os.sysconf("SC_PAGE_SIZE"):
            subprocess.run(
                ["fallocate", "--length", str(size), path],
                check=False, stdin=subprocess.DEVNULL, capture_output=True, timeout=_PATIENCE,
            )  # fmt: skip
