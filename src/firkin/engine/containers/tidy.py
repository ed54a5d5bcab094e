"""What is taken away after the removal of a container was answered.

By then it is in no database and in nobody's way: its name, its addresses and ports and its volumes
are free. What is left are mounts, groups and directories, whose end costs the kernel tens of
milliseconds, waiting most of the time. An engine that is killed before finds them as it finds all
that is half done: ``firkin.engine.restore``.
"""

from __future__ import annotations

import asyncio
import os
import shutil

from firkin.engine import core as engine
from firkin.engine.containers import model, release
from firkin.linux import tasks
from firkin.snapshots import base as snapshots

_AT_ONCE = 2
_PATIENCE = 10.0


class Tidier:
    """Tidies up in the background, a little at a time."""

    def __init__(self) -> None:
        self._tasks = tasks.Tasks("tidying")
        self._turn = asyncio.Semaphore(_AT_ONCE)

    def later(self, core: engine.Core, container: model.Container, tree: str) -> None:
        """Remove what a removed container still has; ``tree`` is its snapshot's directory."""
        self._tasks.spawn(self._tidy(core, container, tree), container.short)

    async def _tidy(self, core: engine.Core, container: model.Container, tree: str) -> None:
        async with self._turn:
            if os.path.exists(core.bundle(container.id)):
                await release.release(core, container, ended=container.clean_end)
            if tree:
                await asyncio.to_thread(snapshots.remove_tree, tree)
            await asyncio.to_thread(shutil.rmtree, core.home(container.id), ignore_errors=True)

    async def close(self) -> None:
        """Wait for what is under way."""
        await self._tasks.finish(_PATIENCE)
