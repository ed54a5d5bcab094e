"""The history of builds: what is kept, what listeners hear, what is left of it on the disk."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from firkin import errdefs
from firkin.buildkit import builds, history, records, trace
from firkin.buildkit.pb import control_pb2 as pb


def past(place: Path) -> history.History:
    return history.History(records.Records(str(place)))


async def done(
    to: history.History, ref: str, error: BaseException | None = None, **attrs: str
) -> None:
    """A build of two steps, of which one was cached."""
    to.begin(pb.SolveRequest(ref=ref, exporters=[pb.Exporter(type="moby")]))
    traced = trace.Trace()
    build = builds.Build(ref, None, traced)  # type: ignore[arg-type]
    build.frontend, build.attrs = "dockerfile.v0", attrs
    for digest, cached in (("a", False), ("a", True), ("b", False)):
        vertex = pb.Vertex(digest=digest, name=f"step {digest}", cached=cached)
        vertex.completed.GetCurrentTime()
        traced.say(pb.StatusResponse(vertexes=[vertex]))
    await to.end(build, pb.SolveResponse(exporter_response={"k": "v"}), error)


async def now(of: history.History, **asked: Any) -> list[tuple[int, str]]:
    request = pb.BuildHistoryRequest(early_exit=True, **asked)
    return [(event.type, event.record.ref) async for event in of.listen(request)]


async def test_what_is_kept_survives_the_engine(tmp_path: Path) -> None:
    one = past(tmp_path)
    await done(one, "first", target="x")
    await done(one, "../second", errdefs.InvalidParameter("no such step"))
    await done(one, "third", asyncio.CancelledError())
    assert await now(one) == [(pb.COMPLETE, r) for r in ("third", "../second", "first")]
    again = past(tmp_path)
    assert await now(again, limit=1) == [(pb.COMPLETE, "third")]
    assert await now(again, ref="first") == [(pb.COMPLETE, "first")]
    found = {r.record.ref: r.record async for r in again.listen(pb.BuildHistoryRequest(
        early_exit=True))}  # fmt: skip
    first = found["first"]
    assert (first.frontend, dict(first.frontend_attrs)) == ("dockerfile.v0", {"target": "x"})
    assert (first.num_total_steps, first.num_completed_steps, first.num_cached_steps) == (2, 2, 1)
    assert dict(first.exporter_response) == {"k": "v"} and first.exporters[0].type == "moby"
    assert not first.HasField("error")
    assert found["../second"].error.message == "no such step"
    assert (found["third"].error.code, found["third"].error.message) == (1, "context canceled")
    said = await again.said("first")
    assert said is not None and [m.vertexes[0].name for m in said] == ["step a", "step a", "step b"]
    assert await again.said("fourth") is None


async def test_no_credentials_are_kept(tmp_path: Path) -> None:
    one = past(tmp_path)
    addresses = {
        "context": "https://user:t0ken@host/r.git#main",
        "other": "https://t0ken@host/r.git",
        "third": "http://:t0ken@host/",
        "shell": "ssh://git@host/r.git",
    }
    await done(one, "first", **addresses)
    request = pb.BuildHistoryRequest(early_exit=True)
    (found,) = [dict(event.record.frontend_attrs) async for event in one.listen(request)]
    assert found == {
        "context": "https://xxxxx@host/r.git#main",
        "other": "https://xxxxx@host/r.git",
        "third": "http://xxxxx@host/",
        "shell": "ssh://git@host/r.git",
    }
    assert not any(b"t0ken" in path.read_bytes() for path in tmp_path.iterdir())


async def test_removing(tmp_path: Path) -> None:
    one = past(tmp_path)
    await done(one, "first")
    await one.remove("first")
    assert await now(one) == [] and list(tmp_path.iterdir()) == []
    with pytest.raises(errdefs.NotFound, match="first"):
        await one.remove("first")
    one.begin(pb.SolveRequest(ref="second"))
    with pytest.raises(errdefs.Conflict, match="second"):
        await one.remove("second")
    assert await now(one) == [(pb.STARTED, "second")]


async def test_the_oldest_go_unless_pinned(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "MOST", 2)
    one = past(tmp_path)
    await done(one, "first")
    await one.pin("first", True)
    for ref in ("second", "third", "fourth"):
        await done(one, ref)
    assert [ref for _, ref in await now(one)] == ["fourth", "third", "first"]
    assert [ref for _, ref in await now(past(tmp_path))] == ["fourth", "third", "first"]


async def test_halves_of_records_are_removed(tmp_path: Path) -> None:
    await done(past(tmp_path), "first")
    (tmp_path / "x.trace").write_bytes(b"")
    (tmp_path / "y.record.new").write_bytes(b"")
    (tmp_path / "z.record").write_bytes(b"\xff\xff")
    assert [ref for _, ref in await now(past(tmp_path))] == ["first"]
    assert len(list(tmp_path.iterdir())) == 2


async def test_listeners_hear_and_those_that_do_not_read_are_sent_away(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = past(tmp_path)
    await done(one, "first")
    events: AsyncIterator[pb.BuildHistoryEvent] = one.listen(pb.BuildHistoryRequest())
    assert (await anext(events)).record.ref == "first"
    await done(one, "second")
    assert [(await anext(events)).type for _ in range(2)] == [pb.STARTED, pb.COMPLETE]
    monkeypatch.setattr(history, "_BACKLOG", 1)
    await done(one, "third")
    assert [event.type async for event in events] == [pb.STARTED]


async def test_a_disk_that_takes_nothing_costs_the_record_only(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    one = past(tmp_path / "file" / "below")
    await done(one, "first")
    assert await now(one) == []


async def test_a_status_may_come_before_its_build_and_after_it() -> None:
    known = builds.Builds()
    async with asyncio.TaskGroup() as group:
        asked = group.create_task(known.get("late"))
        await asyncio.sleep(0)
        build = await known.begin("late", None)  # type: ignore[arg-type]
    assert asked.result() is build and known.trace("late") is build.trace
    build.trace.say(pb.StatusResponse(vertexes=[pb.Vertex(name="step")]))
    known.end("late")
    traced = known.trace("late")
    assert traced is not None
    assert [message.vertexes[0].name async for message in traced.read()] == ["step"]
    known._forget("late", traced)
    assert known.trace("late") is None
