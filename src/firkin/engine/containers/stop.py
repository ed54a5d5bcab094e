"""ContainerStop, ContainerKill, ContainerPause and ContainerUnpause."""

from __future__ import annotations

import asyncio
import contextlib
import signal
from collections.abc import AsyncIterator

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine.containers import emit, limits, model
from firkin.linux import pidfd, signals

_KILL_PATIENCE = 10.0


async def _ends_within(container: model.Container, seconds: float | None) -> bool:
    waiter: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
    if not container.running:
        return True
    container.exit_waiters.append(waiter)
    try:
        await asyncio.wait_for(waiter, seconds)
        return True
    except TimeoutError:
        return False
    finally:
        if waiter in container.exit_waiters:
            container.exit_waiters.remove(waiter)


async def _cancel_restart(core: engine.Core, container: model.Container) -> bool:
    if container.state.status is not model.Status.RESTARTING:
        return False
    container.state.stopped_by_user = True
    container.stay_ended()
    await core.containers.keep(container)
    return True


async def cancel_restart(core: engine.Core, container: model.Container) -> bool:
    """Give up a restart that the policy has in mind; tells whether there was one."""
    async with container.lock:
        return await _cancel_restart(core, container)


async def stop(
    core: engine.Core,
    container: model.Container,
    *,
    timeout: int | None = None,
    stop_signal: str = "",
) -> str:
    """Ask the process to end, and kill it when it has not after ``timeout`` seconds (-1: never).

    Returns why it had to be killed, "" when it had not (or at once, with a timeout of 0).

    Raises ``NotModified`` when it does not run, ``InvalidParameter`` for an unknown signal.
    """
    config = container.record.config
    number = limits.signal_number(stop_signal or config.stop_signal or "SIGTERM")
    if timeout is None:
        own = config.stop_timeout
        timeout = own if own is not None else core.config.default_stop_timeout
    async with container.lock:
        if await _cancel_restart(core, container):
            emit.container(core, container, "stop")
            return ""
        if not container.running:
            raise errdefs.NotModified(f"container {container.name} is already stopped")
        container.state.stopped_by_user = True
        await core.containers.keep(container)
        if container.state.status is model.Status.PAUSED:
            await thaw(core, container)
        _signal(core, container, number)
    slow = ""
    if not await _ends_within(container, None if timeout < 0 else timeout):
        slow = _why_slow(container, number, timeout) if timeout else ""
        await _force(core, container)
        if not await _ends_within(container, _KILL_PATIENCE):
            await core.runtime(container.record.runtime).kill_all(container.id)
            if not await _ends_within(container, _KILL_PATIENCE):
                raise errdefs.System(
                    f"container {container.name} did not end after SIGKILL: a process in it is "
                    "stuck in the kernel"
                )
    async with container.lock:  # the clean-up after the exit is done when this is ours
        emit.container(core, container, "stop")
    if slow:
        emit.container(core, container, "stop_timeout", reason=slow)
    return slow


def _why_slow(container: model.Container, number: int, timeout: int) -> str:
    """Why the process has not ended by now, as far as it can be seen."""
    name = signal.Signals(number).name if number in set(signal.Signals) else f"signal {number}"
    killed = f"container {container.name} did not end within {timeout} s of {name} and was killed: "
    command = " ".join(container.record.args)[:60]
    caught = signals.catches(container.state.pid, number)
    if caught is None:
        return ""
    if caught:
        return (
            f"{killed}its first process ({command}) has a handler for {name} but took longer: give "
            "it more time with --timeout, or see what it waits for"
        )
    return (
        f"{killed}its first process ({command}) has no handler for {name}, and a process that is "
        "PID 1 is not ended by a signal that it does not handle: run it with --init, or with a "
        "--stop-signal that it handles"
    )


def _signal(core: engine.Core, container: model.Container, number: int) -> None:
    if container.pidfd >= 0 and pidfd.send(container.pidfd, number):
        emit.container(core, container, "kill", signal=str(number))


