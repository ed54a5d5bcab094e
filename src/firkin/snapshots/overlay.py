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

from firkin.snapshots import base, snapshotter
from firkin.store import snapshots as rows
from firkin.types import mount

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

    async def prepare(self, key: str, parent: str = "") -> list[mount.Mount]:
        def fill(path: str, below: str) -> None:
            base.make_directory(path, 0o700)
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
        self, key: str, name: str, *, parent: str | None = None, size: int = 0
    ) -> None:
        def change(connection: sqlite3.Connection) -> rows.Info:
            info = rows.get(connection, key)
            rows.commit(connection, key, name, info.parent if parent is None else parent, size)
            return info

        info = await self._db.run(change)
        await self._thread(lambda: base.remove_tree(os.path.join(self._path(info), "work")))

    async def usage(self, key: str) -> snapshotter.Usage:
        path = await self.directory(key)
        return await self._thread(lambda: base.measure(path))

    async def directory(self, key: str) -> str:
        return self._fs(await self.stat(key))

    async def layers(self, key: str) -> list[str]:
        return [self._fs(info) for info in await self._lineage(key)]
