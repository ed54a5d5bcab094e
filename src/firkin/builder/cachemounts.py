"""``RUN --mount=type=cache``: directories that persist between builds.

A directory is found by the mount's id (and what it begins with, when ``from`` says so). Sharing:
*shared* steps use one at the same time, *locked* ones wait for each other, *private* ones get
another directory while the first is taken. Pruning takes those that no step uses.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import os
import time
from collections.abc import AsyncIterator

from firkin.builder import cache, copying, graph, select, trees
from firkin.snapshots import base


class CacheMounts:
    """All cache mounts, below ``root``; each has a record of the kind exec.cachemount."""

    def __init__(self, root: str, known: cache.Cache, place: trees.Trees) -> None:
        self.directory = root
        self._cache = known
        self._trees = place
        self._users: collections.Counter[str] = collections.Counter()
        self._locks: dict[str, asyncio.Lock] = {}
        self._making = asyncio.Lock()
        os.makedirs(root, mode=0o700, exist_ok=True)

    def path(self, record: cache.Record) -> str:
        """Where the directory of a record is."""
        return os.path.join(self.directory, record.id)

    def find(self, identity: str) -> list[cache.Record]:
        """All directories of an id, the first made first."""
        wanted = f"cached mount {identity}"
        return sorted(
            (r for r in self._cache.records.values()
             if r.kind == cache.MOUNT and r.description == wanted),
            key=lambda record: (record.created, record.id),
        )  # fmt: skip

    async def take(
        self, wanted: graph.RunMount, stack: contextlib.AsyncExitStack, begin: trees.Tree | None
    ) -> str:
        """The directory for a step, until ``stack`` is unwound."""
        identity = wanted.id or wanted.target
        if wanted.sharing == "locked":
            lock = self._locks.setdefault(identity, asyncio.Lock())
            await stack.enter_async_context(lock)
        async with self._making:
            known = self.find(identity)
            if wanted.sharing == "private":
                known = [record for record in known if not self._users[record.id]]
            record = known[0] if known else await self._make(identity, wanted, begin)
            self._users[record.id] += 1
        self._cache.touch(record)
        self._cache.sizes.touch(record.id)
        stack.enter_context(self._cache.pinned(record.id))
        stack.push_async_callback(self._release, record)
        return self.path(record)

    @contextlib.asynccontextmanager
    async def making(self, identity: str) -> AsyncIterator[str]:
        """A new directory for an id, to be filled in the block, known after it."""
        now = time.time()
        record = cache.Record(
            id=cache.new_id(), kind=cache.MOUNT, description=f"cached mount {identity}",
            created=now, used=now,
        )  # fmt: skip
        path = self.path(record)
        os.mkdir(path, 0o755)
        try:
            yield path
        except BaseException:
            await asyncio.to_thread(base.remove_tree, path)
            raise
        await self._cache.add(record, ())

    async def _make(
        self, identity: str, wanted: graph.RunMount, begin: trees.Tree | None
    ) -> cache.Record:
        now = time.time()
        record = cache.Record(
            id=cache.new_id(), kind=cache.MOUNT, description=f"cached mount {identity}",
            created=now, used=now,
        )  # fmt: skip
        await asyncio.to_thread(_fill, self.path(record), wanted, begin)
        return await self._cache.add(record, ())

    async def _release(self, record: cache.Record) -> None:
        self._users[record.id] -= 1
        if not self._users[record.id]:
            del self._users[record.id]
        self._cache.sizes.touch(record.id)

    def busy(self, record: cache.Record) -> bool:
        """Whether a step has the directory of a record."""
        return record.id in self._users

    def clean(self) -> None:
        """Remove directories that no record knows. Blocks."""
        for name in os.listdir(self.directory):
            if name not in self._cache.records:
                base.remove_tree(os.path.join(self.directory, name))

    def lost(self) -> list[cache.Record]:
        """Records without a directory, which no step could use. Blocks."""
        mounts = [one for one in self._cache.records.values() if one.kind == cache.MOUNT]
        return [one for one in mounts if not os.path.isdir(self.path(one))]

    def discard(self, record: cache.Record) -> None:
        """Remove the directory of a record that has been forgotten. Blocks."""
        base.remove_tree(self.path(record))
        self._cache.sizes.forget(record.id)


def _fill(path: str, wanted: graph.RunMount, begin: trees.Tree | None) -> None:
    os.mkdir(path, 0o700)
    if begin is not None:
        target = copying.Target(path, path)
        copier = copying.Copier(target, copying.Options())
        for match in select.matches(begin, wanted.source):
            copier.copy(begin, match, "", into=True)
        target.settle()
    else:
        os.chown(path, wanted.uid, wanted.gid)
        os.chmod(path, wanted.mode)
