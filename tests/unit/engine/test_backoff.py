"""The pauses of restart policies."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from types import SimpleNamespace
from typing import Any, cast

from firkin.engine import core as engine
from firkin.engine.containers import model, supervise
from firkin.types import container as wire


async def _nothing(*_: object) -> None:
    return None


def _spawn(work: Coroutine[Any, Any, None], _: str) -> asyncio.Task[None] | None:
    work.close()
    return None


async def test_pauses_double_to_a_minute_and_begin_again_after_a_good_run() -> None:
    core = cast(engine.Core, SimpleNamespace(tasks=SimpleNamespace(spawn=_spawn)))
    record = model.Record(image_id="", config=wire.Config(), host=wire.HostConfig(), args=[])
    subject = model.Container("0" * 64, "again", 0, record, model.State())
    supervisor = supervise.Supervisor(_nothing, _nothing)

    def pause(ran: float) -> float:
        subject.started_monotonic = time.monotonic() - ran
        supervisor.schedule(core, subject)
        return subject.backoff

    assert [pause(1) for _ in range(12)] == [
        0.1, 0.2, 0.4, 0.8, 1.6, 3.2, 6.4, 12.8, 25.6, 51.2, 60, 60,
    ]  # fmt: skip
    assert (pause(9), pause(10), pause(1)) == (60, 0.1, 0.2)