def _has_ended(container: model.Container) -> bool:
    return container.pidfd < 0 or pidfd.ended(container.pidfd)


async def thaw(core: engine.Core, container: model.Container) -> None:
    """Let the processes of a paused container go on; the caller holds the lock.

    That the container has ended meanwhile is no error: its monitor's end will be noticed.
    """
    try:
        await core.runtime(container.record.runtime).resume(container.id)
    except errdefs.System:
        if not _has_ended(container):
            raise
    container.move(model.Status.RUNNING)
    container.state.briefly = False
    core.health.begin(core, container)


async def _force(core: engine.Core, container: model.Container) -> None:
    """SIGKILL that also works when somebody has paused the container meanwhile."""
    async with container.lock:
        if not container.running:
            return
        _signal(core, container, signal.SIGKILL)
        if container.state.status is model.Status.PAUSED:
            await thaw(core, container)


async def kill(core: engine.Core, container: model.Container, text: str) -> None:
    """Send a signal.

    SIGKILL and the container's stop signal mean that it is to stay ended: they forbid its restart,
    and give up one that its policy has in mind. SIGKILL ends a paused container too.

    Raises ``Conflict`` when it does not run, ``InvalidParameter`` for an unknown signal.
    """
    number = limits.signal_number(text or "SIGKILL")
    stop_number = limits.signal_number(container.record.config.stop_signal or "SIGTERM")
    final = number in (signal.SIGKILL, stop_number)
    async with container.lock:
        if final and await _cancel_restart(core, container):
            return
        container.require_settled()
        container.require_running("kill")
        if final:
            container.state.stopped_by_user = True
            await core.containers.keep(container)
        _signal(core, container, number)
        if number == signal.SIGKILL and container.state.status is model.Status.PAUSED:
            await thaw(core, container)
    if number == signal.SIGKILL:
        await _ends_within(container, _KILL_PATIENCE)


async def pause(core: engine.Core, container: model.Container) -> None:
    """Freeze all processes. Raises ``Conflict`` unless it runs and is not paused."""
    async with container.lock:
        if container.state.status is model.Status.PAUSED:
            raise errdefs.Conflict(f"Container {container.id} is already paused")
        container.require_settled()
        container.require_running("pause")
        try:
            await core.runtime(container.record.runtime).pause(container.id)
        except errdefs.System as error:
            if not _has_ended(container):
                raise
            raise errdefs.Conflict(
                f"cannot pause container {container.name}: container {container.id} is not running "
                "(it has just ended)"
            ) from error
        container.move(model.Status.PAUSED)
        core.health.end(container)
        await core.containers.keep(container)
    emit.container(core, container, "pause")


async def unpause(core: engine.Core, container: model.Container) -> None:
    """Let the processes go on. Raises ``Conflict`` unless it is paused."""
    async with container.lock:
        if container.state.status is not model.Status.PAUSED:
            raise errdefs.Conflict(f"Container {container.id} is not paused")
        await thaw(core, container)
        await core.containers.keep(container)
    emit.container(core, container, "unpause")


@contextlib.asynccontextmanager
async def frozen(core: engine.Core, container: model.Container) -> AsyncIterator[None]:
    """Freeze the processes of a container that runs for as long as the engine looks at its files.

    It goes on after that, also when this engine is killed before. One that has ended, or that
    somebody else has paused or lets go on, is left as it is.
    """
    async with container.lock:
        running = container.state.status is model.Status.RUNNING
        if running:
            container.state.briefly = True
            await core.containers.keep(container)
    ours = False
    try:
        if running:
            with contextlib.suppress(errdefs.Conflict):
                await pause(core, container)
                ours = True
        yield
    finally:
        container.state.briefly = False
        if ours:
            with contextlib.suppress(errdefs.Conflict):
                await unpause(core, container)
