"""System calls that Python 3.11 has no function for, through libc."""

from __future__ import annotations

import ctypes
import os
import platform

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
_SYS_CLOSE_RANGE, _CLOSE_RANGE_UNSHARE = 436, 2
_ALL = ctypes.c_uint(0xFFFFFFFF)


def check(result: int, what: str) -> int:
    """Return ``result``, or raise the ``OSError`` of errno when it is negative."""
    if result < 0:
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number), what)
    return result


def unshare(flags: int) -> None:
    """unshare(2), for the calling thread."""
    check(libc.unshare(flags), "unshare")


def own_descriptors() -> None:
    """Give the calling thread a table of descriptors of its own, with the standard ones alone.

    The rest of the process keeps its own. What the thread opens after this has a low number.
    """
    check(libc.syscall(_SYS_CLOSE_RANGE, 3, _ALL, _CLOSE_RANGE_UNSHARE), "close_range")


def setns(fd: int, kind: int = 0) -> None:
    """setns(2), for the calling thread."""
    check(libc.setns(fd, kind), "setns")


_SYS_PIVOT_ROOT = {"aarch64": 41}.get(platform.machine(), 155)
_SYS_OPEN_TREE, _SYS_MOVE_MOUNT, _SYS_MOUNT_SETATTR = 428, 429, 442
_AT_FDCWD, _AT_EMPTY_PATH, _AT_RECURSIVE = -100, 0x1000, 0x8000
_OPEN_TREE_CLONE, _MOVE_MOUNT_F_EMPTY_PATH, _MOVE_MOUNT_T_EMPTY_PATH = 1, 0x4, 0x40

MOUNT_ATTR_RDONLY = 0x1
MOUNT_ATTR_NOSUID = 0x2
MOUNT_ATTR_NODEV = 0x4
MOUNT_ATTR_NOEXEC = 0x8
MOUNT_ATTR_IDMAP = 0x100000


def pivot_root(new: str, old: str) -> None:
    """pivot_root(2)."""
    check(libc.syscall(_SYS_PIVOT_ROOT, os.fsencode(new), os.fsencode(old)), "pivot_root")


def open_tree(path: str, *, recursive: bool = True) -> int:
    """open_tree(2): a detached copy of the mount at ``path``, as a descriptor."""
    flags = _OPEN_TREE_CLONE | os.O_CLOEXEC | (_AT_RECURSIVE if recursive else 0)
    result = libc.syscall(_SYS_OPEN_TREE, _AT_FDCWD, os.fsencode(path), flags)
    return check(result, path)


def move_mount(tree: int, target: int) -> None:
    """move_mount(2): attach a detached mount at what the descriptor ``target`` is."""
    flags = _MOVE_MOUNT_F_EMPTY_PATH | _MOVE_MOUNT_T_EMPTY_PATH
    check(libc.syscall(_SYS_MOVE_MOUNT, tree, b"", target, b"", flags), "move_mount")


class _MountAttr(ctypes.Structure):
    _fields_ = [
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    ]


def mount_setattr(mount: int, attributes: int, *, recursive: bool = False, userns: int = 0) -> None:
    """mount_setattr(2): add ``attributes`` to the mount whose root the descriptor is.

    ``userns`` is the user namespace of an id mapping, with ``MOUNT_ATTR_IDMAP``.
    """
    wanted = _MountAttr(attributes, 0, 0, userns)
    flags = _AT_EMPTY_PATH | (_AT_RECURSIVE if recursive else 0)
    size = ctypes.c_size_t(ctypes.sizeof(wanted))
    result = libc.syscall(_SYS_MOUNT_SETATTR, mount, b"", flags, ctypes.byref(wanted), size)
    check(result, "mount_setattr")


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
