"""SystemDataUsage: what takes how much of the disk.

Every figure here is bytes on the disk, as du(1) counts them: blocks and not lengths, a hard-linked
file once, directories too. The sum of the parts is what ``du -s`` says of the data root. So they
differ from what other answers show, where figures are lengths of files, the same on every host:

=================  ====================================================  ========================
kind               here                                                  elsewhere
=================  ====================================================  ========================
image              its layers as they lie on the disk, and its blobs     bytes of the files in
                   (compressed layers, manifest, config)                 its layers
image, shared      the same of what other images need too                bytes of shared layers
images, all        ``content/``, and all layers that are not the build   -
                   cache's alone; each once
container          its layer, its log and its files in ``containers/``   what it wrote to its
                                                                         layer
volume             its directory                                         the same
build cache        the layers that no image has, cache mounts, contexts  the same
=================  ====================================================  ========================

They have to be in one unit since clients subtract them: what the official client calls reclaimable
is the size of all images less that of those in use.

No figure costs a walk of a tree that did not change: layers are recorded when they are committed
(``snapshots``), blobs when they are stored (``content``), the rest by samplers
(``firkin.linux.sampler``; ``SizeMeasuredAt`` tells of what moment a figure is).
"""

from __future__ import annotations

import asyncio
import datetime
import os
from typing import Any

import msgspec

from firkin.engine import core as engine
from firkin.engine import images
from firkin.engine.containers import inspect, model, sizes
from firkin.images import queries
from firkin.linux import sampler, treesize
from firkin.snapshots import snapshotter
from firkin.types import base


class Ledger(msgspec.Struct, frozen=True):
    """All that is in the data root, in bytes on the disk.

    ``images`` has the parts of images, ``cached`` the layers that only the build cache has;
    ``other`` is the database and what else the engine keeps for itself.
    """

    images: queries.Disk
    cached: frozenset[str]
    records: dict[str, int]
    containers: dict[str, sampler.Figure[snapshotter.Taken]]
    volumes: dict[str, sampler.Figure[int]]
    other: int

    @property
    def of_images(self) -> int:
        """Blobs, and layers that are not the build cache's alone."""
        return self.images.total - sum(self.images.layers.get(key, 0) for key in self.cached)

    @property
    def of_containers(self) -> int:
        return sum(figure.value.whole for figure in self.containers.values())

    @property
    def of_volumes(self) -> int:
        return sum(figure.value for figure in self.volumes.values())

    @property
    def of_cache(self) -> int:
        """What the build cache has alone."""
        return sum(self.records.values())

    @property
    def total(self) -> int:
        """What the data root takes."""
        parts = (self.of_images, self.of_containers, self.of_volumes, self.of_cache)
        return sum(parts) + self.other


async def measure(core: engine.Core) -> Ledger:
    """Bring together what is known of the sizes of everything."""
    found = await core.images.disk()
    layers = {key for chain in found.chains.values() for key in chain}
    records = core.builder.cache.records
    shared = {one.id for one in records.values() if one.snapshot in layers}
    weights = await core.builder.sizes()
    return Ledger(
        images=found,
        cached=frozenset(
            one.snapshot for one in records.values() if one.snapshot and one.id not in shared
        ),
        records={key: size for key, size in weights.items() if key not in shared},
        containers=await sizes.disk(core, core.containers),
        volumes=await core.volumes.disk(core.volumes.all()),
        other=await asyncio.to_thread(_other, core.config.data_root),
    )


_HOLDERS = (
    ("content", "blobs"), ("content", "blobs", "sha256"), ("content", "ingest"),
    ("content", "partial"), ("build", "mounts"), ("build", "contexts"),
)  # fmt: skip


def _other(root: str) -> int:
    """The database, the directories that hold everything, results of builds not yet fetched, and
    the history of builds."""
    places = [root, *(os.path.join(root, name) for name in os.listdir(root))]
    places += [os.path.join(root, *parts) for parts in _HOLDERS]
    build = os.path.join(root, "build")
    trees = [treesize.measure(os.path.join(build, name)) for name in ("outputs", "history")]
    return treesize.alone(*places) + sum(tree.size for tree in trees)


