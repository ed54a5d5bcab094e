"""What is stored and belongs to nothing, and what is recorded of it: layers, blobs, build cache.

An engine that starts removes what one that was killed has left (``images.gc``, ``Builder.start``,
``volumes.Service.start``), so there should be nothing; what this finds is a mistake of somebody's.
"""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import AsyncIterator

from firkin.builder import cache
from firkin.engine import core as engine
from firkin.engine.check import difference
from firkin.linux import treesize
from firkin.snapshots import base as trees

_CLEAN = "belongs to nothing"


async def audit(core: engine.Core, deep: bool) -> AsyncIterator[difference.Difference]:
    """All of it; ``deep`` also walks every layer and compares its size with what is recorded."""
    infos = await core.images.snapshots.walk()
    root = os.path.join(core.config.data_root, "snapshots")
    known = {str(info.dir) for info in infos}
    for path in await asyncio.to_thread(_strangers, root, known):
        yield _left(path)
    layers, blobs = await core.images.collector.garbage()
    directories = {info.key: os.path.join(root, str(info.dir)) for info in infos}
    for key in layers:
        path = directories.get(key, "")
        if difference.settled(path):
            yield difference.Difference(
                "leftover", path, f"is a layer that nothing needs ({key})",
                mend=core.images.collector.collect,
            )  # fmt: skip
    for digest in blobs:
        path = os.path.join(core.config.data_root, "content", "blobs", *digest.split(":"))
        if difference.settled(path):
            yield difference.Difference(
                "leftover", path, "is a blob that nothing needs",
                mend=core.images.collector.collect,
            )  # fmt: skip
    records = core.builder.cache.records
    for name in ("mounts", "contexts"):
        place = os.path.join(core.config.data_root, "build", name)
        for path in await asyncio.to_thread(_strangers, place, set(records)):
            yield _left(path)
    keys = {info.key for info in infos if info.kind == "committed"}
    for record in list(records.values()):
        if record.snapshot and record.snapshot not in keys:
            yield _lost(core, record)
    volumes = {record.name for record in core.volumes.all()}
    for path in await asyncio.to_thread(
        _strangers, os.path.join(core.config.data_root, "volumes"), volumes
    ):
        yield difference.Difference(
            "volume", os.path.basename(path), f"{path} is the directory of no volume",
            remedy="move away what is to be kept of it: the engine removes it when it starts",
        )  # fmt: skip
    if deep:
        for info in infos:
            if info.kind != "committed" or info.disk < 0:
                continue
            path = os.path.join(root, str(info.dir))
            real = (await asyncio.to_thread(treesize.measure, path)).size
            if real != info.disk and os.path.isdir(path):
                yield difference.Difference(
                    "layer", path, f"takes {real} bytes, {info.disk} are recorded",
                    mend=functools.partial(core.images.snapshots.weigh, {info.dir: real}),
                )  # fmt: skip


def _strangers(root: str, known: set[str]) -> list[str]:
    try:
        names = sorted(set(os.listdir(root)) - known)
    except FileNotFoundError:
        return []
    paths = [os.path.join(root, name) for name in names if not name.startswith(".")]
    return [path for path in paths if difference.settled(path)]


def _left(path: str) -> difference.Difference:
    work = functools.partial(asyncio.to_thread, trees.remove_tree, path)
    return difference.Difference("leftover", path, _CLEAN, mend=work)


def _lost(core: engine.Core, record: cache.Record) -> difference.Difference:
    return difference.Difference(
        "build cache", record.id, f"its layer {record.snapshot} is gone",
        mend=functools.partial(core.builder.cache.remove, [record]),
    )  # fmt: skip
