"""What the server does by itself: garbage collection at intervals, and notifications.

One worker does it. If that worker is killed, the one that is started in its place goes on.
"""

from __future__ import annotations

import asyncio
import logging
import os
import time

from firkin import errdefs
from firkin.registry import core, gc, notify

log = logging.getLogger(__name__)

_LOOK = 60.0


async def run(registry: core.Registry) -> None:
    """Do the jobs until cancelled."""
    settings = registry.config
    async with asyncio.TaskGroup() as group:
        if settings.notifications:
            deliverer = notify.Deliverer(registry.db, settings.notifications)
            group.create_task(deliverer.run(), name="notifications")
        if settings.gc.every:
            group.create_task(_collect(registry), name="garbage collection")


async def _collect(registry: core.Registry) -> None:
    stamp = os.path.join(registry.config.data, "last-gc")
    while True:
        if _age(stamp) >= registry.config.gc.every:
            try:
                report = await gc.collect(registry)
                log.info(
                    "garbage collection: %d blobs of %d bytes, %d tags, %d manifests",
                    report.blobs, report.bytes, len(report.tags), len(report.manifests),
                )  # fmt: skip
            except errdefs.FirkinError as error:
                log.error("garbage collection failed: %s", error)
            with open(stamp, "w") as file:
                file.write(f"{time.time()}\n")
        await asyncio.sleep(_LOOK)


def _age(path: str) -> float:
    try:
        return time.time() - os.stat(path).st_mtime
    except FileNotFoundError:
        return float("inf")
