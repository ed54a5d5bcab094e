"""Taking back what a start made."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import signal

import msgspec

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine.containers import model, sources, specs
from firkin.linux import cgroup, cgroupdriver
from firkin.linux import mount as kernel


class _Linux(msgspec.Struct):
    cgroupsPath: str = ""


class _Document(msgspec.Struct):
    linux: _Linux


async def release(core: engine.Core, container: model.Container, *, ended: bool = False) -> None:
    """Take back everything that a start made. Idempotent; never raises for what is gone already.

    Used when a start fails, when a container has ended, and for what an engine that was killed
    left behind. ``ended``: the process and its monitor are known to have ended by themselves.
    """
    bundle = core.bundle(container.id)
    runtime_work = core.runtime(container.record.runtime).delete(container.id, ended=ended)
    network_work = core.network.release(container.id)
    gathered = await asyncio.gather(runtime_work, network_work, return_exceptions=True)
    results: list[BaseException | None] = list(gathered)
    group = specs.cgroup_path(core, container)
    await asyncio.to_thread(_clear, core.host.cgroup, bundle, group)
    try:
        await sources.release(core, container, container.id)
    except errdefs.FirkinError as error:
        results.append(error)
    for result in results:
        if isinstance(result, BaseException):
            raise result


async def shared(core: engine.Core, container: model.Container) -> None:
    """Give back only what others may be waiting for: addresses, host ports and volumes."""
    await core.network.release(container.id)
    await sources.release(core, container, container.id)


async def unknown(core: engine.Core, container_id: str) -> None:
    """The same for a container that is in no database: its creation or removal was cut short."""
    for runtime in core.runtimes.values():
        await runtime.delete(container_id)
    await core.network.release(container_id)
    bundle = core.bundle(container_id)
    group = _group_of(bundle) or specs.cgroup_of(core, "", container_id).path
    await asyncio.to_thread(_clear, core.host.cgroup, bundle, group)


def _group_of(bundle: str) -> str:
    """The cgroup that the runtime was told to use; "" when nothing was said."""
    try:
        with open(os.path.join(bundle, "config.json"), "rb") as file:
            document = msgspec.json.decode(file.read(), type=_Document)
    except (OSError, msgspec.MsgspecError):
        return ""
    return cgroupdriver.path_of(document.linux.cgroupsPath)


def _clear(layout: cgroup.Layout, bundle: str, group: str) -> None:
    for pid in cgroup.pids(layout, group):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    cgroup.remove(layout, group)
    if os.path.exists(bundle):
        for point in list(kernel.mounted_below(bundle)):
            kernel.unmount(point)
        shutil.rmtree(bundle, ignore_errors=True)
