"""Directories and runtime state that belong to no container."""

from __future__ import annotations

import asyncio
import functools
import os
import shutil
from collections.abc import AsyncIterator

from firkin.engine import core as engine
from firkin.engine.check import difference
from firkin.engine.containers import release
from firkin.linux import mount as kernel


async def audit(core: engine.Core, deep: bool) -> AsyncIterator[difference.Difference]:
    """Bundles, homes and runtime state under an id that no container has."""
    bundles = os.path.join(core.config.exec_root, "containers")
    homes = os.path.join(core.config.data_root, "containers")
    states = {runtime.root for runtime in core.runtimes.values()}
    for root in (bundles, *sorted(states)):
        for name in await asyncio.to_thread(_strangers, core, root):
            yield difference.Difference(
                "leftover", os.path.join(root, name), "belongs to no container",
                mend=functools.partial(release.unknown, core, name),
            )  # fmt: skip
    for name in await asyncio.to_thread(_strangers, core, homes):
        path = os.path.join(homes, name)
        yield difference.Difference(
            "leftover", path, "belongs to no container",
            mend=functools.partial(asyncio.to_thread, _remove, path),
        )  # fmt: skip


def _strangers(core: engine.Core, root: str) -> list[str]:
    try:
        names = os.listdir(root)
    except FileNotFoundError:
        return []
    return [
        name
        for name in sorted(names)
        if not core.containers.has_id(name) and difference.settled(os.path.join(root, name))
    ]


def _remove(path: str) -> None:
    for point in list(kernel.mounted_below(path)):
        kernel.unmount(point)
    shutil.rmtree(path)
