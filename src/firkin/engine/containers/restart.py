"""ContainerRestart."""

from __future__ import annotations

import contextlib

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine.containers import emit, model, start, stop


async def restart(
    core: engine.Core,
    container: model.Container,
    *,
    timeout: int | None = None,
    stop_signal: str = "",
) -> str:
    """Stop, if need be, and start again. Returns and raises as those two do."""
    slow = ""
    with contextlib.suppress(errdefs.NotModified):
        slow = await stop.stop(core, container, timeout=timeout, stop_signal=stop_signal)
    with contextlib.suppress(errdefs.NotModified):
        await start.start(core, container)
    emit.container(core, container, "restart")
    return slow
