"""What an engine does first: make what the database says agree with what is really there.

The engine before may have been killed at any moment, or the host may have been rebooted. Containers
that run go on and are followed again; those that ended meanwhile get their exit code; what was half
made is taken back. Nothing of an earlier boot is believed: pids mean nothing then.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import signal

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine import rootfs
from firkin.engine.containers import health, links, model, release, remove, specs, supervise, views
from firkin.linux import cgroup, pidfd
from firkin.linux import mount as kernel
from firkin.runtime import conmon, runtime

log = logging.getLogger(__name__)

_UNKNOWN_EXIT = 255


async def restore(core: engine.Core) -> None:
    """Bring the containers back. Called once, before the API answers."""
    await core.containers.load()
    await asyncio.to_thread(views.clear, core)
    monitors = await asyncio.to_thread(_monitors, os.path.join(core.config.exec_root, "containers"))
    live: list[model.Container] = []
    ended: list[tuple[model.Container, runtime.Exit, int]] = []
    async with contextlib.AsyncExitStack() as held:
        for container in core.containers:
            if container.running:
                found = _look(core, container)
                if found is None:
                    await _see_whether_paused(core, container)
                    live.append(container)
                    # One that ends from here on is released when all is there to release it.
                    await held.enter_async_context(container.lock)
                else:
                    ended.append((container, *found))
        await core.network.start([container.id for container in live])
        await core.volumes.start()
        for container in core.containers:
            # A release that was cut short is done again: it must find what it has to give back.
            if container in live or os.path.isdir(core.bundle(container.id)):
                for planned in container.record.mounts:
                    if planned.type == "volume":
                        core.volumes.adopt(planned.name, container.id)
        again = {done.id for end in ended if (done := await _record_end(core, *end))}
        await _clean(core, live, monitors)
    for container in live:
        health.resume(core, container)
    await rootfs.remove_orphans(core, {container.id for container in core.containers})
    for container in core.containers:
        await core.logs.resume(core, container)
    for container in links.ordered(core, core.containers):
        await _settle(core, container, wanted=container.id in again)
    leaving = [container for container in core.containers if _leaves(container)]
    core.tasks.spawn(_remove(core, leaving), "removal of ended --rm containers")


def _look(core: engine.Core, container: model.Container) -> tuple[runtime.Exit, int] | None:
    """How and when a container that was running ended; ``None`` when it still runs."""
    bundle = core.bundle(container.id)
    if container.state.boot_id == core.host.boot_id and os.path.isdir(bundle):
        found = conmon.exit_of(bundle)
        if found is not None:
            return found, os.stat(os.path.join(bundle, "exit")).st_mtime_ns
        if core.supervisor.watch(core, container):
            return None
        found = conmon.exit_of(bundle)  # it may have ended just now
        if found is not None:
            return found, os.stat(os.path.join(bundle, "exit")).st_mtime_ns
        if container.pidfd >= 0:
            pidfd.send(container.pidfd, signal.SIGKILL)
            supervise.unwatch(container)
            return runtime.Exit(code=137, known=False), 0
    supervise.unwatch(container)
    return runtime.Exit(code=_UNKNOWN_EXIT, known=False), 0


async def _see_whether_paused(core: engine.Core, container: model.Container) -> None:
    """The engine before may have been killed between the freezing and the noting of it, or while
    it had frozen the container for a moment."""
    group = specs.cgroup_path(core, container)
    frozen = cgroup.frozen(core.host.cgroup, group)
    if container.state.briefly:
        container.state.briefly = False
        if frozen:
            with contextlib.suppress(errdefs.System):  # it has just ended
                await core.runtime(container.record.runtime).resume(container.id)
            frozen = cgroup.frozen(core.host.cgroup, group)
    status = model.Status.PAUSED if frozen else model.Status.RUNNING
    if container.state.status is not status:
        container.move(status)
        await core.containers.keep(container)


async def _record_end(
    core: engine.Core, container: model.Container, found: runtime.Exit, when: int
) -> model.Container | None:
    async with container.lock:
        again = await supervise.finish(core, container, found, when=when)
    return container if again else None


def _monitors(root: str) -> dict[str, dict[int, str]]:
    """The monitors below ``root`` by container id: the bundle of each pid."""
    found: dict[str, dict[int, str]] = {}
    prefix = root.encode() + b"/"
    for entry in os.listdir("/proc"):
        if not entry.isdigit():
            continue
        try:
            with open(f"/proc/{entry}/cmdline", "rb") as file:
                words = file.read().split(b"\0")
        except OSError:
            continue
        if not words[0].endswith(b"conmon") or b"--bundle" not in words:
            continue
        bundle = words[words.index(b"--bundle") + 1]
        if bundle.startswith(prefix):
            container_id = bundle[len(prefix) :].split(b"/")[0].decode(errors="replace")
            found.setdefault(container_id, {})[int(entry)] = os.fsdecode(bundle)
    return found


async def _clean(
    core: engine.Core, live: list[model.Container], monitors: dict[str, dict[int, str]]
) -> None:
    """Take back bundles without a running container, and homes without a container."""
    running = {container.id for container in live}
    bundles = os.path.join(core.config.exec_root, "containers")
    for name in await asyncio.to_thread(os.listdir, bundles):
        if name in running:
            _clean_execs(core, os.path.join(bundles, name, "exec"), monitors.get(name, {}))
            continue
        for pid in monitors.get(name, ()):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
        container = core.containers.find(name)
        try:
            if container is not None and container.id == name:
                await release.release(core, container)
            else:
                await release.unknown(core, name)
        except errdefs.FirkinError as error:
            log.warning("left over from container %s: %s", name[:12], error)
    homes = os.path.join(core.config.data_root, "containers")
    for name in await asyncio.to_thread(os.listdir, homes):
        if not core.containers.has_id(name):
            path = os.path.join(homes, name)
            for point in list(kernel.mounted_below(path)):
                kernel.unmount(point)
            await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)
        else:
            leftover = os.path.join(homes, name, "copy-up")
            if os.path.isdir(leftover):
                kernel.unmount(leftover)
                os.rmdir(leftover)


def _clean_execs(core: engine.Core, parent: str, monitors: dict[int, str]) -> None:
    """Remove the files of the execs of a running container, of each when its monitor has ended."""
    watched = {bundle: pidfd.open_process(pid) for pid, bundle in monitors.items()}
    with contextlib.suppress(FileNotFoundError):
        for name in os.listdir(parent):
            path = os.path.join(parent, name)
            work = _remove_when_ended(path, watched.pop(path, None))
            core.tasks.spawn(work, f"files of exec {name}")
    for fd in watched.values():
        if fd is not None:
            os.close(fd)


async def _remove_when_ended(path: str, fd: int | None) -> None:
    if fd is not None:
        try:
            await pidfd.wait(fd)
        finally:
            os.close(fd)
    await asyncio.to_thread(shutil.rmtree, path, ignore_errors=True)


async def _settle(core: engine.Core, container: model.Container, *, wanted: bool) -> None:
    """Finish interrupted removals, and start what its restart policy wants running."""
    status = container.state.status
    if status is model.Status.REMOVING:
        async with container.lock:
            await remove.erase(core, container)
        core.volumes.forget_user(container.id)
        return
    policy = container.record.host.restart_policy.name
    stopped = status is model.Status.EXITED and container.state.started_at
    if not wanted and stopped and policy == "always":
        container.state.status = model.Status.RESTARTING
        wanted = True
    if wanted or status is model.Status.RESTARTING:
        core.supervisor.schedule(core, container)


def _leaves(container: model.Container) -> bool:
    """Whether it was to be removed at its end; its start may have been cut short."""
    gone = (model.Status.CREATED, model.Status.EXITED, model.Status.DEAD)
    return container.record.host.auto_remove and container.state.status in gone


async def _remove(core: engine.Core, containers: list[model.Container]) -> None:
    for container in containers:
        await remove.quietly(core, container)
