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

REPLACED = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO})
"""What an entry says that was looked at a moment ago and has been replaced or removed since."""


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


def entry(name: str, directory: int) -> int:
    """A descriptor, for reading, of what was seen to be a regular file in a directory.

    Raises ``OSError``, of a number in ``REPLACED`` when it is none any more.
    """
    flags = os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY
    file = os.open(name, flags, dir_fd=directory)
    if not stat.S_ISREG(os.fstat(file).st_mode):
        os.close(file)
        raise FileNotFoundError(errno.ENOENT, "is no file any more", name)
    return file


def link_target(name: str, directory: int) -> str:
    """Where what was seen to be a symbolic link in a directory leads. Raises as :func:`entry`."""
    try:
        return os.readlink(name, dir_fd=directory)
    except OSError as error:
        if error.errno == errno.EINVAL:
            raise FileNotFoundError(errno.ENOENT, "is no link any more", name) from None
        raise
