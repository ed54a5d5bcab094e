"""What a snapshot changes in its parent, as paths: the answer of ``diff``.

With a driver that stacks layers only the top layer is walked, and each of its names looked up in
the layers below; else two whole trees are compared. Either way the container may be changing the
tree meanwhile: it is walked by descriptors that follow no link.

Mount points that the runtime made in the tree are no change of the container: files and
directories at :data:`MOUNT_POINTS` are left out while there is nothing in them, and so is a
directory of which only the times differ.
"""

from __future__ import annotations

import contextlib
import enum
import os
import stat
from typing import NamedTuple

_FLAGS = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_OPAQUE = "trusted.overlay.opaque"

MOUNT_POINTS = frozenset(
    {
        "/dev", "/dev/console", "/dev/mqueue", "/dev/pts", "/dev/shm", "/proc", "/sys",
        "/etc/hostname", "/etc/hosts", "/etc/resolv.conf", "/run/secrets", "/.dockerenv",
        "/run/.containerenv",
    }
)  # fmt: skip


class Kind(enum.IntEnum):
    """As in the Engine API."""

    MODIFIED = 0
    ADDED = 1
    DELETED = 2


class Change(NamedTuple):
    """One changed path, absolute in the tree."""

    path: str
    kind: Kind


def changes(layers: list[str], *, stacked: bool) -> list[Change]:
    """Changes of the tree at ``layers[0]``, sorted by path. Blocks.

    ``layers`` are the directories of the snapshot and its ancestors, itself first; ``stacked``
    tells whether each holds its own changes alone, in overlayfs form.
    """
    below = layers[1:] if stacked else layers[1:2]
    with contextlib.ExitStack() as stack:
        top = _open(stack, layers[0])
        lower = [_open(stack, path) for path in below]
        return sorted(_directory(top, lower, "", stacked))


def _open(stack: contextlib.ExitStack, path: str, parent: int | None = None) -> int:
    fd = os.open(path, _FLAGS, dir_fd=parent)
    stack.callback(os.close, fd)
    return fd


def _is_whiteout(status: os.stat_result) -> bool:
    return stat.S_ISCHR(status.st_mode) and status.st_rdev == 0


def _is_opaque(fd: int) -> bool:
    try:
        return os.getxattr(fd, _OPAQUE) == b"y"
    except OSError:
        return False


def _look(lower: list[int], name: str, stacked: bool) -> os.stat_result | None:
    for fd in lower:
        with contextlib.suppress(FileNotFoundError, NotADirectoryError):
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            return None if stacked and _is_whiteout(status) else status
    return None


def _descend(stack: contextlib.ExitStack, lower: list[int], name: str, stacked: bool) -> list[int]:
    """The directories that ``name`` merges from the layers below, topmost first."""
    found: list[int] = []
    for fd in lower:
        try:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            continue
        if not stat.S_ISDIR(status.st_mode):
            break
        found.append(_open(stack, name, fd))
        if not stacked or _is_opaque(found[-1]):
            break
    return found


def _same(a: os.stat_result, b: os.stat_result) -> bool:
    mine = (a.st_mode, a.st_uid, a.st_gid, a.st_rdev)
    if mine != (b.st_mode, b.st_uid, b.st_gid, b.st_rdev):
        return False
    return stat.S_ISDIR(a.st_mode) or (a.st_size, a.st_mtime_ns) == (b.st_size, b.st_mtime_ns)


def _directory(fd: int, lower: list[int], prefix: str, stacked: bool) -> list[Change]:
    found: list[Change] = []
    names = os.listdir(fd)
    opaque = stacked and bool(lower) and _is_opaque(fd)
    if lower and (opaque or not stacked):
        for gone in _listed(lower, stacked) - set(names):
            found.append(Change(f"{prefix}/{gone}", Kind.DELETED))
    for name in names:
        path = f"{prefix}/{name}"
        try:
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except FileNotFoundError:
            continue
        before = _look(lower, name, stacked)
        if stacked and _is_whiteout(status):
            if before is not None:
                found.append(Change(path, Kind.DELETED))
            continue
        if not stat.S_ISDIR(status.st_mode):
            if before is None:
                if path not in MOUNT_POINTS or status.st_size:
                    found.append(Change(path, Kind.ADDED))
            elif stacked or not _same(status, before):
                found.append(Change(path, Kind.MODIFIED))
            continue
        with contextlib.ExitStack() as stack:
            try:
                child = _open(stack, name, fd)
            except OSError:
                continue  # replaced meanwhile
            inside = _descend(stack, lower, name, stacked)
            deeper = _directory(child, inside, path, stacked)
        if before is None:
            if deeper or path not in MOUNT_POINTS:
                found.append(Change(path, Kind.ADDED))
        elif deeper or not _same(status, before):
            found.append(Change(path, Kind.MODIFIED))
        found += deeper
    return found


def _listed(lower: list[int], stacked: bool) -> set[str]:
    names: set[str] = set()
    hidden: set[str] = set()
    for fd in lower:
        for name in os.listdir(fd):
            if name in hidden or name in names:
                continue
            status = os.stat(name, dir_fd=fd, follow_symlinks=False)
            (hidden if stacked and _is_whiteout(status) else names).add(name)
    return names
