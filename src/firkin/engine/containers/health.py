"""Health checks: probing running containers in turn, and what follows from it.

A thousand containers with checks must not keep the engine busy: one that waits for its next probe
is a timer and nothing else; probes start at most :data:`_AT_ONCE` at a time (one that has run for a
second makes room for the next), with a little jitter, so that containers that were started together
are not probed together.

The health is part of the container's state. It is saved whenever its status or its streak of
failures changes, so a new engine knows it at once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import random
import secrets
import signal
import time

import msgspec

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine.containers import emit, healthcheck, model, probe, restart, specs, stop
from firkin.linux import cgroup, pidfd
from firkin.oci import process
from firkin.types import container as wire

_AT_ONCE = 8
_SETTLED = 1.0  # seconds after which a probe only waits, and costs nothing
_JITTER = 0.05


class _Watch:
    """The probing of one container: a timer, or a probe that runs."""

    def __init__(self, check: healthcheck.Check) -> None:
        self.check = check
        self.timer: asyncio.TimerHandle | None = None
        self.task: asyncio.Task[None] | None = None
        self.argv: list[str] = []


class Health:
    """The probing of all containers."""

    def __init__(self) -> None:
        self._watches: dict[str, _Watch] = {}
        self._slots = asyncio.Semaphore(_AT_ONCE)

    def begin(self, core: engine.Core, container: model.Container, *, spread: bool = False) -> None:
        """Begin to probe a container that runs; does nothing for one without a check.

        With ``spread`` the first probe comes at any time within an interval.
        """
        self.end(container)
        check = healthcheck.plan(container.record.config)
        if check is None:
            return
        if container.state.health is None:
            container.state.health = model.Health(status=healthcheck.STARTING)
        watch = self._watches[container.id] = _Watch(check)
        self._schedule(core, container, watch, random.random() if spread else 1.0)

    def end(self, container: model.Container) -> None:
        """Probe no more; a probe that runs is killed."""
        watch = self._watches.pop(container.id, None)
        if watch is None:
            return
        if watch.timer is not None:
            watch.timer.cancel()
        if watch.task is not None:
            watch.task.cancel()

    def _schedule(
        self, core: engine.Core, container: model.Container, watch: _Watch, part: float = 1.0
    ) -> None:
        health = container.state.health or model.Health()
        seconds = healthcheck.pause_before(watch.check, health, _up(container))
        seconds *= part * (1 + _JITTER * random.random())

        def due() -> None:
            watch.timer = None
            watch.task = core.tasks.spawn(
                self._probe(core, container, watch), f"health of {container.short}"
            )

        watch.timer = asyncio.get_running_loop().call_later(seconds, due)

    async def _probe(self, core: engine.Core, container: model.Container, watch: _Watch) -> None:
        await self._slots.acquire()
        releasing = asyncio.get_running_loop().call_later(_SETTLED, self._slots.release)
        try:
            up = _up(container)
            began = time.time_ns()
            outcome = await _run(core, container, watch)
        finally:
            if not releasing.when() <= asyncio.get_running_loop().time():
                releasing.cancel()
                self._slots.release()
        if self._watches.get(container.id) is not watch or not container.running:
            return
        code, output = outcome
        if code is None:
            code = -1
            said = f": {output}" if output else ""
            output = f"Health check exceeded timeout ({_go_seconds(watch.check.timeout)}){said}"
        found = model.Probe(start=began, end=time.time_ns(), code=code, output=output)
        watch.task = None
        await self._record(core, container, watch, found, up)
        if self._watches.get(container.id) is watch:
            self._schedule(core, container, watch)

    async def _record(
        self,
        core: engine.Core,
        container: model.Container,
        watch: _Watch,
        found: model.Probe,
        up: float,
    ) -> None:
        before = container.state.health or model.Health()
        after = healthcheck.judge(watch.check, before, found, up)
        container.state.health = after
        if (after.status, after.streak) == (before.status, before.streak):
            return
        await core.containers.keep(container)
        if after.status == before.status:
            return
        emit.container(core, container, f"health_status: {after.status}")
        if after.status == healthcheck.UNHEALTHY and watch.check.action not in ("", "none"):
            core.tasks.spawn(
                _act(core, container, watch.check.action), f"unhealthy {container.short}"
            )


async def _run(core: engine.Core, container: model.Container, watch: _Watch) -> probe.Outcome:
    words = " ".join(watch.check.args)
    exec_id = secrets.token_hex(32)
    directory = os.path.join(core.bundle(container.id), "health")
    pid_file = os.path.join(directory, "pid")
    try:
        if not watch.argv:
            spec_file = await asyncio.to_thread(_prepare, core, container, watch.check, directory)
            chosen = core.runtime(container.record.runtime)
            watch.argv = chosen.exec_command(container.id, spec_file, pid_file)
        emit.container(core, container, f"exec_create: {words}", execID=exec_id)
        emit.container(core, container, f"exec_start: {words}", execID=exec_id)
        outcome = await probe.run(watch.argv, pid_file, watch.check.timeout)
    except (errdefs.FirkinError, OSError) as error:
        outcome = probe.Outcome(-1, str(error))
    code = 128 + signal.SIGKILL if outcome.code is None else outcome.code
    emit.container(core, container, "exec_die", execID=exec_id, exitCode=str(code))
    return outcome


def _prepare(
    core: engine.Core, container: model.Container, check: healthcheck.Check, directory: str
) -> str:
    """Write the probe's process for the OCI runtime; returns the file's path."""
    os.makedirs(directory, mode=0o700, exist_ok=True)
    with open(os.path.join(core.bundle(container.id), "config.json"), "rb") as file:
        base = msgspec.json.decode(file.read())["process"]
    request = wire.ExecCreateRequest(cmd=check.args)
    spec = process.exec_process(base, request, kernel_caps=specs.kernel_caps(core))
    path = os.path.join(directory, "process.json")
    with open(path, "wb") as file:
        file.write(msgspec.json.encode(spec))
    return path


async def _act(core: engine.Core, container: model.Container, action: str) -> None:
    """What ``--health-on-failure`` asks for. After a kill the restart policy has its say."""
    with contextlib.suppress(errdefs.NotModified, errdefs.Conflict, errdefs.NotFound):
        if action == "restart":
            await restart.restart(core, container)
        elif action == "stop":
            await stop.stop(core, container)
        else:
            async with container.lock:
                if container.pidfd >= 0 and pidfd.send(container.pidfd, signal.SIGKILL):
                    emit.container(core, container, "kill", signal="9")


def _up(container: model.Container) -> float:
    return max(0.0, (time.time_ns() - container.state.started_at) / 1e9)


def _go_seconds(seconds: float) -> str:
    return f"{seconds:g}s" if seconds >= 1 else f"{seconds * 1000:g}ms"


def resume(core: engine.Core, container: model.Container) -> None:
    """Begin again after a restart of the engine: what an earlier one was probing is ended."""
    pid_file = os.path.join(core.bundle(container.id), "health", "pid")
    if os.path.exists(pid_file):
        group = specs.cgroup_path(core, container)
        probe.end_left_over(pid_file, frozenset(cgroup.pids(core.host.cgroup, group)))
    if container.state.status is model.Status.RUNNING:
        core.health.begin(core, container, spread=True)
