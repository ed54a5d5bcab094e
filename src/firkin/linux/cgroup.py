"""Which cgroup hierarchies this host has, and how a container's group is named in them.

Three layouts exist: *v2* (one unified tree at /sys/fs/cgroup), *v1* (a tree per controller) and
*hybrid* (v1 trees, with a v2 tree at /sys/fs/cgroup/unified beside them). crun refuses a hybrid
host whose v2 tree still owns a controller; :func:`settle` mounts such controllers as v1 trees.
"""

from __future__ import annotations

import errno
import os
import time
from collections.abc import Iterable
from typing import NamedTuple

from firkin.linux import mount

ROOT = "/sys/fs/cgroup"


class Layout(NamedTuple):
    """``version`` is 1 or 2; ``v1`` the mounted v1 controllers; ``v2`` those the v2 tree owns."""

    version: int
    hybrid: bool
    v1: tuple[str, ...]
    v2: tuple[str, ...]

    @property
    def text(self) -> str:
        """The layout in one word, for people."""
        return "v2" if self.version == 2 else "hybrid" if self.hybrid else "v1"

    def has(self, controller: str) -> bool:
        """Whether the controller is usable for containers."""
        return controller in (self.v2 if self.version == 2 else self.v1)


def probe(root: str = ROOT) -> Layout:
    """Look at what is mounted."""
    if os.path.exists(os.path.join(root, "cgroup.controllers")):
        return Layout(2, False, (), _words(os.path.join(root, "cgroup.controllers")))
    unified = os.path.join(root, "unified", "cgroup.controllers")
    hybrid = os.path.exists(unified)
    known = set(_controllers())
    v1 = []
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            head, _, tail = line.partition(" - ")
            fields = tail.split()
            if len(fields) >= 3 and fields[0] == "cgroup" and head.split()[4].startswith(root):
                v1 += [word for word in fields[2].split(",") if word in known]
    return Layout(1, hybrid, tuple(sorted(set(v1))), _words(unified) if hybrid else ())


def _words(path: str) -> tuple[str, ...]:
    with open(path, encoding="ascii") as file:
        return tuple(file.read().split())


def _controllers() -> list[str]:
    try:
        with open("/proc/cgroups", encoding="ascii") as file:
            return [line.split()[0] for line in file if not line.startswith("#")]
    except FileNotFoundError:
        return []


def settle(layout: Layout, root: str = ROOT) -> list[str]:
    """On a hybrid host, mount the controllers that the v2 tree still owns as v1 trees.

    Returns the names of those mounted. A controller that is in use in the v2 tree can't be moved
    and stays there.
    """
    moved: list[str] = []
    if layout.version == 2:
        return moved
    for controller in layout.v2:
        path = os.path.join(root, controller)
        try:
            os.makedirs(path, exist_ok=True)
            mount.mount(
                "cgroup", path, "cgroup",
                mount.MS_NOSUID | mount.MS_NODEV | mount.MS_NOEXEC, controller,
            )  # fmt: skip
        except OSError:
            continue
        moved.append(controller)
    return moved


def directories(layout: Layout, path: str, root: str = ROOT) -> list[str]:
    """Every directory of the group ``path`` (absolute within the hierarchies) that exists."""
    relative = path.lstrip("/")
    if layout.version == 2:
        found = [os.path.join(root, relative)]
    else:
        found = [
            os.path.join(root, entry.name, relative)
            for entry in os.scandir(root)
            if entry.is_dir(follow_symlinks=False)
        ]
    return [directory for directory in found if os.path.isdir(directory)]


_DYING = 2.0


def remove(layout: Layout, path: str, root: str = ROOT) -> None:
    """Remove the empty group ``path`` with its sub-groups; waits briefly for dying processes."""
    deadline = time.monotonic() + _DYING
    for directory in directories(layout, path, root):
        for below, _, _ in list(os.walk(directory, topdown=False)):
            while True:
                try:
                    os.rmdir(below)
                except FileNotFoundError:
                    break
                except OSError as error:
                    if error.errno != errno.EBUSY or time.monotonic() > deadline:
                        break
                    time.sleep(0.002)
                else:
                    break


def pids(layout: Layout, path: str, root: str = ROOT) -> set[int]:
    """The processes in the group ``path`` and its sub-groups."""
    found: set[int] = set()
    for directory in directories(layout, path, root):
        for below, _, _ in os.walk(directory):
            try:
                with open(os.path.join(below, "cgroup.procs"), encoding="ascii") as file:
                    found.update(int(line) for line in file)
            except OSError:
                continue
    return found


Limit = tuple[tuple[str, str], ...]
PIDS: Limit = (("pids.max", "max"),)
CPU_QUOTA: Limit = (("cpu.cfs_quota_us", "-1"), ("cpu.max", "max"))


def lift(layout: Layout, path: str, limits: Iterable[Limit], root: str = ROOT) -> None:
    """Take limits away from the group ``path``: any of ``PIDS`` and ``CPU_QUOTA``.

    Raises ``OSError``.
    """
    for directory in directories(layout, path, root):
        for name, nothing in (pair for limit in limits for pair in limit):
            file = os.path.join(directory, name)
            if os.path.exists(file):
                with open(file, "w", encoding="ascii") as opened:
                    opened.write(nothing)


def frozen(layout: Layout, path: str, root: str = ROOT) -> bool:
    """Whether the group ``path`` is frozen, or about to be."""
    relative = path.lstrip("/")
    if layout.version == 2:
        name, thawed = os.path.join(root, relative, "cgroup.freeze"), "0"
    else:
        name, thawed = os.path.join(root, "freezer", relative, "freezer.state"), "THAWED"
    try:
        with open(name, encoding="ascii") as file:
            return file.read().strip() != thawed
    except OSError:
        return False
