"""VolumeList, VolumeCreate, VolumeDelete and VolumePrune."""

from __future__ import annotations

import contextlib
from typing import Any

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine import filters as filtering
from firkin.engine.containers import emit
from firkin.types import volume

FILTERS = frozenset({"dangling", "driver", "label", "name"})
PRUNE_FILTERS = frozenset({"all", "label", "label!"})


def listing(core: engine.Core, wanted: filtering.Filters) -> list[volume.Volume]:
    """The answer of VolumeList."""
    dangling = wanted.flag("dangling")
    return [
        core.volumes.describe(record)
        for record in core.volumes.all()
        if (dangling is None or dangling != bool(core.volumes.users(record.name)))
        and wanted.exact("driver", record.driver)
        and wanted.labels(record.labels)
        and wanted.matches("name", record.name)
    ]


async def create(core: engine.Core, request: volume.CreateRequest) -> volume.Volume:
    """Make a volume, or find the one of that name."""
    record, new = await core.volumes.create(
        request.name, request.driver, request.driver_opts, request.labels
    )
    if new:
        emit.volume(core, record.name, "create")
    return core.volumes.describe(record)


async def remove(core: engine.Core, name: str, *, force: bool) -> None:
    """Delete a volume. Raises ``NotFound`` and ``Conflict``."""
    await core.volumes.remove(name, force=force)
    emit.volume(core, name, "destroy")


async def prune(
    core: engine.Core, wanted: filtering.Filters, *, everything: bool
) -> dict[str, Any]:
    """Delete unused volumes: the anonymous ones, or all with the filter ``all``."""
    everything = everything or bool(wanted.flag("all"))
    deleted, reclaimed = [], 0
    for record in core.volumes.all():
        if core.volumes.users(record.name) or not (everything or record.anonymous):
            continue
        if not wanted.labels(record.labels):
            continue
        if wanted.has("label!") and wanted.labels(record.labels, "label!"):
            continue
        size = await core.volumes.size(record.name)
        with contextlib.suppress(errdefs.Conflict, errdefs.NotFound):
            await core.volumes.remove(record.name)
            deleted.append(record.name)
            reclaimed += size
            emit.volume(core, record.name, "destroy")
    core.events.publish("volume", "prune", "", {"reclaimed": str(reclaimed)})
    return {"VolumesDeleted": deleted, "SpaceReclaimed": reclaimed}
