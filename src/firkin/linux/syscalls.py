"""System calls that Python 3.11 has no function for, through libc."""

from __future__ import annotations

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)

CLONE_NEWNS = 0x00020000
CLONE_FS = 0x00000200
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10

_SYS_OPENAT2 = 437


def check(result: int, what: str) -> int:
    """Return ``result``, or raise the ``OSError`` of errno when it is negative."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def unshare(flags: int) -> None:
    """unshare(2), for the calling thread."""
    check(libc.unshare(flags), "unshare")


def setns(fd: int, kind: int = 0) -> None:
    """setns(2), for the calling thread."""
    check(libc.setns(fd, kind), "setns")


class _OpenHow(ctypes.Structure):
    _fields_ = [
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    ]


def openat2(root: int, path: str, flags: int, *, mode: int = 0, resolve: int) -> int:
    """openat2(2): open ``path`` below the directory ``root`` under the rules in ``resolve``.

    With ``RESOLVE_IN_ROOT`` symbolic links and ".." are followed as if ``root`` were "/", so no
    path in a container's file system can lead out of it. Retries when the tree changes meanwhile.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    encoded = os.fsencode(path)
    for _ in range(32):
        fd: int = libc.syscall(
            _SYS_OPENAT2, root, encoded, ctypes.byref(how), ctypes.c_size_t(ctypes.sizeof(how))
        )
        if fd >= 0:
            return fd
        number = ctypes.get_errno()
        if number != 11:  # EAGAIN: a rename was under way
            break
    raise OSError(number, os.strerror(number), path)
