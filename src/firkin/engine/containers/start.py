"""ContainerStart: rootfs, volumes, network, spec, monitor, process; all or nothing."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import time
from collections.abc import Awaitable, Sequence
from typing import Any

import msgspec

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine import rootfs as rootfs_of
from firkin.engine.containers import (
    emit,
    etcfiles,
    healthcheck,
    links,
    model,
    netmode,
    networking,
    release,
    remove,
    secretfiles,
    sources,
    specs,
)
from firkin.linux import failures, pidfd
from firkin.linux import mount as kernel
from firkin.runtime import errors, runtime
from firkin.types import mount, network


async def start(core: engine.Core, container: model.Container) -> None:
    """Start a container.

    Raises ``NotModified`` when it runs already, ``Conflict`` when it is being removed, and what the
    runtime says of an unusable command (``CommandNotFound``, ``CommandNotExecutable``). When it
    raises, the container is as it was, with the reason in its state.
    """
    try:
        async with container.lock:
            if not container.running:
                container.state.restart_count = 0
                container.backoff = 0.0
            if container.restarting is not None:
                container.restarting.cancel()
                container.restarting = None
            await locked(core, container)
    except errdefs.NotModified:
        raise
    except errdefs.FirkinError:
        if container.record.host.auto_remove and not container.running:
            await remove.quietly(core, container)
        raise


async def locked(core: engine.Core, container: model.Container) -> None:
    """The same for a caller that holds the container's lock."""
    status = container.state.status
    if status is model.Status.RUNNING:
        raise errdefs.NotModified(f"container {container.name} is already started")
    if status is model.Status.PAUSED:
        raise errdefs.Conflict(
            f"cannot start a paused container, try unpause instead: {container.name}"
        )
    if container.doomed or model.Status.RUNNING not in model.MOVES[status]:
        raise errdefs.Conflict(
            f"container {container.name} is marked for removal ({status}) and cannot be started"
        )
    try:
        with failures.told(f"start container {container.name}"):
            await _launch(core, container)
    except BaseException as error:
        await _failed(core, container, error)
        raise
    container.started_monotonic = time.monotonic()
    emit.container(core, container, "start")


async def _failed(core: engine.Core, container: model.Container, error: BaseException) -> None:
    """Keep why a start failed, and tell those who attached before it."""
    state = container.state
    state.error = str(error) or type(error).__name__
    if isinstance(error, errors.CommandNotFound):
        state.exit_code = 127
    elif isinstance(error, errors.CommandNotExecutable):
        state.exit_code = 126
    else:
        state.exit_code = 128
    pending, container.pending = container.pending, []
    for client in pending:
        client.abandon(state.error)
    await core.containers.keep(container)


async def _launch(core: engine.Core, container: model.Container) -> None:
    """Make the bundle, create the container in it, let its process run, and record that."""
    container.clean_end = False
    linked = links.require(core, container)
    chosen = core.runtime(container.record.runtime)
    async with contextlib.AsyncExitStack() as undo:
        undo.push_async_callback(release.release, core, container)
        await _bundle(core, container, linked)
        undo.callback(core.logs.ended, container)
        await core.logs.begin(core, container)
        made = await chosen.create(_request(core, container))
        undo.callback(_end_monitor, made)
        core.logs.started(core, container)
        socket_path = os.path.join(core.bundle(container.id), "attach")
        _connect_clients(container, socket_path)
        await chosen.start(container.id)
        running = _running(core, container, made)
        await core.containers.save(container, running)
        undo.pop_all()
    sources.tell(core, container, "mount")
    container.move(model.Status.RUNNING)
    container.state = running
    _connect_clients(container, socket_path)  # those that came while it was being started
    core.supervisor.follow(core, container)
    core.health.begin(core, container)
    links.refresh(core, container)


def _connect_clients(container: model.Container, socket_path: str) -> None:
    pending, container.pending = container.pending, []
    for client in pending:
        client.connect(socket_path)


async def _bundle(
    core: engine.Core, container: model.Container, linked: Sequence[links.Link]
) -> None:
    """Mounts, networks, files, and the runtime's config.json. The caller undoes what it leaves."""
    record, bundle = container.record, core.bundle(container.id)
    await asyncio.to_thread(_fresh_directory, bundle)
    rootfs = os.path.join(bundle, "rootfs")
    os.mkdir(rootfs, mode=0o755)
    endpoints, found = await _all(
        _connect(core, container),
        _files(core, container, rootfs),
    )
    if record.host.ipc_mode == "shareable":
        _mount_shm(specs.shm_path(core, container.id), record.host.shm_size)
    etc = _etc_files(core, container, endpoints)
    if linked:
        home = core.home(container.id)
        text = etcfiles.read(home, "hosts") + links.hosts(core, linked)
        etcfiles.write(home, "hosts", text)
    etc += await asyncio.to_thread(secretfiles.write, core, container, rootfs)
    document = await asyncio.to_thread(
        specs.build,
        core,
        container,
        rootfs=rootfs,
        sources=found,
        etc=etc,
        netns=endpoints[0].netns if endpoints else "",
    )
    with open(os.path.join(bundle, "config.json"), "wb") as file:
        file.write(msgspec.json.encode(document))


