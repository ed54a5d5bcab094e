"""Following running containers to their end, and beyond it if their policy says so.

A container has ended when its monitor has: conmon collects the process, drains its output into the
log, writes the exit code and leaves. The engine holds a pidfd of the monitor, so it is told by the
kernel, whether it started the monitor itself or found it after a restart.

Restart policies: the first restart comes after 100 ms and each further one after twice the wait
before, up to a minute; a container that ran for ten seconds starts over.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Awaitable, Callable

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine.containers import emit, healthcheck, links, model, release
from firkin.linux import cgroup, kmsg, pidfd
from firkin.runtime import conmon, runtime

log = logging.getLogger(__name__)

_FIRST = 0.1
_LONGEST = 60.0
_GOOD_RUN = 10.0
_KILLED = 128 + 9
_KILL_PATIENCE = 10.0  # seconds for the kernel to end a process that was killed
_NEEDED = 100  # looks at those that a container needs and that are to be restarted first

Verb = Callable[[engine.Core, model.Container], Awaitable[None]]


class Supervisor:
    """Watches monitors. ``start`` (the caller holds the lock) and ``remove`` are the verbs that the
    end of a container may call for."""

    def __init__(self, start: Verb, remove: Verb) -> None:
        self._start = start
        self._remove = remove

    def follow(self, core: engine.Core, container: model.Container) -> None:
        """Begin to follow a container that was started just now; it may have ended already."""
        if not self.watch(core, container):
            core.tasks.spawn(self.ended(core, container), f"end of {container.short}")

    def watch(self, core: engine.Core, container: model.Container) -> bool:
        """Begin to follow a running container; tells whether its monitor is (still) there."""
        state = container.state
        container.pidfd = _or_none(pidfd.open_process(state.pid, state.pid_started))
        container.monitor_fd = _or_none(pidfd.open_process(state.monitor, state.monitor_started))
        if container.monitor_fd < 0:
            return False
        loop = asyncio.get_running_loop()
        fd, monitor = container.monitor_fd, state.monitor

        def gone() -> None:
            loop.remove_reader(fd)
            pidfd.reap(monitor)
            core.tasks.spawn(self.ended(core, container), f"end of {container.short}")

        loop.add_reader(fd, gone)
        return True

    async def ended(self, core: engine.Core, container: model.Container) -> None:
        """The monitor has gone: record the exit, clean up, and follow the container's policy."""
        async with container.lock:
            if not container.running:
                return
            found = conmon.exit_of(core.bundle(container.id))
            if found is None:
                found = await _orphaned(core, container)
            unwatch(container)
            core.health.end(container)
            core.logs.ended(container)
            again = await finish(core, container, found)
            container.clean_end = found.known
            leaves = container.record.host.auto_remove and not (again or container.returning)
            networks = [one.network_name for one in core.network.endpoints(container.id)]
            try:
                if leaves or container.doomed:
                    await release.shared(core, container)  # the rest comes with the removal
                else:
                    await release.release(core, container, ended=container.clean_end)
            except errdefs.FirkinError as error:  # the next start, removal or engine tries again
                log.error("not all of container %s is released: %s", container.short, error)
            for name in networks:
                emit.network(core, container, "disconnect", name)
        if again:
            self.schedule(core, container)
        elif leaves:
            await self._remove(core, container)

    def schedule(self, core: engine.Core, container: model.Container) -> None:
        """Start the container again after its back-off."""
        ran = time.monotonic() - container.started_monotonic
        fresh = ran >= _GOOD_RUN or not container.backoff
        container.backoff = _FIRST if fresh else min(container.backoff * 2, _LONGEST)
        container.restarting = core.tasks.spawn(
            self._again(core, container), f"restart of {container.short}"
        )

    async def _again(self, core: engine.Core, container: model.Container) -> None:
        await asyncio.sleep(container.backoff)
        await _wait_for_needed(core, container)
        async with container.lock:
            if container.state.status is not model.Status.RESTARTING:
                return
            if not wants_restart(container, started=True):  # the policy was changed meanwhile
                container.stay_ended()
                await core.containers.keep(container)
                return
            container.state.restart_count += 1
            try:
                await self._start(core, container)
            except errdefs.FirkinError as error:
                log.warning("restart of container %s: %s", container.short, error)
                container.state.finished_at = time.time_ns()
                again = wants_restart(container) and not container.doomed
                if not again:
                    container.stay_ended()
                await core.containers.keep(container)
                if again:
                    container.started_monotonic = time.monotonic()
                    self.schedule(core, container)


