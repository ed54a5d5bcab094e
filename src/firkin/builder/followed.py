"""Changing a tree that follows a client's directory, without ever leaving it.

What a client says of its directory is not to be believed: a path may go through what another line
has made a link. So each change opens the directory that holds the path below the tree's root with
``RESOLVE_NO_SYMLINKS``, and does the rest relative to it. Everything blocks.
"""

from __future__ import annotations

import contextlib
import errno
import os
import shutil
import stat
from collections.abc import Iterator

from firkin import errdefs
from firkin.linux import syscalls

_BENEATH = syscalls.RESOLVE_NO_SYMLINKS | syscalls.RESOLVE_BENEATH
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


class Tree:
    """The tree below the directory ``root``. Close it when done."""

    def __init__(self, root: str) -> None:
        self._root = os.open(root, _DIRECTORY)

    def close(self) -> None:
        """Let go of the directory."""
        os.close(self._root)

    @contextlib.contextmanager
    def _holder(self, path: str) -> Iterator[tuple[int, str]]:
        """The directory that holds ``path``, and the name in it. Raises ``OSError``."""
        above, _, name = path.rpartition("/")
        fd = syscalls.openat2(self._root, above or ".", _DIRECTORY, resolve=_BENEATH)
        try:
            yield fd, name
        finally:
            os.close(fd)

    def remove(self, path: str) -> None:
        """Remove what is there, with all below it; fine when there is nothing, or no way to it."""
        with contextlib.suppress(OSError), self._holder(path) as (fd, name):
            if stat.S_ISDIR(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                shutil.rmtree(name, dir_fd=fd)
            else:
                os.unlink(name, dir_fd=fd)

    def directory(self, path: str, mode: int) -> None:
        """Make sure of a directory with these permissions."""
        with self._making(path) as (fd, name):
            with contextlib.suppress(FileExistsError):
                os.mkdir(name, 0o700, dir_fd=fd)
            made = os.open(name, _DIRECTORY, dir_fd=fd)
            try:
                os.fchmod(made, mode)
            finally:
                os.close(made)

    def link(self, path: str, target: str, moment: int) -> None:
        """Put a symbolic link there, changed at ``moment`` (nanoseconds since the epoch)."""
        self.remove(path)
        with self._making(path) as (fd, name):
            os.symlink(target, name, dir_fd=fd)
            os.utime(name, ns=(moment, moment), dir_fd=fd, follow_symlinks=False)

    def fifo(self, path: str, mode: int) -> None:
        """Put a FIFO there."""
        self.remove(path)
        with self._making(path) as (fd, name):
            os.mkfifo(name, mode, dir_fd=fd)

    def changed(self, path: str, moment: int) -> None:
        """Set a directory's time, if it is there."""
        with contextlib.suppress(OSError), self._holder(path) as (fd, name):
            os.utime(name, ns=(moment, moment), dir_fd=fd, follow_symlinks=False)

    @contextlib.contextmanager
    def _making(self, path: str) -> Iterator[tuple[int, str]]:
        try:
            with self._holder(path) as found:
                yield found
        except (NotADirectoryError, FileNotFoundError) as error:
            raise errdefs.InvalidParameter(
                f"the manifest of the context has {path[:200]!r} below what is no directory"
            ) from error
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise errdefs.InvalidParameter(
                    f"the manifest of the context has {path[:200]!r} behind a link"
                ) from error
            raise
