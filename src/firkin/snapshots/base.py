"""What the drivers share: rows, numbered directories and their clean-up."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import sqlite3
from collections.abc import Callable
from typing import TypeVar

from firkin import errdefs
from firkin.linux import failures, projectquota, treesize
from firkin.store import db
from firkin.store import snapshots as rows

T = TypeVar("T")


def make_directory(path: str, mode: int) -> None:
    """mkdir with exactly ``mode``, whatever the umask."""
    os.mkdir(path, 0o700)
    os.chmod(path, mode)


def remove_tree(path: str) -> None:
    """Remove a tree as far as it exists; never follows links, never crosses into mounts left."""
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(path)


def measure(path: str) -> int:
    """Bytes that the tree at ``path`` takes on the disk. Blocks; no walk where it is counted."""
    return (projectquota.used(path) or treesize.measure(path)).size


class Directories:
    """Snapshots whose files lie in ROOT/<n>, n being the row's number."""

    def __init__(self, root: str, database: db.Database) -> None:
        self.root = root
        self._db = database
        os.makedirs(root, mode=0o700, exist_ok=True)

    def _path(self, info: rows.Info | int) -> str:
        return os.path.join(self.root, str(info if isinstance(info, int) else info.dir))

    async def _thread(self, work: Callable[[], T]) -> T:
        try:
            return await asyncio.to_thread(work)
        except OSError as error:
            reason = failures.reason(error)
            raise errdefs.System(f"cannot change the snapshots in {self.root}: {reason}") from error

    async def stat(self, key: str) -> rows.Info:
        return await self._db.run(lambda c: rows.get(c, key))

    async def walk(self) -> list[rows.Info]:
        found = await self._db.run(rows.every)
        children: dict[str, list[rows.Info]] = {}
        for info in found:
            children.setdefault(info.parent, []).append(info)
        ordered: list[rows.Info] = []
        level = children.get("", [])
        while level:
            ordered += level
            level = [child for info in level for child in children.get(info.key, [])]
        return ordered

    def _begin(self, path: str, mode: int, counted: bool) -> None:
        """Make the directory of a snapshot."""
        make_directory(path, mode)
        if counted:
            projectquota.account(path)

    async def _lineage(self, key: str) -> list[rows.Info]:
        return await self._db.run(lambda c: rows.lineage(c, key))

    async def _add(self, key: str, parent: str, fill: Callable[[str, str], None]) -> rows.Info:
        """Insert the row, then ``fill(directory, parent's directory or "")``; undone on failure."""

        def insert(connection: sqlite3.Connection) -> tuple[rows.Info, str]:
            rows.add(connection, key, parent)
            info = rows.get(connection, key)
            return info, self._path(rows.get(connection, parent)) if parent else ""

        info, below = await self._db.run(insert)
        path = self._path(info)
        try:
            await self._thread(lambda: fill(path, below))
        except BaseException:
            await self._db.run(lambda c: rows.remove(c, key))
            await asyncio.to_thread(remove_tree, path)
            raise
        return info

    async def _active(self) -> tuple[list[rows.Info], dict[str, rows.Info]]:
        """The active snapshots, and all by key."""
        found = await self._db.run(rows.every)
        return [i for i in found if i.kind == "active"], {i.key: i for i in found}

    async def sizes(self) -> dict[str, int]:
        """See ``Snapshotter.sizes``."""
        found = [info for info in await self._db.run(rows.every) if info.kind == "committed"]
        sizes = {info.key: info.disk for info in found}
        unknown = [info for info in found if info.disk < 0]
        if unknown:

            def work() -> dict[int, int]:
                return {info.dir: treesize.measure(self._path(info)).size for info in unknown}

            measured = await self._thread(work)
            await self.weigh(measured)
            sizes.update((info.key, measured[info.dir]) for info in unknown)
        return sizes

    async def weigh(self, disk: dict[int, int]) -> None:
        """See ``Snapshotter.weigh``."""
        await self._db.run(lambda c: rows.weigh(c, disk))

    async def remove(self, key: str) -> None:
        path = await self.forget(key)
        await self._thread(lambda: remove_tree(path))

    async def forget(self, key: str) -> str:
        return self._path(await self._db.run(lambda c: rows.remove(c, key)))

    async def cleanup(self) -> int:
        known = {str(info.dir) for info in await self._db.run(rows.every)}

        def work() -> int:
            strangers = [name for name in os.listdir(self.root) if name not in known]
            for name in strangers:
                path = os.path.join(self.root, name)
                if os.path.isdir(path) and not os.path.islink(path):
                    remove_tree(path)
                else:
                    os.unlink(path)
            return len(strangers)

        return await self._thread(work)
