"""ContainerDelete."""

from __future__ import annotations

import contextlib
import signal

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine.containers import emit, execs, model, release, stop
from firkin.linux import pidfd


async def remove(
    core: engine.Core, container: model.Container, *, force: bool = False, volumes: bool = False
) -> None:
    """Remove a container and, with ``volumes``, its anonymous volumes.

    Raises ``Conflict`` when it runs, or is about to again, and ``force`` is not given, or when it
    is being removed.
    """
    container.doomed += force
    try:
        while not await _remove(core, container, force=force, volumes=volumes):
            continue  # a start that was under way has come first
    finally:
        container.doomed -= force


async def _remove(
    core: engine.Core, container: model.Container, *, force: bool, volumes: bool
) -> bool:
    restarts = container.state.status is model.Status.RESTARTING
    if (container.running or restarts) and not force:
        state = container.state.status
        advice = "unpause and stop" if state is model.Status.PAUSED else "stop"
        raise errdefs.Conflict(
            f"cannot remove container {container.name!r}: container is {state}: {advice} the "
            "container before removing or force remove"
        )
    await stop.cancel_restart(core, container)
    if container.running:
        await _kill(core, container)
    async with container.lock:
        if container.running or container.state.status is model.Status.RESTARTING:
            return False
        if not core.containers.has_id(container.id):
            if force:
                return True
            raise errdefs.NotFound(f"No such container: {container.id}")
        if container.state.status is model.Status.REMOVING:
            raise errdefs.Conflict(f"removal of container {container.id} is already in progress")
        container.move(model.Status.REMOVING)
        container.state.removes_volumes = volumes
        await core.containers.keep(container)
        try:
            await erase(core, container)
        except BaseException as error:
            container.move(model.Status.DEAD)
            container.state.error = str(error)
            await core.containers.keep(container)
            container.finish_removal_waiters(str(error))
            raise
    used = core.volumes.forget_user(container.id)
    emit.container(core, container, "destroy")
    container.finish_removal_waiters()
    for name in used if volumes else ():
        with contextlib.suppress(errdefs.NotFound, errdefs.Conflict):
            if core.volumes.get(name).anonymous:
                await core.volumes.remove(name)
                emit.volume(core, name, "destroy")
    return True


async def _kill(core: engine.Core, container: model.Container) -> None:
    async with container.lock:
        container.state.stopped_by_user = True
        if container.running:
            if container.pidfd >= 0 and pidfd.send(container.pidfd, signal.SIGKILL):
                emit.container(core, container, "kill", signal="9")
            if container.state.status is model.Status.PAUSED:
                await stop.thaw(core, container)
    with contextlib.suppress(errdefs.NotModified):
        await stop.stop(core, container, timeout=0, stop_signal="SIGKILL")


async def erase(core: engine.Core, container: model.Container) -> None:
    """Everything of a container that is not in memory; the caller holds the lock. Idempotent.

    Directories, mounts and groups go a little later: ``firkin.engine.containers.tidy``.
    """
    execs.drop(core, container)
    for client in container.pending:
        client.abandon("the container was removed")
    container.pending.clear()
    await core.logs.drop(container)
    await release.shared(core, container)
    core.sizes.forget(container.id)
    tree = await core.images.forget_rootfs(container.id)
    await core.containers.drop(container)
    core.tidier.later(core, container, tree)


async def quietly(core: engine.Core, container: model.Container) -> None:
    """Remove a container that asked for it with ``--rm``; it may be gone already."""
    with contextlib.suppress(errdefs.Conflict, errdefs.NotFound):
        await remove(core, container, force=True, volumes=True)
