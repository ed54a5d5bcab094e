"""What the build cache takes, and taking less of it."""

from __future__ import annotations

import asyncio
import datetime
import functools
from typing import Any

import msgspec

from firkin.builder import cache, cachemounts, contextstore
from firkin.images import catalog, layers
from firkin.linux import sampler, treesize

_TYPES = {cache.REGULAR, cache.LOCAL, cache.MOUNT, cache.GIT, cache.HTTP, "internal", "frontend"}


class Options(msgspec.Struct, kw_only=True):
    """Which records go: not used since ``until`` (seconds since the epoch), of these ids and types;
    ``keep`` bytes of those used last stay. ``all`` takes those too that images share."""

    all: bool = False
    keep: int = 0
    until: float | None = None
    ids: list[str] = []
    types: list[str] = []
    in_use: bool | None = None
    shared: bool | None = None


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
    gone: list[cache.Record] = []
    freed = 0
    for record in sorted(known.records.values(), key=lambda one: one.used):
        if options.keep and total - freed <= options.keep:
            break
        if known.in_use(record) or contexts.busy(record):
            continue
        if not options.all and record.snapshot in of_images:
            continue
        if options.until is not None and record.used > options.until:
            continue
        if options.ids and not any(record.id.startswith(one) for one in options.ids):
            continue
        if options.types and record.kind not in options.types:
            continue
        if options.shared is not None and (record.snapshot in of_images) != options.shared:
            continue
        if options.in_use:
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
    known: cache.Cache, images: catalog.Catalog, sizes: dict[str, int]
) -> list[dict[str, Any]]:
    """BuildCache objects of the Engine API, the oldest first."""
    of_images = shared(images)
    return [
        {
            "ID": record.id,
            "Parents": [record.parent] if record.parent in known.records else None,
            "Type": record.kind,
            "Description": record.description,
            "InUse": known.in_use(record),
            "Shared": record.snapshot in of_images,
            "Size": sizes.get(record.id, 0),
            "CreatedAt": _time(record.created),
            "LastUsedAt": _time(record.used) if record.uses else None,
            "UsageCount": record.uses,
        }
        for record in sorted(known.records.values(), key=lambda one: (one.created, one.id))
    ]


def _time(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat().replace("+00:00", "Z")
