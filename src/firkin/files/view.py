"""The worker's view: a mount namespace that holds nothing but the container's mounts.

``firkin.files.worker`` tells why. All of this happens before a byte of the container is looked at.
"""

from __future__ import annotations

import contextlib
import os
import stat
from typing import Any

from firkin.linux import mount as mounts
from firkin.linux import syscalls

LINKS = 255
"""Symbolic links that are followed on the way to one file."""

_PSEUDO = frozenset(
    {
        "proc", "sysfs", "cgroup", "cgroup2", "devpts", "mqueue", "debugfs", "tracefs", "bpf",
        "securityfs", "configfs", "pstore", "efivarfs", "binfmt_misc", "autofs", "fusectl",
        "selinuxfs", "nsfs", "rpc_pipefs",
    }
)  # fmt: skip


class Refused(Exception):
    """The request can't be met. ``kind`` is one of the words of ``firkin.files.process``."""

    def __init__(self, kind: str, text: str) -> None:
        super().__init__(text)
        self.kind = kind


def enter(namespace: int) -> None:
    """Make a copy of a mount namespace, without pseudo file systems, our own."""
    proc = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    syscalls.setns(namespace, syscalls.CLONE_NEWNS)
    syscalls.unshare(syscalls.CLONE_NEWNS)
    mounts.mount("", "/", flags=mounts.MS_REC | mounts.MS_PRIVATE)
    for _ in range(3):
        found = _pseudo(proc)
        if not found:
            break
        for point in reversed(found):
            with contextlib.suppress(OSError):
                mounts.unmount(point)
    else:
        raise Refused("failed", "a pseudo file system of the container can't be left out")
    os.close(proc)
    os.chdir("/")


def _pseudo(proc: int) -> list[str]:
    fd = os.open("self/mountinfo", os.O_RDONLY | os.O_CLOEXEC, dir_fd=proc)
    with open(fd, encoding="utf-8", errors="surrogateescape") as lines:
        found = []
        for line in lines:
            head, _, tail = line.partition(" - ")
            if tail.split(" ", 1)[0] in _PSEUDO:
                found.append(mounts.unescape(head.split(" ", 5)[4]))
        return found


def assemble(spec: dict[str, Any]) -> None:
    """Mount the root file system and what belongs into it, and make it the root."""
    syscalls.unshare(syscalls.CLONE_NEWNS)
    mounts.mount("", "/", flags=mounts.MS_REC | mounts.MS_PRIVATE)
    root: str = spec["root"]
    mounts.mount(root, root, flags=mounts.MS_BIND)
    for wanted in spec.get("mounts", ()):
        _mount(root, wanted)
    os.chdir(root)
    if spec.get("workdir"):
        _make_directory(spec["workdir"])
    if spec.get("readonly"):
        top = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        syscalls.mount_setattr(top, syscalls.MOUNT_ATTR_RDONLY)
        os.close(top)
    syscalls.pivot_root(".", ".")
    syscalls.check(syscalls.libc.umount2(b".", mounts.MNT_DETACH), "umount")
    os.chdir("/")


def _mount(root: str, wanted: dict[str, Any]) -> None:
    top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    tree = syscalls.open_tree(wanted["source"], recursive=wanted["recursive"])
    try:
        is_directory = stat.S_ISDIR(os.fstat(tree).st_mode)
        place = make_place(top, wanted["destination"], is_directory=is_directory)
        try:
            if not wanted["rw"]:
                syscalls.mount_setattr(tree, syscalls.MOUNT_ATTR_RDONLY)
            syscalls.move_mount(tree, place)
        finally:
            os.close(place)
    finally:
        os.close(tree)
        os.close(top)


def _make_directory(path: str) -> None:
    """Make what the container's start would make; where it can't be, the start will say so."""
    top = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    with contextlib.suppress(OSError, Refused):
        os.close(make_place(top, path, is_directory=True))
    os.close(top)


def make_place(root: int, path: str, *, is_directory: bool) -> int:
    """A mount point inside ``root``, made where it is missing, as an O_PATH descriptor.

    Symbolic links on the way are followed inside ``root``; what they lead to is made too.
    """
    pending = parts(path)
    done: list[str] = []
    hops = 0
    while pending:
        part = pending.pop(0)
        if part == "..":
            done = done[:-1]
            continue
        at = _open_inside(root, done)
        try:
            status = os.stat(part, dir_fd=at, follow_symlinks=False)
            if stat.S_ISLNK(status.st_mode):
                hops += 1
                if hops > LINKS:
                    raise Refused("failed", f"too many symbolic links on the way to {path}")
                target = os.readlink(part, dir_fd=at)
                done = [] if target.startswith("/") else done
                pending = parts(target) + pending
                continue
        except FileNotFoundError:
            if pending or is_directory:
                os.mkdir(part, 0o755, dir_fd=at)
            else:
                os.close(os.open(part, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644, dir_fd=at))
        finally:
            os.close(at)
        done.append(part)
    return _open_inside(root, done)


def parts(path: str) -> list[str]:
    """The names that a path consists of."""
    return [part for part in path.split("/") if part not in ("", ".")]


def _open_inside(root: int, names: list[str]) -> int:
    resolve = syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_SYMLINKS
    return syscalls.openat2(root, "/".join(names) or ".", os.O_PATH, resolve=resolve)
