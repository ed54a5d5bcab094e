"""ContainerRename."""

from __future__ import annotations

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine.containers import emit, model


async def rename(core: engine.Core, container: model.Container, name: str) -> None:
    """Give a container another name, already checked.

    Raises ``Conflict`` when the name is taken and ``InvalidParameter`` when it is the old one.
    """
    async with container.lock:
        old = container.name
        if name == old:
            raise errdefs.InvalidParameter(
                "Renaming a container with the same name as its current name"
            )
        await core.containers.rename(container, name)
        await core.network.rename(container.id, old, name)
    emit.container(core, container, "rename", oldName=f"/{old}")
