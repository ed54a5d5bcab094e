"""ContainerStats: one sampler for all clients.

Once a second it reads the usage of every container that somebody watches, encodes each sample once
and wakes those who watch; fifty clients of a container cost one sampling and fifty writes. A client
that is slow gets the latest sample when it comes back, never a queue of old ones. Nobody watches:
nothing runs.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any, NamedTuple

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine.containers import clock, model, specs
from firkin.linux import usage
from firkin.types import base

PERIOD = 1.0
"""Seconds between two samples."""


class _Sample(NamedTuple):
    read: int
    used: usage.Usage
    interfaces: dict[str, usage.Interface]
    host: usage.Processors


class _Subject:
    """A container that is watched, by ``watchers`` clients."""

    def __init__(self) -> None:
        self.watchers = 0
        self.reader: usage.Reader | None = None
        self.previous: _Sample | None = None
        self.latest: _Sample | None = None
        self.text = b""
        self.gone = False
        self.turn = asyncio.Event()

    def wake(self) -> None:
        """Let the watchers look; the next turn has an event of its own."""
        turn, self.turn = self.turn, asyncio.Event()
        turn.set()


class Sampler:
    """The statistics of all containers that are watched."""

    def __init__(self) -> None:
        self._subjects: dict[str, _Subject] = {}
        self._task: asyncio.Task[None] | None = None

    async def once(self, core: engine.Core, container: model.Container) -> bytes:
        """One sample, at once, with nothing to compare it with."""
        subject = _Subject()
        await self._sample(core, {container.id: subject})
        return subject.text

    async def stream(self, core: engine.Core, container: model.Container) -> AsyncIterator[bytes]:
        """A sample now and one each second, until the container is removed."""
        subject = self._subjects.setdefault(container.id, _Subject())
        subject.watchers += 1
        try:
            if subject.watchers == 1:
                await self._sample(core, {container.id: subject})
            if self._task is None or self._task.done():
                self._task = core.tasks.spawn(self._run(core), "statistics")
            while not subject.gone:
                turn = subject.turn
                if subject.text:
                    yield subject.text
                await turn.wait()
        finally:
            subject.watchers -= 1
            if not subject.watchers and self._subjects.get(container.id) is subject:
                del self._subjects[container.id]

    async def compared(self, core: engine.Core, container: model.Container) -> bytes:
        """One sample that can be compared with another one before it."""
        if not container.running:
            return await self.once(core, container)
        latest = b""
        async for text in self.stream(core, container):
            latest = text
            subject = self._subjects.get(container.id)
            if subject is None or subject.previous is not None or not container.running:
                break
        return latest

    async def _run(self, core: engine.Core) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while self._subjects:
            due = max(due + PERIOD, loop.time())
            await asyncio.sleep(due - loop.time())
            await self._sample(core, dict(self._subjects))

    async def _sample(self, core: engine.Core, subjects: dict[str, _Subject]) -> None:
        wanted = []
        for container_id, subject in subjects.items():
            container = core.containers.find(container_id)
            if container is None or container.id != container_id:
                subject.gone = True
            elif container.running:
                if subject.reader is None:
                    path = specs.cgroup_path(core, container)
                    subject.reader = usage.Reader(core.host.cgroup, path)
                own = container.record.host.network_mode != "host"
                wanted.append((container_id, subject.reader, container.state.pid if own else 0))
        found = await asyncio.to_thread(_read, wanted) if wanted else {}
        for container_id, subject in subjects.items():
            container = core.containers.find(container_id)
            if container is not None and not subject.gone:
                subject.previous, subject.latest = subject.latest, found.get(container_id)
                if subject.latest is None:
                    subject.previous = None
                subject.text = _encode(core, container, subject)
            subject.wake()


def _read(wanted: list[tuple[str, usage.Reader, int]]) -> dict[str, _Sample]:
    host = usage.processors()
    found = {}
    for container_id, reader, pid in wanted:
        used = reader.read()
        if used is not None:
            interfaces = usage.interfaces(pid) if pid else {}
            found[container_id] = _Sample(time.time_ns(), used, interfaces, host)
    return found


def _encode(core: engine.Core, container: model.Container, subject: _Subject) -> bytes:
    latest, previous = subject.latest, subject.previous
    shown: dict[str, Any] = {
        "id": container.id,
        "name": f"/{container.name}",
        "os_type": "linux",
        "read": clock.rfc3339(latest.read if latest else 0),
        "preread": clock.rfc3339(previous.read if previous else 0),
        "num_procs": 0,
        "pids_stats": _pids(latest),
        "cpu_stats": _cpu(latest),
        "precpu_stats": _cpu(previous),
        "memory_stats": _memory(core, latest),
        "blkio_stats": _block(latest, v1=core.host.cgroup.version == 1),
        "storage_stats": {},
    }
    if latest is not None and latest.interfaces:
        shown["networks"] = {name: item._asdict() for name, item in latest.interfaces.items()}
    return base.encode(shown) + b"\n"


def _cpu(sample: _Sample | None) -> dict[str, Any]:
    used = sample.used if sample else None
    shown: dict[str, Any] = {
        "cpu_usage": {
            "total_usage": used.cpu if used else 0,
            "usage_in_kernelmode": used.cpu_kernel if used else 0,
            "usage_in_usermode": used.cpu_user if used else 0,
        },
        "throttling_data": {
            "periods": used.periods if used else 0,
            "throttled_periods": used.throttled_periods if used else 0,
            "throttled_time": used.throttled if used else 0,
        },
    }
    if sample is not None:
        if sample.used.per_cpu:
            shown["cpu_usage"]["percpu_usage"] = sample.used.per_cpu
        shown["system_cpu_usage"] = sample.host.time
        shown["online_cpus"] = sample.host.online
    return shown


def _memory(core: engine.Core, sample: _Sample | None) -> dict[str, Any]:
    if sample is None:
        return {}
    used, host = sample.used, core.host.memory
    shown: dict[str, Any] = {
        "usage": used.memory,
        "stats": used.memory_stat,
        "limit": min(used.memory_limit, host) if used.memory_limit else host,
    }
    if core.host.cgroup.version == 1:
        shown["max_usage"] = used.memory_max
        shown["failcnt"] = used.memory_failures
    return shown


def _pids(sample: _Sample | None) -> dict[str, int]:
    if sample is None:
        return {}
    limit = sample.used.pids_limit
    return {"current": sample.used.pids, "limit": limit or 2**64 - 1}


def _block(sample: _Sample | None, *, v1: bool) -> dict[str, Any]:
    shown: dict[str, Any] = dict.fromkeys(
        (
            "io_service_bytes_recursive", "io_serviced_recursive", "io_queue_recursive",
            "io_service_time_recursive", "io_wait_time_recursive", "io_merged_recursive",
            "io_time_recursive", "sectors_recursive",
        )
    )  # fmt: skip
    if sample is not None:
        shown["io_service_bytes_recursive"] = [e._asdict() for e in sample.used.block_bytes]
        if v1:
            shown["io_serviced_recursive"] = [e._asdict() for e in sample.used.block_operations]
    return shown


def check(*, stream: bool, one_shot: bool) -> None:
    """Raise ``InvalidParameter`` for a stream that is to be one sample."""
    if stream and one_shot:
        raise errdefs.InvalidParameter("cannot have stream=true and one-shot=true")
