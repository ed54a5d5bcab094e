"""ContainerRestart."""

from __future__ import annotations

import contextlib

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine.containers import emit, model, remove, start, stop


async def restart(
    core: engine.Core,
    container: model.Container,
    *,
    timeout: int | None = None,
    stop_signal: str = "",
) -> str:
    """Stop, if need be, and start again. Returns and raises as those two do."""
    slow = ""
    container.returning += 1
    try:
        with contextlib.suppress(errdefs.NotModified):
            slow = await stop.stop(core, container, timeout=timeout, stop_signal=stop_signal)
        with contextlib.suppress(errdefs.NotModified):
            await start.start(core, container)
    finally:
        container.returning -= 1
        if container.record.host.auto_remove and not (container.running or container.returning):
            core.tasks.spawn(remove.quietly(core, container), f"removal of {container.short}")
    emit.container(core, container, "restart")
    return slow
