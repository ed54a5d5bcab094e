"""What the build cache takes, and taking less of it."""

from __future__ import annotations

import asyncio
import datetime
import functools
import os
from typing import Any

import msgspec

from firkin.builder import cache, cachefilter, cachemounts, contextstore
from firkin.images import catalog, layers
from firkin.linux import sampler, treesize


class Options(msgspec.Struct, kw_only=True):
    """Which records go: those that ``match``, not used since ``until`` (seconds since the epoch).

    With limits, in bytes, only as many go as bring the cache down to ``max_used`` and the disk to
    ``min_free``, and never more than leave it with ``reserved``; with the last alone, all above it.
    ``all`` takes records, too, whose layers images have.
    """

    all: bool = False
    reserved: int = 0
    max_used: int = 0
    min_free: int = 0
    until: float | None = None
    match: cachefilter.Predicate = lambda one: True

    def keep(self, total: int, free: int) -> int:
        """How many of ``total`` bytes may stay, when ``free`` are free on the disk."""
        limits = [self.max_used] if self.max_used else []
        if self.min_free:
            limits.append(total - max(0, self.min_free - free))
        return max(min(limits, default=0), self.reserved)


def shared(known: catalog.Catalog) -> set[str]:
    """Snapshots that are layers of images."""
    found: set[str] = set()
    for image in known.images.values():
        found.update(layers.chain_ids(image.config.rootfs.diff_ids))
    return found


async def weigh(
    known: cache.Cache, mounts: cachemounts.CacheMounts, contexts: contextstore.ContextStore,
    layers_disk: dict[str, int],
) -> dict[str, int]:  # fmt: skip
    """What each record takes on the disk, by its id; ``layers_disk`` is that of snapshots.

    What several records have in common counts for the oldest.
    """
    found: dict[str, int] = {}
    trees: list[sampler.Tree[treesize.Usage]] = []
    counted: set[str] = set()
    for record in sorted(known.records.values(), key=lambda one: (one.created, one.id)):
        found[record.id] = 0
        if record.snapshot:
            if record.snapshot not in counted:
                found[record.id] = layers_disk.get(record.snapshot, 0)
            counted.add(record.snapshot)
        elif record.kind in (cache.MOUNT, cache.LOCAL):
            mount = record.kind == cache.MOUNT
            path = mounts.path(record) if mount else contexts.path(record)
            live = mounts.busy(record) if mount else contexts.busy(record)
            work = functools.partial(treesize.measure, path)
            trees.append(sampler.Tree(record.id, work, live))
    for tree, figure in zip(trees, await known.sizes.all(trees), strict=True):
        found[tree.key] = figure.value.size
    return found


async def prune(
    known: cache.Cache, mounts: cachemounts.CacheMounts, contexts: contextstore.ContextStore,
    options: Options, sizes: dict[str, int], of_images: set[str] | None = None,
) -> tuple[list[str], int]:  # fmt: skip
    """Remove records that no build uses, those unused for longest first. Returns ids and bytes."""
    of_images = of_images or set()
    own = {
        record.id: 0 if record.snapshot in of_images else sizes.get(record.id, 0)
        for record in known.records.values()
    }
    total = sum(own.values())
    disk = os.statvfs(mounts.directory)
    keep = options.keep(total, disk.f_bavail * disk.f_frsize)
    gone: list[cache.Record] = []
    freed = 0
    for record in sorted(known.records.values(), key=lambda one: one.used):
        if total - freed <= keep and keep:
            break
        in_use = known.in_use(record) or contexts.busy(record)
        if in_use or (not options.all and record.snapshot in of_images):
            continue
        if options.until is not None and record.used > options.until:
            continue
        if not options.match(cachefilter.Seen(record, in_use, record.snapshot in of_images)):
            continue
        gone.append(record)
        freed += own[record.id]
    await known.remove(gone)

    def work() -> None:
        for record in gone:
            if record.kind == cache.MOUNT:
                mounts.discard(record)
            elif record.kind == cache.LOCAL:
                contexts.discard(record)

    await asyncio.to_thread(work)
    return [record.id for record in gone], freed


def usage(
    known: cache.Cache,
    images: catalog.Catalog,
    sizes: dict[str, int],
    match: cachefilter.Predicate = lambda one: True,
) -> list[dict[str, Any]]:
    """BuildCache objects of the Engine API, the oldest first."""
    of_images = shared(images)
    seen = [
        cachefilter.Seen(record, known.in_use(record), record.snapshot in of_images)
        for record in sorted(known.records.values(), key=lambda one: (one.created, one.id))
    ]
    return [
        {
            "ID": one.record.id,
            "Parents": [one.record.parent] if one.record.parent in known.records else None,
            "Type": one.record.kind,
            "Description": one.record.description,
            "InUse": one.in_use,
            "Shared": one.shared,
            "Size": sizes.get(one.record.id, 0),
            "CreatedAt": _time(one.record.created),
            "LastUsedAt": _time(one.record.used) if one.record.uses else None,
            "UsageCount": one.record.uses,
        }
        for one in seen
        if match(one)
    ]


def _time(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat().replace("+00:00", "Z")
