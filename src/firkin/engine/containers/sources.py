"""The host's side of a container's mounts: volumes made usable, binds found, images mounted.

What needs a mount of its own before the runtime can bind it (a subpath, an image, a bind with
mapped owners) is mounted in a directory that its user gives, and unmounted with that.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
from collections.abc import AsyncIterator

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine.containers import emit, idmap, model, rootfiles
from firkin.linux import failures, syscalls, userns
from firkin.linux import mount as kernel
from firkin.snapshots import mounting


async def acquire(
    core: engine.Core, container: model.Container, user: str, place: str, rootfs: str
) -> dict[str, str]:
    """The host's path of each bind, volume and image, by destination.

    ``user`` names who uses the volumes from now on, until :func:`release`; ``place`` is a
    directory for mounts, ``rootfs`` the container's root. Raises ``InvalidParameter`` for a source
    that is missing; then no volume is held, and what is mounted in ``place`` is for the caller to
    unmount.
    """
    found: dict[str, str] = {}
    try:
        for index, planned in enumerate(container.record.mounts):
            if planned.type == "tmpfs":
                continue
            here = os.path.join(place, str(index))
            with failures.told(f"mount {planned.destination}"):
                source = await _source(core, planned, user, here)
                if planned.subpath:
                    await asyncio.to_thread(_bind_inside, source, planned, f"{here}.sub")
                    source = f"{here}.sub"
                if planned.idmap:
                    who = container.record.config.user
                    await asyncio.to_thread(_bind_mapped, planned, source, here, rootfs, who)
                    source = here
            found[planned.destination] = source
    except BaseException:
        await release(core, container, user)
        raise
    return found


async def _source(core: engine.Core, planned: model.MountRecord, user: str, here: str) -> str:
    if planned.type == "volume":
        return await core.volumes.mount(planned.name, user)
    if planned.type == "image":
        image = core.images.resolve(planned.source)
        wanted = await core.images.snapshots.mounts(image.top)
        os.makedirs(here, mode=0o700)
        await asyncio.to_thread(mounting.mount_rootfs, wanted, here)
        return here
    if not os.path.lexists(planned.source):
        raise errdefs.InvalidParameter(
            f"invalid mount config for type 'bind': bind source path does not exist: "
            f"{planned.source}"
        )
    return planned.source


def _mount_point(path: str, *, is_directory: bool) -> None:
    os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
    if is_directory:
        os.mkdir(path, mode=0o700)
    else:
        os.close(os.open(path, os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600))


def _bind_inside(source: str, planned: model.MountRecord, here: str) -> None:
    """Bind what ``subpath`` is inside ``source``: no link there leads out of it.

    The kernel resolves it to a descriptor, and the descriptor is what is mounted: another
    container may change the volume at the same time.
    """
    root = os.open(source, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        resolve = syscalls.RESOLVE_BENEATH | syscalls.RESOLVE_NO_MAGICLINKS
        inner = syscalls.openat2(root, planned.subpath, os.O_PATH, resolve=resolve)
    except OSError as error:
        why = {errno.ENOENT: "there is nothing", errno.EXDEV: "it leads out of it"}
        raise errdefs.InvalidParameter(
            f"cannot access path {planned.subpath!r} of {planned.type} {planned.name}: "
            f"{why.get(error.errno or 0, error.strerror)}"
        ) from error
    finally:
        os.close(root)
    try:
        is_directory = os.path.isdir(f"/proc/self/fd/{inner}")
        _mount_point(here, is_directory=is_directory)
        kernel.mount(f"/proc/self/fd/{inner}", here, flags=kernel.MS_BIND | kernel.MS_REC)
    finally:
        os.close(inner)


def _bind_mapped(planned: model.MountRecord, source: str, here: str, rootfs: str, who: str) -> None:
    user = rootfiles.user(rootfs, who, [])
    uids, gids = idmap.ranges(planned.idmap, source, user.uid, user.gid)
    _mount_point(here, is_directory=os.path.isdir(source))
    target = os.open(here, os.O_PATH | os.O_CLOEXEC)
    try:
        userns.bind(source, target, uids, gids, recursive=planned.recursive)
    except OSError as error:
        raise errdefs.InvalidParameter(
            f"cannot map the owners of {source}: {error.strerror}: not every file system can "
            "(ext4, xfs, btrfs and tmpfs of newer kernels do)"
        ) from error
    finally:
        os.close(target)


async def release(core: engine.Core, container: model.Container, user: str) -> None:
    """``user`` has no more need of the container's volumes. Idempotent."""
    for name in {m.name for m in container.record.mounts if m.type == "volume"}:
        with contextlib.suppress(errdefs.NotFound):
            await core.volumes.unmount(name, user)


def clear(place: str) -> None:
    """Unmount everything in ``place`` and remove it. Blocks. Idempotent."""
    if not os.path.isdir(place):
        return
    for point in list(kernel.mounted_below(place)):
        kernel.unmount(point)
    for entry in os.scandir(place):
        with contextlib.suppress(OSError):
            os.rmdir(entry.path) if entry.is_dir(follow_symlinks=False) else os.unlink(entry.path)
    with contextlib.suppress(OSError):
        os.rmdir(place)


@contextlib.asynccontextmanager
async def held(
    core: engine.Core, container: model.Container, user: str, place: str, rootfs: str
) -> AsyncIterator[dict[str, str]]:
    """:func:`acquire` and, at the end, :func:`release` and :func:`clear`."""
    os.makedirs(place, mode=0o700)
    try:
        found = await acquire(core, container, user, place, rootfs)
        try:
            yield found
        finally:
            await asyncio.shield(release(core, container, user))
    finally:
        await asyncio.shield(asyncio.to_thread(clear, place))


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
