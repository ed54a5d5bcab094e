"""Garbage collection, while the registry serves.

What goes, in this order, so that each step frees what the next one finds:

1. tags that the retention rules do not keep;
2. where it is wanted, manifests without a tag that no index and no kept subject holds;
3. links of blobs that no manifest of their repository names;
4. blobs that no repository links, then what the storage has and the index does not know;
5. uploads that nobody continues, and repositories in which nothing is left.

Why this is safe while others push: every step is a condition and a deletion in one transaction of
the index, and a manifest is stored in one transaction with the check that all its blobs are linked.
So either the manifest comes first, and its blobs are in use, or the deletion comes first, and the
push is refused and never half done. To spare clients even that, a blob that a client was told of
stays for the grace period. Bytes are deleted under the blob's lock, which who stores it holds too.
"""

from __future__ import annotations

import contextlib
import os
import sqlite3
import tempfile
import time
from collections.abc import Callable
from typing import TypeVar

import msgspec

from firkin import errdefs
from firkin.registry import config, core, db, rights
from firkin.registry.index import blobs, cached, manifests, repositories, tags, uploads

T = TypeVar("T")

_BATCH = 200
_DAY = 86400.0


class Report(msgspec.Struct):
    """What was deleted, or would be."""

    tags: list[str] = []
    manifests: list[str] = []
    links: int = 0
    blobs: int = 0
    bytes: int = 0
    orphans: int = 0
    uploads: int = 0
    repositories: int = 0


def retained(
    found: list[tags.Tag], name: str, rules: list[config.Retention], now: float
) -> set[str]:
    """The tags of the repository ``name`` that the rules keep; ``found`` has the newest first.

    The first rule that fits a tag decides; a tag that no rule fits is kept.
    """
    kept = set()
    seen = [0] * len(rules)
    for tag in found:
        for number, rule in enumerate(rules):
            if rights.matches(rule.repositories, name) and rights.matches(rule.tags, tag.name):
                seen[number] += 1
                young = now - tag.updated < rule.keep_days * _DAY
                if rule.keep or young or seen[number] <= rule.keep_last:
                    kept.add(tag.name)
                break
        else:
            kept.add(tag.name)
    return kept


