"""What the results of a health check mean."""

from __future__ import annotations

import pytest

from firkin import errdefs
from firkin.engine.containers import healthcheck, model
from firkin.types import container

SECOND = 1_000_000_000


def probe(code: int) -> model.Probe:
    return model.Probe(start=1, end=2, code=code, output="")


def plan(**more: object) -> healthcheck.Check:
    config = container.HealthConfig(test=["CMD", "true"], **more)  # type: ignore[arg-type]
    found = healthcheck.plan(container.Config(healthcheck=config))
    assert found is not None
    return found


def test_defaults() -> None:
    assert plan() == healthcheck.Check(["true"], 30, 30, 0, 5, 3, "")


def test_no_check() -> None:
    for config in (None, container.HealthConfig(), container.HealthConfig(test=["NONE"])):
        assert healthcheck.plan(container.Config(healthcheck=config)) is None
        assert healthcheck.fresh(container.Config(healthcheck=config)) is None


def test_the_shell_is_the_images() -> None:
    check = container.HealthConfig(test=["CMD-SHELL", "a && b"])
    found = healthcheck.plan(container.Config(healthcheck=check, shell=["/bin/ash", "-ec"]))
    assert found is not None and found.args == ["/bin/ash", "-ec", "a && b"]


def test_retries_in_a_row() -> None:
    check, health = plan(retries=2), model.Health(status="starting")
    health = healthcheck.judge(check, health, probe(1), up=1)
    assert (health.status, health.streak) == ("starting", 1)
    health = healthcheck.judge(check, health, probe(1), up=2)
    assert (health.status, health.streak) == ("unhealthy", 2)
    health = healthcheck.judge(check, health, probe(0), up=3)
    assert (health.status, health.streak) == ("healthy", 0)
    health = healthcheck.judge(check, health, probe(7), up=4)
    assert (health.status, health.streak) == ("healthy", 1)
    for _ in range(9):
        health = healthcheck.judge(check, health, probe(0), up=5)
    assert len(health.log) == healthcheck.KEPT


def test_the_start_period() -> None:
    check = plan(retries=1, start_period=10 * SECOND, start_interval=SECOND)
    health = model.Health(status="starting")
    assert healthcheck.pause_before(check, health, up=0) == 1
    health = healthcheck.judge(check, health, probe(1), up=9)
    assert (health.status, health.streak) == ("starting", 0)
    assert healthcheck.pause_before(check, health, up=11) == 30
    assert healthcheck.judge(check, health, probe(1), up=11).status == "unhealthy"
    well = healthcheck.judge(check, health, probe(0), up=2)
    assert healthcheck.judge(check, well, probe(1), up=3).status == "unhealthy"  # it is over


def test_merge_takes_from_the_image_what_is_left_open() -> None:
    image = container.HealthConfig(test=["CMD", "x"], interval=SECOND, retries=5)
    asked = container.HealthConfig(retries=2, on_failure="kill")
    merged = healthcheck.merge(asked, image)
    assert merged == container.HealthConfig(
        test=["CMD", "x"], interval=SECOND, retries=2, on_failure="kill"
    )
    assert healthcheck.merge(None, image) is image


@pytest.mark.parametrize(
    "check",
    [
        container.HealthConfig(test=["CMD"]),
        container.HealthConfig(test=["EXEC", "x"]),
        container.HealthConfig(test=["CMD", "a\0"]),
        container.HealthConfig(timeout=-SECOND),
        container.HealthConfig(start_interval=999_999),
        container.HealthConfig(retries=-1),
        container.HealthConfig(on_failure="shout"),
    ],
)
def test_what_cannot_be(check: container.HealthConfig) -> None:
    with pytest.raises(errdefs.InvalidParameter):
        healthcheck.validate(check)
