"""VolumeList, VolumeInspect, VolumeCreate, VolumeDelete and VolumePrune; and beyond the Engine API:
export, import, clone and rename.

The files of a volume are another container's to change at any time: they are read and written by
the confined worker (``firkin.files``), which sees nothing but the volume.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine import filters as filtering
from firkin.engine.containers import emit
from firkin.files import process
from firkin.images import stream
from firkin.types import volume
from firkin.volumes import service

FILTERS = frozenset({"dangling", "driver", "label", "name"})
PRUNE_FILTERS = frozenset({"all", "label", "label!"})


async def listing(
    core: engine.Core, wanted: filtering.Filters
) -> tuple[list[volume.Volume], list[str]]:
    """The answer of VolumeList: volumes and warnings."""
    warnings = await core.volumes.discover()
    dangling = wanted.flag("dangling")
    found = [
        core.volumes.describe(record)
        for record in core.volumes.all()
        if (dangling is None or dangling != bool(core.volumes.users(record.name)))
        and wanted.exact("driver", record.driver)
        and wanted.labels(record.labels)
        and wanted.matches("name", record.name)
    ]
    return found, warnings


async def create(core: engine.Core, request: volume.CreateRequest) -> volume.Volume:
    """Make a volume, or find the one of that name. Raises ``Unavailable`` for a cluster's."""
    if request.cluster_volume_spec is not None:
        raise errdefs.Unavailable(
            f"create {request.name}: this node is not a swarm manager: a cluster volume needs one; "
            "leave out --type, --group, --scope, --availability and the other flags of clusters"
        )
    record, new = await core.volumes.create(
        request.name, request.driver, request.driver_opts, request.labels
    )
    if new:
        emit.volume(core, record.name, "create")
    return core.volumes.describe(record)


async def remove(core: engine.Core, name: str, *, force: bool) -> None:
    """Delete a volume. Raises ``NotFound`` and ``Conflict``."""
    try:
        driver = core.volumes.get(name).driver
    except errdefs.NotFound:
        if force:
            return
        raise
    await core.volumes.remove(name, force=force)
    emit.volume(core, name, "destroy", driver=driver)


async def prune(
    core: engine.Core, wanted: filtering.Filters, *, everything: bool
) -> dict[str, Any]:
    """Delete unused volumes of this host: the anonymous ones, or all with the filter ``all``."""
    everything = everything or bool(wanted.flag("all"))
    deleted, reclaimed = [], 0
    for record in core.volumes.all():
        if core.volumes.users(record.name) or not (everything or record.anonymous):
            continue
        if record.driver != "local":
            continue
        if not wanted.labels(record.labels):
            continue
        if wanted.has("label!") and wanted.labels(record.labels, "label!"):
            continue
        size = max(0, await core.volumes.size(record.name))
        with contextlib.suppress(errdefs.Conflict, errdefs.NotFound):
            await core.volumes.remove(record.name)
            deleted.append(record.name)
            reclaimed += size
            emit.volume(core, record.name, "destroy")
    core.events.publish("volume", "prune", "", {"reclaimed": str(reclaimed)})
    return {"VolumesDeleted": deleted, "SpaceReclaimed": reclaimed}


async def export(core: engine.Core, name: str) -> AsyncGenerator[bytes, None]:
    """The files of a volume as a tar. The first piece is empty. Raises ``NotFound``."""
    async with core.volumes.mounted(name, _user("export")) as place:
        view = process.View(root=place, readonly=True)
        worker = await asyncio.to_thread(process.Worker, view, process.Request("export"))
        try:
            await asyncio.to_thread(worker.answer)
            yield b""
            chunks = worker.chunks()
            while piece := await asyncio.to_thread(next, chunks, b""):
                yield piece
        finally:
            await asyncio.to_thread(worker.close)


def _user(what: str) -> str:
    return f"{what}/{secrets.token_hex(8)}"


async def import_(
    core: engine.Core, name: str, archive: AsyncIterator[bytes], request: volume.CreateRequest
) -> volume.Volume:
    """Extract a tar, plain or compressed, into the volume ``name``, which is made if missing.

    A new volume of which the archive turns out to be unusable is removed again.
    """
    record, new = await core.volumes.create(
        name, request.driver, request.driver_opts, request.labels, kept=False
    )
    try:
        async with core.volumes.mounted(name, _user("import")) as place:
            failure = await stream.consume(
                archive, lambda buffer: _write(place, buffer), "firkin-volume"
            )
        if failure is not None:
            raise failure
    except BaseException:
        if new:
            await asyncio.shield(core.volumes.remove(name))
        raise
    if new:
        await core.volumes.keep(name)
        emit.volume(core, name, "create")
    return core.volumes.describe(record)


def _write(place: str, buffer: stream.Buffer) -> errdefs.FirkinError | None:
    try:
        process.write(process.View(root=place), process.Request("write"), buffer.take)
    except errdefs.FirkinError as error:
        return error
    return None


async def clone(core: engine.Core, name: str, target: str) -> volume.Volume:
    """A new volume with the driver, labels and files of another.

    Files that change meanwhile are copied as they are found. Raises ``NotFound`` and ``Conflict``.
    """
    source = core.volumes.get(name)
    if source.options.get("device"):
        raise errdefs.InvalidParameter(
            f"clone {name}: it is what is mounted from {source.options['device']}: a clone would "
            "be the same; create another volume and import into it"
        )
    service.check_name(target)
    labels = {key: value for key, value in source.labels.items() if key != service.ANONYMOUS}
    record, new = await core.volumes.create(
        target, source.driver, source.options, labels, kept=False
    )
    if not new:
        raise errdefs.Conflict(f"clone {name}: a volume named {target} already exists")
    try:
        async with (
            core.volumes.mounted(name, _user("clone")) as origin,
            core.volumes.mounted(target, _user("clone")) as place,
        ):
            await stream.in_own_thread(lambda: _copy(origin, place), "firkin-clone")
    except BaseException:
        await asyncio.shield(core.volumes.remove(target))
        raise
    await core.volumes.keep(target)
    emit.volume(core, target, "create")
    return core.volumes.describe(record)


def _copy(origin: str, place: str) -> None:
    reader = process.Worker(
        process.View(root=origin, readonly=True), process.Request("export", top=True)
    )
    try:
        reader.answer()
        chunks = reader.chunks()

        def take() -> list[bytes]:
            piece = next(chunks, b"")
            return [piece] if piece else []

        process.write(process.View(root=place), process.Request("write"), take)
    finally:
        reader.close()


async def rename(core: engine.Core, name: str, new: str) -> volume.Volume:
    """Give a volume that is not in use another name. Raises ``NotFound`` and ``Conflict``."""
    record = await core.volumes.rename(name, new)
    emit.volume(core, new, "rename", oldName=name)
    return core.volumes.describe(record)