class Collector:
    """One run. A dry one works on a copy of the index and leaves the storage alone."""

    def __init__(self, registry: core.Registry, index: db.Database, *, dry: bool) -> None:
        self._registry = registry
        self._index = index
        self._dry = dry
        self._settings = registry.config.gc
        self._now = time.time()
        self._before = self._now - self._settings.grace
        self.report = Report()

    async def run(self) -> Report:
        """Do all steps; those that are done stay done when a later one fails."""
        if self._registry.config.proxy.upstream:
            await self._expire_cached()
        last = ""
        while names := await self._index.read(_names, last):
            for name in names:
                await self._repository(name)
            last = names[-1]
        await self._blobs()
        if not self._dry:
            await self._orphans()
        await self._uploads()
        self.report.repositories = await self._index.write(repositories.drop_empty)
        return self.report

    async def _expire_cached(self) -> None:
        days = self._registry.config.proxy.expire_days
        before = self._now - days * _DAY
        while days and (gone := await self._index.write(cached.expire, before, _BATCH)):
            self.report.tags += [name for name in gone if "@" not in name]
            self.report.manifests += [name for name in gone if "@" in name]

    async def _repository(self, name: str) -> None:
        if self._settings.retention:
            gone = await self._index.write(self._expire, name)
            self.report.tags += [f"{name}:{tag}" for tag in gone]
        if self._settings.untagged_days >= 0:
            while gone := await self._index.write(self._drop_untagged, name):
                self.report.manifests += [f"{name}@{digest}" for digest in gone]
        self.report.links += await self._index.write(self._unlink, name)

    def _expire(self, c: sqlite3.Connection, name: str) -> list[str]:
        repository = repositories.find(c, name)
        if repository is None:
            return []
        found = tags.details(c, repository)
        kept = retained(found, name, self._settings.retention, self._now)
        gone = [tag.name for tag in found if tag.name not in kept]
        for tag in gone:
            tags.delete(c, name, tag)
        return gone

    def _drop_untagged(self, c: sqlite3.Connection, name: str) -> list[str]:
        repository = repositories.find(c, name)
        if repository is None:
            return []
        before = min(self._before, self._now - self._settings.untagged_days * _DAY)
        rows = c.execute(
            "SELECT digest FROM manifests m WHERE repository = ? AND pushed < ? "
            "AND NOT EXISTS (SELECT 1 FROM tags t WHERE t.repository = m.repository "
            "AND t.digest = m.digest) "
            "AND NOT EXISTS (SELECT 1 FROM refs r WHERE r.repository = m.repository "
            "AND r.child = m.digest AND r.kind = 'manifest') "
            "AND NOT EXISTS (SELECT 1 FROM manifests s WHERE s.repository = m.repository "
            "AND s.digest = m.subject) LIMIT ?",
            (repository, before, _BATCH),
        ).fetchall()
        for (digest,) in rows:
            manifests.drop(c, repository, digest)
        return [row[0] for row in rows]

    def _unlink(self, c: sqlite3.Connection, name: str) -> int:
        repository = repositories.find(c, name)
        return c.execute(
            "DELETE FROM links WHERE repository = ? AND touched < ? AND NOT EXISTS "
            "(SELECT 1 FROM refs r WHERE r.repository = links.repository "
            "AND r.child = links.digest AND r.kind = 'blob')",
            (repository, self._before),
        ).rowcount

    async def _blobs(self) -> None:
        last = ""
        while found := await self._index.read(_unlinked, last):
            for digest, size in found:
                if await self._delete(digest):
                    self.report.blobs += 1
                    self.report.bytes += size
            last = found[-1][0]

    async def _delete(self, digest: str) -> bool:
        if self._dry:
            return await self._index.write(blobs.forget, digest)
        async with self._registry.locks.hold(digest):
            if not await self._index.write(blobs.forget, digest):
                return False
            await self._registry.run(self._registry.storage.delete, digest)
        return True

    async def _orphans(self) -> None:
        """Blobs that came into the storage but not into the index: their process was killed."""
        registry = self._registry
        walk = registry.storage.walk()
        while info := await registry.run(next, walk, None):
            digest = info.digest
            if info.modified > self._before or await self._known(digest):
                continue
            async with registry.locks.hold(digest):
                if not await self._known(digest):
                    await registry.run(registry.storage.delete, digest)
                    self.report.orphans += 1
                    self.report.bytes += info.size

    async def _known(self, digest: str) -> bool:
        return await self._index.read(blobs.known, digest) is not None

    async def _uploads(self) -> None:
        registry = self._registry
        before = self._now - registry.config.uploads.expire
        known = await self._index.read(uploads.all_ids)
        for identity in set(os.listdir(registry.uploads.directory)) | known:
            path = registry.uploads.path(identity)
            with contextlib.suppress(FileNotFoundError):
                if os.stat(path).st_mtime > before:
                    continue
            self.report.uploads += 1
            if not self._dry:
                await registry.cancel_upload(identity)


def _names(c: sqlite3.Connection, last: str) -> list[str]:
    rows = c.execute(
        "SELECT name FROM repositories WHERE name > ? ORDER BY name LIMIT ?", (last, _BATCH)
    )
    return [row[0] for row in rows]


def _unlinked(c: sqlite3.Connection, last: str) -> list[tuple[str, int]]:
    return c.execute(
        "SELECT digest, size FROM blobs WHERE digest > ? AND NOT EXISTS "
        "(SELECT 1 FROM links WHERE links.digest = blobs.digest) ORDER BY digest LIMIT ?",
        (last, _BATCH),
    ).fetchall()


async def collect(registry: core.Registry, *, dry: bool = False) -> Report:
    """Collect garbage, or find out what that would delete."""
    if not dry:
        return await Collector(registry, registry.db, dry=False).run()
    with tempfile.TemporaryDirectory(dir=registry.config.data, prefix="gc-") as directory:
        path = os.path.join(directory, "registry.db")
        await registry.db.read(_copy_to(path))
        copy = db.Database.open(path)
        try:
            return await Collector(registry, copy, dry=True).run()
        finally:
            copy.close()


def _copy_to(path: str) -> Callable[[sqlite3.Connection], None]:
    def copy(c: sqlite3.Connection) -> None:
        target = sqlite3.connect(path)
        try:
            c.backup(target)
        except sqlite3.Error as error:
            raise errdefs.System(f"cannot copy the index to {path}: {error}") from error
        finally:
            target.close()

    return copy
