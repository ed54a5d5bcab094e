"""ContainerWait."""

from __future__ import annotations

import asyncio

from firkin import errdefs
from firkin.engine.containers import model

CONDITIONS = ("", "not-running", "next-exit", "removed")


def begin(container: model.Container, condition: str) -> asyncio.Future[tuple[int, str]]:
    """A future of the exit code and an error text, for a condition of ContainerWait.

    Raises ``InvalidParameter`` for an unknown condition.
    """
    if condition not in CONDITIONS:
        raise errdefs.InvalidParameter(
            f"invalid condition: {condition!r}: use not-running, next-exit or removed"
        )
    future: asyncio.Future[tuple[int, str]] = asyncio.get_running_loop().create_future()
    active = container.running or container.state.status is model.Status.RESTARTING
    if condition in ("", "not-running") and not active:
        future.set_result((container.state.exit_code, container.state.error))
    elif condition == "removed":
        container.removal_waiters.append(future)
    else:
        container.exit_waiters.append(future)
    return future


def cancel(container: model.Container, future: asyncio.Future[tuple[int, str]]) -> None:
    """The client went away."""
    future.cancel()
    for waiters in (container.exit_waiters, container.removal_waiters):
        if future in waiters:
            waiters.remove(future)
