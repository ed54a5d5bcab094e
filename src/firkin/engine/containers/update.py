"""ContainerUpdate: new limits for a container that may be running, restart policy and labels.

All is checked before anything changes; then the kernel is told, and when it agrees the database.
When the database can't keep it, the kernel is told the old limits again.
"""

from __future__ import annotations

import asyncio
import contextlib
import copy
from typing import Any

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine.containers import emit, limits, model, netmode, specs
from firkin.linux import cgroup
from firkin.oci import hostdevs, resources
from firkin.types import container as wire
from firkin.types import update as update_types

_LISTS = (
    "blkio_weight_device", "blkio_device_read_bps", "blkio_device_write_bps",
    "blkio_device_read_iops", "blkio_device_write_iops",
)  # fmt: skip
_PLAIN = (
    "cpu_shares", "memory", "nano_cpus", "blkio_weight", "cpu_period", "cpu_quota", "cpuset_cpus",
    "cpuset_mems", "memory_reservation", "memory_swap",
)  # fmt: skip


async def update(
    core: engine.Core, container: model.Container, request: update_types.UpdateRequest
) -> list[str]:
    """Change a container and return the warnings.

    Raises ``InvalidParameter`` for values that can't be, ``Conflict`` for those that contradict
    what the container has or that the kernel refuses (memory in use above a new limit),
    ``NotImplemented`` for real-time scheduling and for what is fixed. Whatever it raises, nothing
    has changed.
    """
    async with container.lock:
        if container.state.status in (model.Status.REMOVING, model.Status.DEAD):
            raise errdefs.Conflict(
                f"cannot update container {container.name}: it is {container.state.status}: remove "
                "it"
            )
        before = container.record
        after = copy.deepcopy(before)
        merge(after.host, request)
        warnings = _check(core, after.host, request)
        limits.check_modes(core, after.host)
        _labels(after.config, request)
        _ports(after, request)
        live = container.running and _limits(before.host) != _limits(after.host)
        moved = container.running and after.host.port_bindings != before.host.port_bindings
        async with contextlib.AsyncExitStack() as undo:
            if live:
                await _change(core, container, before.host, after.host)
                undo.push_async_callback(_apply, core, container, before.host)
            if moved:
                await _publish(core, container, after)
                undo.push_async_callback(_publish, core, container, before)
            await core.containers.save_record(container, after)
            undo.pop_all()
        container.record = after
    emit.container(core, container, "update")
    return warnings


def _check(
    core: engine.Core, host: wire.HostConfig, request: update_types.UpdateRequest
) -> list[str]:
    """Warnings of the whole, but of what the host lacks only for what is asked for now."""
    v2, able = core.host.cgroup.version == 2, specs.able(core.host.cgroup)
    warnings = resources.validate(
        host, cgroup_v2=v2, host_memory=core.host.memory, host_cpus=core.host.cpus, able=able
    )
    asked = wire.HostConfig()
    merge(asked, request)
    old = set(resources.lacking(host, able, v2)) - set(resources.lacking(asked, able, v2))
    return [warning for warning in warnings if warning not in old]


def merge(host: wire.HostConfig, request: update_types.UpdateRequest) -> None:
    """Put what the request asks for into ``host``. Raises ``Conflict`` and ``NotImplemented``."""
    if request.cpu_realtime_period or request.cpu_realtime_runtime:
        raise errdefs.NotImplemented(
            "realtime CPU scheduling: not supported by this version: leave it out"
        )
    for name in update_types.FIXED:
        if getattr(request, name):
            raise errdefs.NotImplemented(
                f"update of {name.replace('_', ' ')}: decided when a container is created: create "
                "it anew"
            )
    _check_conflicts(host, request)
    for name in _PLAIN:
        if value := getattr(request, name):
            setattr(host, name, value)
    for name in _LISTS:
        if (value := getattr(request, name)) is not None:
            setattr(host, name, value)
    if request.pids_limit is not None:
        host.pids_limit = max(0, request.pids_limit)
    if request.restart_policy.name:
        if host.auto_remove and request.restart_policy.name != "no":
            raise errdefs.Conflict(
                "Restart policy cannot be updated because AutoRemove is enabled for the container"
            )
        host.restart_policy = request.restart_policy