async def shown(core: engine.Core, *, kinds: set[str], version: tuple[int, int]) -> dict[str, Any]:
    """The answer of SystemDataUsage, with the objects both in sections and as lists of their own.
    ``kinds`` are container, image, volume, build-cache; empty means all. ``DataRoot`` is our own:
    the sums, and their sum."""
    ledger = await measure(core)
    answer: dict[str, Any] = {}
    if not kinds or "image" in kinds:
        answer.update(_images(core, ledger))
    if not kinds or "container" in kinds:
        answer.update(_containers(core, ledger, version))
    if not kinds or "volume" in kinds:
        answer.update(_volumes(core, ledger))
    if not kinds or "build-cache" in kinds:
        answer.update(await _cache(core))
    if not kinds:
        answer["DataRoot"] = {
            "Path": core.config.data_root,
            "Size": ledger.total,
            "Images": ledger.of_images,
            "Containers": ledger.of_containers,
            "Volumes": ledger.of_volumes,
            "BuildCache": ledger.of_cache,
            "Other": ledger.other,
        }
    return answer


def _section(items: list[dict[str, Any]], active: int, total: int, free: int) -> dict[str, Any]:
    return {
        "ActiveCount": active,
        "TotalCount": len(items),
        "TotalSize": total,
        "Reclaimable": free,
        "Items": items,
    }


def _images(core: engine.Core, ledger: Ledger) -> dict[str, Any]:
    using = images.users(core)
    needed: dict[str, int] = {}
    users: dict[str, int] = {}
    items = []
    for summary in core.images.list(all=True):
        for part in ledger.images.parts(summary.id):
            users[part] = users.get(part, 0) + 1
    for summary in core.images.list(all=True):
        parts = ledger.images.parts(summary.id)
        item = base.to_builtins(summary)
        item["Size"] = sum(parts.values())
        item["SharedSize"] = sum(size for part, size in parts.items() if users[part] > 1)
        item["Containers"] = len(using.get(summary.id, ()))
        if item["Containers"]:
            needed.update(parts)
        items.append(item)
    total = ledger.of_images
    active = sum(1 for item in items if item["Containers"])
    section = _section(items, active, total, total - sum(needed.values()))
    return {"LayersSize": total, "Images": items, "ImageUsage": section}


def _containers(core: engine.Core, ledger: Ledger, version: tuple[int, int]) -> dict[str, Any]:
    items, free, active = [], 0, 0
    for subject in core.containers:
        if (figure := ledger.containers.get(subject.id)) is None:
            continue
        item = inspect.summary(core, subject, own=figure.value.own, version=version)
        item["SizeRw"] = figure.value.whole
        item["SizeMeasuredAt"] = _time(figure.taken)
        items.append(item)
        if subject.running or subject.state.status is model.Status.RESTARTING:
            active += 1
        else:
            free += figure.value.whole
    section = _section(items, active, ledger.of_containers, free)
    return {"Containers": items, "ContainerUsage": section}


def _volumes(core: engine.Core, ledger: Ledger) -> dict[str, Any]:
    items, free, active = [], 0, 0
    for record in core.volumes.all():
        figure = ledger.volumes.get(record.name)
        users = len(core.volumes.users(record.name))
        item = base.to_builtins(core.volumes.describe(record))
        item["UsageData"] = {"Size": figure.value if figure is not None else -1, "RefCount": users}
        if figure is not None:
            item["UsageData"]["SizeMeasuredAt"] = _time(figure.taken)
        items.append(item)
        active += bool(users)
        if not users and figure is not None:
            free += figure.value
    return {"Volumes": items, "VolumeUsage": _section(items, active, ledger.of_volumes, free)}


async def _cache(core: engine.Core) -> dict[str, Any]:
    items = await core.builder.usage()
    own = [item for item in items if not item["Shared"]]
    section = _section(
        items,
        sum(1 for item in items if item["InUse"]),
        sum(item["Size"] for item in own),
        sum(item["Size"] for item in own if not item["InUse"]),
    )
    return {"BuildCache": items, "BuildCacheUsage": section}


def _time(seconds: float) -> str:
    moment = datetime.datetime.fromtimestamp(seconds, datetime.UTC)
    return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
