"""Volumes of the local driver: each has its directory."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import AsyncIterator

from firkin.engine import core as engine
from firkin.engine.check import difference


async def audit(core: engine.Core, deep: bool) -> AsyncIterator[difference.Difference]:
    """Volumes in the database against the directories on the disk."""
    for record in core.volumes.all():
        if record.driver != "local":
            continue
        path = core.volumes.mountpoint(record.name)
        if not await asyncio.to_thread(os.path.isdir, path):
            yield difference.Difference(
                "volume", record.name, f"its directory {path} is gone, with what it held",
                mend=functools.partial(core.volumes.repair, record.name),
            )  # fmt: skip
