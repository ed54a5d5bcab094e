"""Snapshots as plain copies: for file systems that overlayfs refuses.

ROOT/<n> is the whole tree: a child starts as a copy of its parent (by reference, where the file
system can). Slow and large, but it works anywhere, and needs no mount beyond a bind.
"""

from __future__ import annotations

import functools
import sqlite3
import subprocess
from collections.abc import Callable

from firkin import errdefs
from firkin.linux import treesize
from firkin.snapshots import base, snapshotter
from firkin.store import snapshots as rows
from firkin.types import mount


def _copy(source: str, target: str) -> None:
    command = ["cp", "-a", "--reflink=auto", "--", f"{source}/.", target]
    done = subprocess.run(command, capture_output=True, text=True, errors="replace", check=False)
    if done.returncode:
        raise errdefs.System(f"cannot copy a snapshot: {done.stderr.strip()[:500]}")


class Native(base.Directories):
    """A :class:`firkin.snapshots.snapshotter.Snapshotter` that copies."""

    name = "vfs"
    rebases = False

    async def prepare(
        self, key: str, parent: str = "", *, counted: bool = False
    ) -> list[mount.Mount]:
        def fill(path: str, below: str) -> None:
            self._begin(path, 0o755, counted)
            if below:
                _copy(below, path)

        info = await self._add(key, parent, fill)
        return self._mounts(info)

    def _mounts(self, info: rows.Info) -> list[mount.Mount]:
        options = ("rbind", "rw" if info.kind == "active" else "ro")
        return [mount.Mount(destination="/", type="bind", source=self._path(info), options=options)]

    async def mounts(self, key: str) -> list[mount.Mount]:
        return self._mounts(await self.stat(key))

    async def commit(
        self, key: str, name: str, *, parent: str | None = None, size: int = 0, disk: int = -1
    ) -> None:
        path = await self.directory(key)
        whole = disk
        if disk < 0:
            whole = (await self._thread(lambda: treesize.measure(path))).size

        def change(connection: sqlite3.Connection) -> None:
            info = rows.get(connection, key)
            if parent is not None and parent != info.parent:
                raise errdefs.InvalidParameter(
                    f"the copying snapshotter cannot move {key} onto another parent"
                )
            rows.commit(connection, key, name, info.parent, size, whole)

        await self._db.run(change)

    async def usage(self, key: str) -> snapshotter.Usage:
        info = await self.stat(key)
        below = (await self.stat(info.parent)) if info.parent else None

        def work() -> snapshotter.Usage:
            whole = treesize.measure(self._path(info))
            old = treesize.NOTHING
            if below is not None:
                old = treesize.measure(self._path(below))
            return snapshotter.Usage(*(max(0, a - b) for a, b in zip(whole, old, strict=True)))

        return await self._thread(work)

    async def meters(self) -> dict[str, Callable[[], snapshotter.Taken]]:
        active, known = await self._active()

        def work(path: str, below: str, parent: rows.Info | None) -> snapshotter.Taken:
            whole = base.measure(path)
            old = 0
            if parent is not None:
                old = parent.disk if parent.disk >= 0 else treesize.measure(below).size
            return snapshotter.Taken(max(0, whole - old), whole)

        found: dict[str, Callable[[], snapshotter.Taken]] = {}
        for info in active:
            parent = known.get(info.parent)
            below = self._path(parent) if parent is not None else ""
            found[info.key] = functools.partial(work, self._path(info), below, parent)
        return found

    async def directory(self, key: str) -> str:
        return self._path(await self.stat(key))

    async def layers(self, key: str) -> list[str]:
        return [self._path(info) for info in await self._lineage(key)]