def _check_conflicts(host: wire.HostConfig, request: update_types.UpdateRequest) -> None:
    for asked, has, words in (
        (request.cpu_period, host.nano_cpus, ("CPU Period", "NanoCPUs")),
        (request.cpu_quota, host.nano_cpus, ("CPU Quota", "NanoCPUs")),
        (request.nano_cpus, host.cpu_period, ("Nano CPUs", "CPU Period")),
        (request.nano_cpus, host.cpu_quota, ("Nano CPUs", "CPU Quota")),
    ):
        if asked and has:
            raise errdefs.Conflict(
                f"Conflicting options: {words[0]} cannot be updated as {words[1]} has already been "
                "set"
            )
    if (
        request.memory > 0
        and not request.memory_swap
        and host.memory_swap > 0
        and request.memory > host.memory_swap
    ):
        raise errdefs.Conflict(
            "Memory limit should be smaller than already set memoryswap limit, update the "
            "memoryswap at the same time"
        )


def _labels(config: wire.Config, request: update_types.UpdateRequest) -> None:
    labels = {**(config.labels or {}), **(request.labels or {})}
    for name in request.remove_labels or ():
        labels.pop(name, None)
    if any(not name for name in labels):
        raise errdefs.InvalidParameter("a label needs a name: use NAME=VALUE")
    config.labels = labels


def _ports(record: model.Record, request: update_types.UpdateRequest) -> None:
    """Change the bindings. Raises ``InvalidParameter`` for what is no port or not published."""
    if request.publish is None and request.unpublish is None:
        return
    bindings: dict[str, list[wire.PortBinding] | None] = {**(record.host.port_bindings or {})}
    for text in request.unpublish or ():
        numbers, proto = netmode.parse_port(text)
        for number in numbers:
            if f"{number}/{proto}" not in bindings:
                raise errdefs.InvalidParameter(f"port {number}/{proto} is not published")
            del bindings[f"{number}/{proto}"]
    for text, added in (request.publish or {}).items():
        numbers, proto = netmode.parse_port(text)
        for number in numbers:
            port = f"{number}/{proto}"
            known = bindings.get(port) or []
            new = [one for one in added or [wire.PortBinding()] if one not in known]
            bindings[port] = [*known, *new]
    record.host.port_bindings = bindings
    exposed = record.config.exposed_ports or {}
    record.config.exposed_ports = {**exposed, **{port: {} for port in bindings}} or None
    netmode.published(record.config, record.host)


async def _publish(core: engine.Core, container: model.Container, record: model.Record) -> None:
    if core.network.endpoints(container.id):
        await core.network.republish(container.id, netmode.published(record.config, record.host))


def _limits(host: wire.HostConfig) -> dict[str, Any]:
    return {name: getattr(host, name) for name in (*_PLAIN, *_LISTS, "pids_limit")}


async def _change(
    core: engine.Core, container: model.Container, before: wire.HostConfig, after: wire.HostConfig
) -> None:
    """From one set of limits to another; back to the first when the kernel refuses one of them."""
    try:
        await _apply(core, container, after)
    except errdefs.System as error:
        with contextlib.suppress(errdefs.System):
            await _apply(core, container, before)
        raise errdefs.Conflict(
            f"Cannot update container {container.name}: the kernel refuses the limits: {error}"
        ) from error


async def _apply(core: engine.Core, container: model.Container, host: wire.HostConfig) -> None:
    layout = core.host.cgroup
    linux = resources.to_linux(
        host, hostdevs.lookup, cgroup_v2=layout.version == 2, able=specs.able(layout)
    )
    lifted = []
    if host.pids_limit == 0:
        lifted.append(cgroup.PIDS)
    if linux.get("cpu", {}).get("quota") == -1:
        lifted.append(cgroup.CPU_QUOTA)
        del linux["cpu"]["quota"]
    linux = {key: value for key, value in linux.items() if value}
    if linux:
        await core.runtime(container.record.runtime).update(container.id, linux)
    if lifted:  # which crun 1.8 can't, or not with both versions of cgroups
        await asyncio.to_thread(cgroup.lift, layout, specs.cgroup_path(core, container), lifted)
