"""What a health check asks for, and what its results mean. Without I/O.

A container with a check is *starting*, *healthy* or *unhealthy*::

    starting ──success──▶ healthy ◀──success── unhealthy
        └──── retries failures in a row ──────────▲  (from healthy too)

While it is starting, failures within the start period do not count. Once it has been healthy the
start period is over.
"""

from __future__ import annotations

from typing import NamedTuple

from firkin import errdefs
from firkin.engine.containers import model
from firkin.types import container

STARTING, HEALTHY, UNHEALTHY, NONE = "starting", "healthy", "unhealthy", "none"
KEPT = 5
"""How many results are kept."""
ACTIONS = ("", "none", "kill", "restart", "stop")
_SECOND = 1_000_000_000
_LEAST = 1_000_000  # nanoseconds: what a duration has to be at least, as with Docker
_DURATIONS = ("interval", "timeout", "start_period", "start_interval")


class Check(NamedTuple):
    """A check that is to be made; durations are seconds, ``action`` is for when it fails."""

    args: list[str]
    interval: float
    timeout: float
    start_period: float
    start_interval: float
    retries: int
    action: str


def merge(
    asked: container.HealthConfig | None, default: container.HealthConfig | None
) -> container.HealthConfig | None:
    """The check of the request, with the image's for what it leaves open."""
    if asked is None or default is None:
        return asked if default is None else default
    for name in ("test", *_DURATIONS, "retries"):
        if not getattr(asked, name):
            setattr(asked, name, getattr(default, name))
    return asked


def validate(check: container.HealthConfig | None) -> None:
    """Raise ``InvalidParameter`` for a check that can't be made."""
    if check is None:
        return
    for name in _DURATIONS:
        value = getattr(check, name)
        if value != 0 and value < _LEAST:
            shown = "".join(word.capitalize() for word in name.split("_"))
            raise errdefs.InvalidParameter(f"{shown} in Healthcheck cannot be less than 1ms")
    if check.retries < 0:
        raise errdefs.InvalidParameter("Retries in Healthcheck cannot be negative")
    if check.on_failure not in ACTIONS:
        raise errdefs.InvalidParameter(
            f"invalid health-on-failure action {check.on_failure[:40]!r}: use none, kill, restart "
            "or stop"
        )
    kind = check.test[0] if check.test else ""
    if kind not in ("", "NONE", "CMD", "CMD-SHELL"):
        raise errdefs.InvalidParameter(
            f"unknown kind of health check {kind[:40]!r}: its first word must be NONE, CMD or "
            "CMD-SHELL"
        )
    if kind in ("CMD", "CMD-SHELL") and not check.test[1:]:
        raise errdefs.InvalidParameter(f"the health check ({kind}) has no command")
    if any("\0" in word for word in check.test):
        raise errdefs.InvalidParameter("the command of the health check contains a NUL byte")


def plan(config: container.Config) -> Check | None:
    """The check of a container; ``None`` when it has none."""
    asked = config.healthcheck
    if asked is None or not asked.test or asked.test[0] == "NONE":
        return None
    args = asked.test[1:]
    if asked.test[0] == "CMD-SHELL":
        args = [*(config.shell or ("/bin/sh", "-c")), " ".join(args)]
    return Check(
        args=args,
        interval=(asked.interval or 30 * _SECOND) / _SECOND,
        timeout=(asked.timeout or 30 * _SECOND) / _SECOND,
        start_period=asked.start_period / _SECOND,
        start_interval=(asked.start_interval or 5 * _SECOND) / _SECOND,
        retries=asked.retries or 3,
        action=asked.on_failure,
    )


def fresh(config: container.Config) -> model.Health | None:
    """The health of a container that starts; ``None`` for one without a check."""
    return None if plan(config) is None else model.Health(status=STARTING)


def pause_before(check: Check, health: model.Health, up: float) -> float:
    """Seconds until the next probe of a container that has been up for ``up`` seconds."""
    starting = health.status == STARTING and up < check.start_period
    return check.start_interval if starting else check.interval


def judge(check: Check, health: model.Health, probe: model.Probe, up: float) -> model.Health:
    """The health after a probe that began when the container had been up for ``up`` seconds."""
    log = [*health.log[1 - KEPT :], probe]
    if probe.code == 0:
        return model.Health(status=HEALTHY, streak=0, log=log)
    if health.status == STARTING and up < check.start_period:
        return model.Health(status=STARTING, streak=health.streak, log=log)
    streak = health.streak + 1
    status = UNHEALTHY if streak >= check.retries else health.status
    return model.Health(status=status, streak=streak, log=log)
