"""The host's side of a container's mounts: volumes made usable, binds found."""

from __future__ import annotations

import contextlib
import os
from collections.abc import AsyncIterator

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine.containers import emit, model


async def acquire(core: engine.Core, container: model.Container, user: str) -> dict[str, str]:
    """The host's path of each bind and volume, by destination.

    ``user`` names who uses the volumes from now on, until :func:`release`. Raises
    ``InvalidParameter`` for a bind whose source is missing; then nothing is held.
    """
    found: dict[str, str] = {}
    try:
        for planned in container.record.mounts:
            if planned.type == "volume":
                found[planned.destination] = await core.volumes.mount(planned.name, user)
            elif planned.type == "bind":
                found[planned.destination] = planned.source
                if not os.path.lexists(planned.source):
                    raise errdefs.InvalidParameter(
                        f"invalid mount config for type 'bind': bind source path does not exist: "
                        f"{planned.source}"
                    )
    except BaseException:
        await release(core, container, user)
        raise
    return found


async def release(core: engine.Core, container: model.Container, user: str) -> None:
    """``user`` has no more need of the container's volumes. Idempotent."""
    for name in {m.name for m in container.record.mounts if m.type == "volume"}:
        with contextlib.suppress(errdefs.NotFound):
            await core.volumes.unmount(name, user)


@contextlib.asynccontextmanager
async def held(
    core: engine.Core, container: model.Container, user: str
) -> AsyncIterator[dict[str, str]]:
    """:func:`acquire` and, at the end, :func:`release`."""
    found = await acquire(core, container, user)
    try:
        yield found
    finally:
        await release(core, container, user)


def tell(core: engine.Core, container: model.Container, action: str) -> None:
    """Publish that the container's volumes are mounted or unmounted."""
    for planned in container.record.mounts:
        if planned.type != "volume":
            continue
        more = {"container": container.id}
        if action == "mount":
            more |= {
                "destination": planned.destination,
                "read/write": str(planned.rw).lower(),
                "propagation": planned.propagation,
            }
        emit.volume(core, planned.name, action, **more)
