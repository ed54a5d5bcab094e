"""How much disk a tree takes, as du(1) counts it."""

from __future__ import annotations

import contextlib
import os
import stat
from typing import NamedTuple

SECTOR = 512
"""The unit of ``st_blocks``, whatever the file system's own."""


class Usage(NamedTuple):
    """What a tree takes: bytes on the disk, and inodes.

    ``apparent`` is the sum of the lengths of its regular files: what they would take without holes
    and without the rounding to blocks, so it is the same on every file system.
    """

    size: int
    inodes: int
    apparent: int = 0


NOTHING = Usage(0, 0)


def measure(path: str) -> Usage:
    """Walk the tree at ``path``, itself included; a hard-linked file counts once. Blocks.

    Stays on one file system, follows no link, and takes what vanishes meanwhile as not there.
    """
    try:
        top = os.lstat(path)
    except FileNotFoundError:
        return NOTHING
    blocks, inodes, apparent = top.st_blocks, 1, 0
    if not stat.S_ISDIR(top.st_mode):
        return Usage(blocks * SECTOR, inodes, top.st_size if stat.S_ISREG(top.st_mode) else 0)
    seen: set[int] = set()
    pending = [path]
    while pending:
        with (
            contextlib.suppress(FileNotFoundError, NotADirectoryError),
            os.scandir(pending.pop()) as entries,
        ):
            for entry in entries:
                try:
                    status = entry.stat(follow_symlinks=False)
                except FileNotFoundError:
                    continue
                if status.st_dev != top.st_dev:
                    continue
                if stat.S_ISDIR(status.st_mode):
                    pending.append(entry.path)
                elif status.st_nlink > 1:
                    if status.st_ino in seen:
                        continue
                    seen.add(status.st_ino)
                inodes += 1
                blocks += status.st_blocks
                if stat.S_ISREG(status.st_mode):
                    apparent += status.st_size
    return Usage(blocks * SECTOR, inodes, apparent)


def alone(*paths: str) -> int:
    """Bytes that these files or directories take themselves, without what is in them. Blocks."""
    size = 0
    for path in paths:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            size += os.lstat(path).st_blocks * SECTOR
    return size
