"""mount(2), umount2(2) and the list of mounts."""

from __future__ import annotations

import ctypes
import errno
import os
import threading
from collections.abc import Callable, Iterator

from firkin.linux import syscalls

MS_RDONLY = 1
MS_NOSUID = 2
MS_NODEV = 4
MS_NOEXEC = 8
MS_REMOUNT = 32
MS_BIND = 4096
MS_REC = 16384
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20

MNT_DETACH = 2
UMOUNT_NOFOLLOW = 8


def mount(source: str, target: str, kind: str = "", flags: int = 0, data: str = "") -> None:
    """mount(2). Raises ``OSError``."""
    result = syscalls.libc.mount(
        os.fsencode(source),
        os.fsencode(target),
        kind.encode() or None,
        ctypes.c_ulong(flags),
        os.fsencode(data) or None,
    )
    syscalls.check(result, target)


def unmount(target: str, flags: int = MNT_DETACH | UMOUNT_NOFOLLOW) -> bool:
    """umount2(2); tells whether there was a mount. Lazy by default."""
    if syscalls.libc.umount2(os.fsencode(target), flags) == 0:
        return True
    number = ctypes.get_errno()
    if number in (errno.EINVAL, errno.ENOENT):
        return False
    raise OSError(number, os.strerror(number), target)


def mount_from(directory: str, source: str, target: str, kind: str, flags: int, data: str) -> None:
    """mount(2) with ``directory`` as the working directory, so that paths in ``data`` can be short.

    The options of a mount must fit in one page; an overlay of many layers fits only with relative
    names. The working directory belongs to the process, so this runs in a thread that has its own.
    """

    def work() -> None:
        os.chdir(directory)
        mount(source, target, kind, flags, data)

    in_thread_with_own(syscalls.CLONE_FS, work)


def in_thread_with_own(flags: int, work: Callable[[], None]) -> None:
    """Run ``work`` in a fresh thread that has unshared ``flags``; the thread ends with it."""
    failure: list[BaseException] = []

    def body() -> None:
        try:
            syscalls.unshare(flags)
            work()
        except BaseException as error:
            failure.append(error)

    thread = threading.Thread(target=body, name="firkin-unshared", daemon=True)
    thread.start()
    thread.join()
    if failure:
        raise failure[0]


def unescape(field: str) -> str:
    if "\\" not in field:
        return field
    return (
        field.replace("\\040", " ")
        .replace("\\011", "\t")
        .replace("\\012", "\n")
        .replace("\\134", "\\")
    )


def mounted_below(prefix: str) -> Iterator[str]:
    """Mount points at or below ``prefix`` in this mount namespace, the newest first."""
    base = prefix.rstrip("/")
    with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as lines:
        points = [unescape(line.split(" ", 5)[4]) for line in lines]
    for point in reversed(points):
        if point == base or point.startswith(base + "/"):
            yield point