def _mount_shm(path: str, size: int) -> None:
    os.mkdir(path)
    flags = kernel.MS_NOSUID | kernel.MS_NODEV | kernel.MS_NOEXEC
    kernel.mount("shm", path, "tmpfs", flags, f"mode=1777,size={size}")


def _request(core: engine.Core, container: model.Container) -> runtime.Bundle:
    record = container.record
    logged = record.host.log_config.type != "none"
    return runtime.Bundle(
        id=container.id,
        path=core.bundle(container.id),
        log_path=core.log_path(container.id) if logged else "",
        log_limit=core.logs.monitor_limit(container) if logged else 0,
        terminal=record.config.tty,
        stdin=record.config.open_stdin,
        stdin_once=record.config.stdin_once,
    )


def _running(core: engine.Core, container: model.Container, made: runtime.Monitored) -> model.State:
    record = container.record
    return msgspec.structs.replace(
        container.state,
        status=model.Status.RUNNING,
        pid=made.pid,
        pid_started=made.pid_started,
        monitor=made.monitor,
        monitor_started=made.monitor_started,
        exit_code=0,
        error="",
        oom_killed=False,
        started_at=time.time_ns(),
        stopped_by_user=False,
        boot_id=core.host.boot_id,
        health=healthcheck.fresh(record.config),
        cgroup=specs.cgroup_of(core, record.host.cgroup_parent, container.id).path,
    )


async def _files(core: engine.Core, container: model.Container, rootfs: str) -> dict[str, str]:
    """Mount the root file system and what its mounts are made of."""
    await rootfs_of.mount(core, container.id, rootfs)
    place = os.path.join(core.bundle(container.id), "sources")
    return await sources.acquire(core, container, container.id, place, rootfs)


async def _all(*work: Awaitable[Any]) -> list[Any]:
    """Run steps that are independent of each other at once; all have ended when one fails."""
    results = await asyncio.gather(*work, return_exceptions=True)
    for result in results:
        if isinstance(result, BaseException):
            raise result
    return results


def _fresh_directory(path: str) -> None:
    kernel_mounts = list(kernel.mounted_below(path)) if os.path.exists(path) else []
    for point in kernel_mounts:
        kernel.unmount(point)
    shutil.rmtree(path, ignore_errors=True)
    os.makedirs(path, mode=0o711)


def _end_monitor(made: runtime.Monitored) -> None:
    fd = pidfd.open_process(made.monitor, made.monitor_started)
    if fd is not None:
        pidfd.send(fd, 9)
        os.close(fd)
    pidfd.reap(made.monitor)


async def _connect(core: engine.Core, container: model.Container) -> tuple[network.Endpoint, ...]:
    if netmode.shared_with(container.record.host.network_mode):
        return ()
    endpoints = await core.network.join(networking.request(core, container))
    for endpoint in endpoints:
        emit.network(core, container, "connect", endpoint.network_name)
    return endpoints


def _etc_files(
    core: engine.Core, container: model.Container, endpoints: Sequence[network.Endpoint]
) -> list[mount.Mount]:
    """Write the /etc files (or find those of the container whose network is shared)."""
    record = container.record
    home = core.home(container.id)
    mode = record.host.network_mode
    if netmode.shared_with(mode):
        home = core.home(specs.network_owner(core, container).id)
    else:
        hostname = record.config.hostname or core.host.hostname
        etcfiles.write(home, "hostname", hostname + "\n")
        gateways = netmode.host_gateways(endpoints, core.config.host_gateways)
        if mode == "host":
            text = _read("/etc/hosts") + "".join(
                etcfiles.extra_host(entry, gateways) for entry in record.host.extra_hosts or []
            )
        else:
            text = etcfiles.hosts(
                hostname,
                record.config.domainname,
                endpoints,
                record.host.extra_hosts or [],
                gateways,
                ipv6=networking.has_ipv6(record.host),
            )
        etcfiles.write(home, "hosts", text)
        etcfiles.write(home, "resolv.conf", networking.resolv_conf(core, container))
    writable = "ro" if record.host.readonly_rootfs else "rw"
    return [
        mount.Mount(
            destination=f"/etc/{name}",
            type="bind",
            source=os.path.join(home, name),
            options=("rbind", "rprivate", writable),
        )
        for name in etcfiles.NAMES
    ]


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""
