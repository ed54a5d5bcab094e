"""Opening files of trees that others have made: an image's, a container's, a client's.

What has the name of a file there may be a link out of the tree, a FIFO, whose opening waits for
ever, or a device, whose opening does something. So the name is resolved inside of the tree first,
and only what turns out to be a regular file is opened.
"""

from __future__ import annotations

import errno
import os
import stat

from firkin.linux import syscalls


def descriptor(root: str, path: str, *, links: bool = True) -> int:
    """A descriptor, for reading, of the regular file ``path`` below ``root``; the caller closes it.

    Links are followed inside of ``root``, or with ``links`` false refused. Raises ``OSError``:
    ``IsADirectoryError`` for a directory, EINVAL for what is neither that nor a file.
    """
    resolve = syscalls.RESOLVE_IN_ROOT
    resolve |= syscalls.RESOLVE_NO_MAGICLINKS if links else syscalls.RESOLVE_NO_SYMLINKS
    top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        place = syscalls.openat2(top, path.lstrip("/") or ".", os.O_PATH, resolve=resolve)
    finally:
        os.close(top)
    try:
        mode = os.fstat(place).st_mode
        if stat.S_ISDIR(mode):
            raise IsADirectoryError(errno.EISDIR, "is a directory", path)
        if not stat.S_ISREG(mode):
            raise OSError(errno.EINVAL, "is not a regular file", path)
        return os.open(f"/proc/self/fd/{place}", os.O_RDONLY | os.O_CLOEXEC)
    finally:
        os.close(place)


def read(root: str, path: str, limit: int) -> bytes:
    """At most ``limit`` bytes from the beginning of a file. Raises as :func:`descriptor` does."""
    with open(descriptor(root, path), "rb") as file:
        return file.read(limit)
