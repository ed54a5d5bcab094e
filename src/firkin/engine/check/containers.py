"""Each container: its directories, layer, processes, mounts and runtime state."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import AsyncIterator, Iterator

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine.check import difference
from firkin.engine.containers import model, release
from firkin.linux import mount as kernel
from firkin.linux import pidfd

_NOTICE = 2.0
"""Seconds within which the engine notes the end of a container."""


async def audit(core: engine.Core, deep: bool) -> AsyncIterator[difference.Difference]:
    """Every container in turn, under its lock."""
    suspects: list[tuple[model.Container, int]] = []
    for container in core.containers:
        async with container.lock:
            if not core.containers.has_id(container.id):
                continue
            found = [*await asyncio.to_thread(_files, core, container)]
            if (missing := await _layer(core, container)) is not None:
                found.append(missing)
            if container.running:
                if _ended_parts(container):
                    suspects.append((container, container.state.pid))
                else:
                    found += await asyncio.to_thread(_running, core, container)
            elif container.state.status is not model.Status.REMOVING:
                found += await asyncio.to_thread(_ended, core, container)
        for one in found:
            yield one
    if suspects:
        await asyncio.sleep(_NOTICE)
    for container, pid in suspects:
        if container.running and container.state.pid == pid:
            for part in _ended_parts(container):
                yield difference.Difference(
                    "container", container.name,
                    f"it counts as running, but its {part} has ended",
                    remedy=f"firkin restart {container.name}",
                )  # fmt: skip


def _files(core: engine.Core, container: model.Container) -> Iterator[difference.Difference]:
    home = core.home(container.id)
    if not os.path.isdir(home):
        yield difference.Difference(
            "container", container.name, f"its directory {home} is gone, with its log",
            mend=functools.partial(asyncio.to_thread, os.makedirs, home, 0o700, True),
        )  # fmt: skip


async def _layer(core: engine.Core, container: model.Container) -> difference.Difference | None:
    remedy = f"its files are lost: firkin rm -f {container.name}"
    try:
        layers = await core.images.snapshots.layers(container.id)
    except errdefs.NotFound:
        return difference.Difference(
            "container", container.name, "its writable layer is not known", remedy=remedy
        )
    gone = [path for path in layers if not os.path.isdir(path)]
    if gone:
        return difference.Difference(
            "container", container.name, f"{gone[0]}, a layer of it, is gone", remedy=remedy
        )
    return None


def _ended_parts(container: model.Container) -> list[str]:
    parts = (("process", container.pidfd), ("monitor", container.monitor_fd))
    return [what for what, fd in parts if fd >= 0 and pidfd.ended(fd)]


def _running(core: engine.Core, container: model.Container) -> Iterator[difference.Difference]:
    restart = f"firkin restart {container.name}"
    bundle = core.bundle(container.id)
    if not os.path.isdir(bundle):
        yield difference.Difference(
            "container", container.name,
            f"its bundle {bundle} is gone: exec, attach and its exit code need it", remedy=restart,
        )  # fmt: skip
        return
    rootfs = os.path.join(bundle, "rootfs")
    if not any(point == rootfs for point in kernel.mounted_below(rootfs)):
        yield difference.Difference(
            "container", container.name, f"nothing is mounted at {rootfs}", remedy=restart
        )
    state = os.path.join(core.runtime(container.record.runtime).root, container.id)
    if not os.path.isdir(state):
        yield difference.Difference(
            "container", container.name, f"the runtime's state {state} is gone", remedy=restart
        )


def _ended(core: engine.Core, container: model.Container) -> Iterator[difference.Difference]:
    bundle = core.bundle(container.id)
    state = os.path.join(core.runtime(container.record.runtime).root, container.id)
    left = [path for path in (bundle, state) if difference.settled(path)]
    if left:

        async def mend() -> None:
            async with container.lock:
                if not container.running:
                    await release.release(core, container)

        yield difference.Difference(
            "container", container.name, f"it has ended and left {' and '.join(left)}", mend=mend
        )
