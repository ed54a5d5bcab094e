"""ContainerResize."""

from __future__ import annotations

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine.containers import emit, model
from firkin.runtime import conmon


async def resize(core: engine.Core, container: model.Container, rows: int, columns: int) -> None:
    """Give the container's terminal a size. Raises ``Conflict`` when it does not run."""
    container.require_running("resize")
    try:
        await conmon.resize(core.bundle(container.id), rows, columns)
    except OSError as error:
        raise errdefs.Conflict(f"container {container.name} is ending: no terminal") from error
    emit.container(core, container, "resize", height=str(rows), width=str(columns))
