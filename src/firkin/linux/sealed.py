"""Programs that are executed from sealed memory.

An OCI runtime must not be changed by the container that it is about to enter, which could do that
through /proc/PID/exe (CVE-2019-5736). So crun and runc first make a copy of themselves that can't
be written to and execute that: they start twice, and when they are killed in between a mount stays
in /tmp. One that is executed from a memfd with every seal is such a copy already. It is made once
here, and again when the file on the disk is another.
"""

from __future__ import annotations

import contextlib
import fcntl
import os

_MARK = b"_LIBCONTAINER_CLONED_BINARY"  # only a program that copies itself has it
_LARGEST = 64 << 20
_MFD_EXEC = 0x10  # Linux 6.3; Python 3.11 does not name it
_F_ADD_SEALS = 1033
_SEALS = 1 | 2 | 4 | 8  # F_SEAL_SEAL, _SHRINK, _GROW, _WRITE: exactly those are looked for


class Program:
    """A program at ``path``, which is executed from memory if it would copy itself else."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._fd: int | None = None
        self._copied: tuple[int, ...] = ()

    def own(self) -> str:
        """What a child of this process executes."""
        fd = self._memory()
        return self.path if fd is None else f"/proc/{os.getpid()}/fd/{fd}"

    def inherited(self) -> tuple[str, tuple[int, ...]]:
        """What a grandchild executes, and the descriptors that it has to inherit for that."""
        fd = self._memory()
        return (self.path, ()) if fd is None else (f"/proc/self/fd/{fd}", (fd,))

    def _memory(self) -> int | None:
        try:
            found = os.stat(self.path)
        except OSError:
            return None
        seen = (found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns, found.st_ctime_ns)
        if seen != self._copied:
            # An older one stays open: somebody may be about to execute it.
            self._fd = _copy(self.path)
            self._copied = seen
        return self._fd


def _copy(path: str) -> int | None:
    with contextlib.suppress(OSError), open(path, "rb") as file:
        data = file.read(_LARGEST)
        if _MARK not in data or len(data) == _LARGEST:
            return None
        fd = _memfd(os.path.basename(path))
        try:
            with open(fd, "wb", closefd=False) as memory:
                memory.write(data)
            fcntl.fcntl(fd, _F_ADD_SEALS, _SEALS)
        except BaseException:
            os.close(fd)
            raise
        return fd
    return None


def _memfd(name: str) -> int:
    flags = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
    try:
        return os.memfd_create(name, flags | _MFD_EXEC)
    except OSError:  # an older kernel, or one that executes nothing from memory
        return os.memfd_create(name, flags)