async def _wait_for_needed(core: engine.Core, container: model.Container) -> None:
    """Let those start first that this one needs, if they are about to."""
    for _ in range(_NEEDED):
        needed = links.needs(core, container)
        if not any(other.state.status is model.Status.RESTARTING for other in needed):
            return
        await asyncio.sleep(_FIRST)


def _or_none(fd: int | None) -> int:
    return -1 if fd is None else fd


def unwatch(container: model.Container) -> None:
    """Stop following."""
    for fd in (container.monitor_fd, container.pidfd):
        if fd >= 0:
            asyncio.get_running_loop().remove_reader(fd)
            os.close(fd)
    container.monitor_fd = container.pidfd = -1


async def _orphaned(core: engine.Core, container: model.Container) -> runtime.Exit:
    """The monitor was killed before its container ended: end that too, its streams are lost."""
    await core.runtime(container.record.runtime).kill_all(container.id)
    if container.pidfd >= 0 and pidfd.send(container.pidfd, 9):
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(pidfd.wait(container.pidfd), _KILL_PATIENCE)
    return runtime.Exit(code=137, known=False)


def wants_restart(container: model.Container, *, started: bool = False) -> bool:
    """Whether the policy asks for a restart after the exit in the container's state.

    With ``started``, whether it still asks for one that was decided before: a container that the
    user had stopped may be wanted again because the engine has started.
    """
    state, policy = container.state, container.record.host.restart_policy
    if state.stopped_by_user and not (started and policy.name == "always"):
        return False
    if policy.name in ("always", "unless-stopped"):
        return True
    if policy.name == "on-failure" and state.exit_code != 0:
        limit = policy.maximum_retry_count
        return limit == 0 or state.restart_count < limit
    return False


async def _killed_for_memory(
    core: engine.Core, container: model.Container, found: runtime.Exit
) -> bool:
    """Whether the kernel's log tells of what the monitor could not see: its group had gone."""
    layout, group = core.host.cgroup, container.state.cgroup
    if found.code != _KILLED or not group or container.state.stopped_by_user:
        return False
    if cgroup.directories(layout, group):
        return False
    began = time.monotonic() - (time.time_ns() - container.state.started_at) / 1e9
    return await asyncio.to_thread(kmsg.oom_killed, group, since=began)


async def finish(
    core: engine.Core, container: model.Container, found: runtime.Exit, *, when: int = 0
) -> bool:
    """Put an exit into the container's state and tell the world; the caller holds the lock.

    ``when`` is the time of the exit in nanoseconds, 0 for now. Returns whether the restart policy
    wants the container to run again.
    """
    state = container.state
    state.exit_code = found.code
    state.oom_killed = found.oom_killed or await _killed_for_memory(core, container, found)
    state.error = "" if found.known else "the container's monitor ended before it could report"
    state.finished_at = when or time.time_ns()
    if state.health is not None:
        state.health.status = healthcheck.UNHEALTHY
    state.pid = state.pid_started = state.monitor = state.monitor_started = 0
    again = wants_restart(container)
    container.move(model.Status.RESTARTING if again else model.Status.EXITED)
    await core.containers.keep(container)
    if state.oom_killed:
        emit.container(core, container, "oom")
    emit.container(
        core,
        container,
        "die",
        exitCode=str(found.code),
        execDuration=str(max(0, (state.finished_at - state.started_at) // 1_000_000_000)),
    )
    container.finish_exit_waiters()
    return again
