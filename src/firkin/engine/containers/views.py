"""What of a container an operation on its files gets to see (``firkin.files``).

The root file system of a container must not be mounted twice at once: an overlay's upper directory
in two file systems is undefined behaviour. So whoever needs it while the container does not run
shares one mount, VIEWS/ID, which lives as long as any of them; a container that is started
meanwhile gets its root by a bind of that mount, and a view of a running container is a bind of the
container's own. No lock is held while a view is in use.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
from collections.abc import AsyncIterator, Collection

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine import rootfs
from firkin.engine.containers import etcfiles, model, sources, specs
from firkin.files import process
from firkin.linux import mount as kernel
from firkin.linux import pidfd


def _place(core: engine.Core, container_id: str) -> str:
    return os.path.join(rootfs.views(core), container_id)


def clear(core: engine.Core) -> None:
    """Unmount what an engine that was killed has left. Blocks."""
    root = rootfs.views(core)
    if not os.path.isdir(root):
        return
    for name in os.listdir(root):
        sources.clear(os.path.join(root, name))


def _check(container: model.Container, what: str) -> None:
    if container.state.status in (model.Status.REMOVING, model.Status.DEAD):
        raise errdefs.Conflict(
            f"cannot {what} container {container.name}: it is {container.state.status}"
        )


@contextlib.asynccontextmanager
async def root(core: engine.Core, container: model.Container) -> AsyncIterator[str]:
    """The host's path of the container's root file system without what is mounted in it.

    Raises ``Conflict`` when the container is being removed.
    """
    async with container.lock:
        _check(container, "read files of")
        users = core.views.get(container.id, 0)
        place = _place(core, container.id)
        if not users:
            os.makedirs(place, mode=0o700, exist_ok=True)
            if container.running:
                source = os.path.join(core.bundle(container.id), "rootfs")
                await asyncio.to_thread(kernel.mount, source, place, "", kernel.MS_BIND)
            else:
                await rootfs.mount(core, container.id, place)
        core.views[container.id] = users + 1
    try:
        yield place
    finally:
        await asyncio.shield(_release(core, container))


async def _release(core: engine.Core, container: model.Container) -> None:
    async with container.lock:
        core.views[container.id] -= 1
        if not core.views[container.id]:
            del core.views[container.id]
            place = _place(core, container.id)
            await asyncio.to_thread(kernel.unmount, place)
            with contextlib.suppress(OSError):
                os.rmdir(place)


def _namespace(container: model.Container) -> int:
    """The mount namespace of the container's process, which stays when that ends; else -1."""
    if not container.running or container.pidfd < 0:
        return -1
    try:
        fd = os.open(f"/proc/{container.state.pid}/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return -1
    if pidfd.ended(container.pidfd):  # the pid may have been another process's already
        os.close(fd)
        return -1
    return fd


@contextlib.asynccontextmanager
async def whole(core: engine.Core, container: model.Container) -> AsyncIterator[process.View]:
    """The container's files as its processes see them, or would.

    Raises ``Conflict`` when it is being removed, and what a volume driver says.
    """
    async with contextlib.AsyncExitStack() as stack:
        place = await stack.enter_async_context(root(core, container))
        namespace = _namespace(container)
        if namespace >= 0:
            stack.callback(os.close, namespace)
            yield process.View(namespace=namespace)
            return
        user = f"{container.id}/{secrets.token_hex(8)}"
        own = os.path.join(rootfs.views(core), f"mounts-{user.rpartition('/')[2]}")
        found = await stack.enter_async_context(sources.held(core, container, user, own, place))
        mounts = [
            process.Place(found[m.destination], m.destination, m.rw, m.recursive)
            for m in container.record.mounts
            if m.destination in found
        ]
        mounts += await asyncio.to_thread(_etc_files, core, container, set(found))
        yield process.View(
            root=place,
            mounts=mounts,
            readonly=container.record.host.readonly_rootfs,
            workdir=workdir(container),
        )


def workdir(container: model.Container) -> str:
    """The directory that a container is to have before its first start, which makes it."""
    fresh = container.state.status is model.Status.CREATED
    return container.record.config.working_dir if fresh else ""


def _etc_files(
    core: engine.Core, container: model.Container, taken: Collection[str]
) -> list[process.Place]:
    """The files of /etc that its last start has bound into it, but where it mounts its own."""
    if not container.state.started_at:
        return []
    try:
        home = core.home(specs.network_owner(core, container).id)
    except errdefs.FirkinError:
        return []  # the container that it shares them with is gone
    return [
        process.Place(source, destination, not container.record.host.readonly_rootfs)
        for name in etcfiles.NAMES
        if (destination := f"/etc/{name}") not in taken
        and os.path.exists(source := os.path.join(home, name))
    ]
