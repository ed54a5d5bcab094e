"""Containers' root file systems: the engine's side of the snapshotter."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Collection

from firkin.engine import core as engine
from firkin.linux import failures
from firkin.linux import mount as kernel
from firkin.snapshots import mounting


def views(core: engine.Core) -> str:
    """Below this, root file systems are mounted for those who look at them, one for each id."""
    return os.path.join(core.config.exec_root, "views")


async def mount(core: engine.Core, container_id: str, target: str) -> None:
    """Mount a container's tree at the directory ``target``.

    One that is mounted for a view already is bound from there: a writable layer may be in one file
    system only.
    """
    if container_id in core.views:
        source = os.path.join(views(core), container_id)
        with failures.told(f"mount the files of container {container_id[:12]}"):
            await asyncio.to_thread(kernel.mount, source, target, "", kernel.MS_BIND)
        return
    wanted = await core.images.snapshots.mounts(container_id)
    await asyncio.to_thread(mounting.mount_rootfs, wanted, target)


async def remove_orphans(core: engine.Core, known: Collection[str]) -> None:
    """Remove writable layers that belong to no container."""
    for info in await core.images.snapshots.walk():
        if info.kind == "active" and info.key not in known:
            await core.images.remove_rootfs(info.key)


def descendants(core: engine.Core, name: str) -> set[str]:
    """Ids of the image ``name`` and of all images that were built on it: they have its layers and
    its history, and more.

    Raises ``NotFound``.
    """
    base = core.images.resolve(name)
    layers, history = base.config.rootfs.diff_ids, base.config.history
    return {
        image.id
        for image in core.images.catalog.images.values()
        if image.id == base.id
        or (
            layers
            and image.config.rootfs.diff_ids[: len(layers)] == layers
            and image.config.history[: len(history)] == history
            and len(image.config.history) > len(history)
        )
    }
