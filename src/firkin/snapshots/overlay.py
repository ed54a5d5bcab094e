"""Snapshots on overlayfs.

::

    ROOT/<n>/fs      the snapshot's own files; whiteouts are character devices 0:0, a directory that
                     hides what is below has the attribute trusted.overlay.opaque
    ROOT/<n>/work    overlayfs's own, only while the snapshot is active

A layer's directory says nothing about its parent, so layers can be unpacked in any order and at
the same time, and get their place when they are committed.
"""

from __future__ import annotations

import functools
import os
import sqlite3
from collections.abc import Callable

from firkin.linux import treesize
from firkin.snapshots import base, snapshotter
from firkin.store import snapshots as rows
from firkin.types import mount

_FRAME = ("fs", "work", "work/work")
"""Directories that an active snapshot has before anything is written to it."""
_PARAMETERS = "/sys/module/overlay/parameters"


@functools.cache
def _options() -> tuple[str, ...]:
    """Options that keep the upper directory plain, as far as this kernel knows them.

    With any of these features the upper directory would refer to lower ones in ways that a layer
    cannot carry, or could not be moved onto another parent.
    """
    names = ("index", "redirect_dir", "metacopy")
    return tuple(f"{n}=off" for n in names if os.path.exists(f"{_PARAMETERS}/{n}"))


class Overlay(base.Directories):
    """A :class:`firkin.snapshots.snapshotter.Snapshotter` on overlayfs."""

    name = "overlay2"
    rebases = True

    def _fs(self, info: rows.Info) -> str:
        return os.path.join(self._path(info), "fs")

    def _mounts(self, lineage: list[rows.Info]) -> list[mount.Mount]:
        top, *below = lineage
        writable = top.kind == "active"
        if not below:
            options: tuple[str, ...] = ("rbind", "rw" if writable else "ro")
            return [
                mount.Mount(destination="/", type="bind", source=self._fs(top), options=options)
            ]
        lower = ":".join(self._fs(info) for info in (below if writable else lineage))
        options = (f"lowerdir={lower}", *_options())
        if writable:
            work = os.path.join(self._path(top), "work")
            options = (f"upperdir={self._fs(top)}", f"workdir={work}", *options)
        else:
            options = ("ro", *options)
        return [mount.Mount(destination="/", type="overlay", source="overlay", options=options)]

    async def prepare(
        self, key: str, parent: str = "", *, counted: bool = False
    ) -> list[mount.Mount]:
        def fill(path: str, below: str) -> None:
            self._begin(path, 0o700, counted)
            fs = os.path.join(path, "fs")
            base.make_directory(fs, 0o755)
            base.make_directory(os.path.join(path, "work"), 0o711)
            if below:
                # The root of the merged tree takes its mode and owner from the upper directory.
                status = os.stat(os.path.join(below, "fs"))
                os.chown(fs, status.st_uid, status.st_gid)
                os.chmod(fs, status.st_mode & 0o7777)

        await self._add(key, parent, fill)
        return await self.mounts(key)

    async def mounts(self, key: str) -> list[mount.Mount]:
        return self._mounts(await self._lineage(key))

    async def commit(
        self, key: str, name: str, *, parent: str | None = None, size: int = 0, disk: int = -1
    ) -> None:
        info = await self.stat(key)
        path = self._path(info)

        def finish() -> int:
            known = disk if disk >= 0 else treesize.measure(self._fs(info)).size
            return known + treesize.alone(path)

        whole = await self._thread(finish)

        def change(connection: sqlite3.Connection) -> None:
            below = rows.get(connection, key).parent if parent is None else parent
            rows.commit(connection, key, name, below, size, whole)

        await self._db.run(change)
        await self._thread(lambda: base.remove_tree(os.path.join(path, "work")))

    async def usage(self, key: str) -> snapshotter.Usage:
        path = await self.directory(key)

        def work() -> snapshotter.Usage:
            found = treesize.measure(path)
            return found._replace(size=found.size - treesize.alone(path), inodes=found.inodes - 1)

        return await self._thread(work)

    async def meters(self) -> dict[str, Callable[[], snapshotter.Taken]]:
        active, _ = await self._active()

        def work(path: str) -> snapshotter.Taken:
            whole = base.measure(path)
            frame = treesize.alone(path, *(f"{path}/{name}" for name in _FRAME))
            return snapshotter.Taken(max(0, whole - frame), whole)

        return {info.key: functools.partial(work, self._path(info)) for info in active}

    async def directory(self, key: str) -> str:
        return self._fs(await self.stat(key))

    async def layers(self, key: str) -> list[str]:
        return [self._fs(info) for info in await self._lineage(key)]
