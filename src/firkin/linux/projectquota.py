"""What a directory tree takes, and limits of it, by project quotas (xfs, ext4).

A directory gets a project number that all files made below it inherit; the kernel counts blocks by
project. The file system must be mounted with project quotas (``prjquota``, on xfs ``pquota``);
ext4 must have been made with them (``mkfs.ext4 -O quota,project``). The number is a directory's
inode number, which no other directory of the file system has at the same time.
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import struct

from firkin import errdefs
from firkin.linux import syscalls, treesize

_FS_IOC_FSGETXATTR = 0x801C581F
_FS_IOC_FSSETXATTR = 0x401C5820
_FSXATTR = struct.Struct("=IIIII8x")
_PROJINHERIT = 0x200

_SYS_QUOTACTL_FD = 443
_PRJQUOTA = 2
_Q_XGETQUOTA = 0x5803
_Q_XSETQLIM = 0x5804
_BLOCK_LIMITS = 0x4 | 0x8  # soft and hard
_UNIT = 512
# struct fs_disk_quota of linux/dqblk_xfs.h
_QUOTA = struct.Struct("=bbHIQQQQQQiiHHiQQQiHh8x")
_BLOCKS, _INODES = 8, 9  # of its fields: those in use

_FIRST = 1 << 20
"""Below it are numbers that an administrator may have chosen."""


def _command(fd: int, command: int, project: int, data: ctypes.Array[ctypes.c_char]) -> None:
    word = ctypes.c_uint(command << 8 | _PRJQUOTA)
    result = syscalls.libc.syscall(_SYS_QUOTACTL_FD, fd, word, ctypes.c_uint(project), data)
    syscalls.check(result, "quotactl")


def limit(directory: str, size: int) -> None:
    """Let the tree at ``directory``, which is empty yet, take at most ``size`` bytes.

    Raises ``InvalidParameter`` when the file system has no project quotas.
    """
    if not _begin(directory, size):
        raise errdefs.InvalidParameter(
            f"size: the file system at {directory} has no project quotas: mount it with "
            "prjquota (ext4: made with mkfs.ext4 -O quota,project), or give no size"
        )


def account(directory: str) -> bool:
    """Let the kernel count what the tree at ``directory``, which is empty yet, takes.

    Tells whether it does: that the file system can't, or this process may not, is no error.
    """
    try:
        return _begin(directory, 0)
    except OSError:
        return False


def _begin(directory: str, size: int) -> bool:
    """Give a directory its project with a limit, 0 for none, whatever the number had before."""
    fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        project = (os.fstat(fd).st_ino + _FIRST) & 0xFFFFFFFF
        blocks = -(-size // _UNIT)
        quota = _QUOTA.pack(
            1, 2, _BLOCK_LIMITS, project, blocks, blocks, *(0,) * 4, *(0,) * 5, *(0,) * 6
        )
        try:
            _command(fd, _Q_XSETQLIM, project, ctypes.create_string_buffer(quota, len(quota)))
            flags, extent, extents, _, cow = _FSXATTR.unpack(_attributes(fd))
            attributes = _FSXATTR.pack(flags | _PROJINHERIT, extent, extents, project, cow)
            fcntl.ioctl(fd, _FS_IOC_FSSETXATTR, attributes)
        except OSError as error:
            if error.errno in _NO_QUOTAS:
                return False
            raise
        return True
    finally:
        os.close(fd)


def used(directory: str) -> treesize.Usage | None:
    """What the tree at ``directory`` takes, without a walk; ``None`` when nobody counts it.

    The kernel counts what the tree has on this file system, a file that was removed and is still
    open too.
    """
    try:
        fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    except FileNotFoundError:
        return None
    try:
        flags, _, _, project, _ = _FSXATTR.unpack(_attributes(fd))
        if project < _FIRST or not flags & _PROJINHERIT:
            return None
        answer = ctypes.create_string_buffer(_QUOTA.size)
        _command(fd, _Q_XGETQUOTA, project, answer)
    except OSError:
        return None
    finally:
        os.close(fd)
    fields = _QUOTA.unpack(answer.raw)
    return treesize.Usage(fields[_BLOCKS] * _UNIT, fields[_INODES])


def _attributes(fd: int) -> bytes:
    return fcntl.ioctl(fd, _FS_IOC_FSGETXATTR, bytes(_FSXATTR.size))


_NO_QUOTAS = frozenset(
    {errno.ENOTTY, errno.EOPNOTSUPP, errno.ENOSYS, errno.ESRCH, errno.EINVAL, errno.ENOTBLK}
)
