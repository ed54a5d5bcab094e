"""The doors and services of BuildKit's protocol, with a builder that notes what it is asked."""

from __future__ import annotations

import asyncio
import os
import pathlib
import types
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Any

import pytest
from aiohttp import web
from grpclib import exceptions

import buildkit_client
from firkin import errdefs
from firkin.api import call, connection, status
from firkin.api.router import buildkit
from firkin.buildkit import (
    bridge,
    builds,
    control,
    filesync,
    frontend,
    history,
    records,
    session,
    trace,
    transport,
)
from firkin.buildkit.pb import control_pb2


class Notes:
    """A frontend that fetches the context and exports nothing."""

    def __init__(self, directory: pathlib.Path) -> None:
        self.directory = directory
        self.requests: list[frontend.Request] = []
        self.exports: list[frontend.Export] = []
        self.closed = 0
        self.secret: bytes | None = b""

    async def solve(self, request: frontend.Request, traced: trace.Trace) -> Any:
        self.requests.append(request)
        if request.options.get("target") == "bad":
            raise errdefs.InvalidParameter("Dockerfile:3: no such stage: bad")
        moved: list[int] = []
        await filesync.receive(request.session, "context", str(self.directory), {}, moved.append)
        self.secret = await request.session.secret("token")
        vertex = control_pb2.Vertex(digest="sha256:" + "1" * 64, name="[1/1] FROM scratch")
        traced.say(control_pb2.StatusResponse(vertexes=[vertex]))
        return moved[-1]

    def metadata(self, result: Any) -> Mapping[str, bytes]:
        return {"containerimage.config": b"{}"}

    async def close(self, result: Any) -> None:
        self.closed += 1

    async def export(
        self,
        result: Any,
        request: frontend.Request,
        exports: Sequence[frontend.Export],
        traced: trace.Trace,
    ) -> Mapping[str, str]:
        self.exports += exports
        return {"bytes": str(result)}


class Nothing:
    """An empty cache, and a worker."""

    async def records(self, filters: Sequence[str]) -> Sequence[control_pb2.UsageRecord]:
        return [control_pb2.UsageRecord(id="one", size=7)]

    async def prune(self, request: control_pb2.PruneRequest) -> Sequence[control_pb2.UsageRecord]:
        return [control_pb2.UsageRecord(id="one", size=7)] if request.all else []

    def labels(self) -> Mapping[str, str]:
        return {"org.mobyproject.buildkit.worker.moby.host-gateway-ip": "172.17.0.1"}

    def platforms(self) -> Sequence[str]:
        return ["linux/amd64", "linux/arm64/v8"]


@pytest.fixture
async def engine(tmp_path: pathlib.Path) -> AsyncIterator[tuple[pathlib.Path, Notes]]:
    """A socket with the two doors behind it."""
    target = tmp_path / "target"
    target.mkdir()
    notes, known, clients = Notes(target), builds.Builds(), session.Sessions(patience=1)
    past = history.History(records.Records(str(tmp_path / "history")))
    controls = control.Control(notes, known, clients, Nothing(), Nothing(), past)
    server = transport.Server([controls, bridge.Bridge(notes, known, controls)])
    behind = types.SimpleNamespace(server=server, sessions=clients)
    table = buildkit.doors(lambda: behind)

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        request.protocol.begin()  # type: ignore[attr-defined]
        try:
            route, variables = table.find(request.method, request.path)
            return await route.handler(
                call.Call(None, request, (1, 50), variables)  # type: ignore[arg-type]
            )
        except errdefs.FirkinError as error:
            return status.response(error)

    loop = asyncio.get_running_loop()
    http = web.Server(handle, handler_cancellation=True)
    path = tmp_path / "s.sock"
    listening = await loop.create_unix_server(lambda: connection.Connection(http, loop), str(path))
    yield path, notes
    listening.close()
    await http.shutdown(0.1)


@pytest.fixture
def context(tmp_path: pathlib.Path) -> pathlib.Path:
    root = tmp_path / "context"
    (root / "sub").mkdir(parents=True)
    (root / "Dockerfile").write_text("FROM scratch\nCOPY . /\n")
    (root / "sub" / "big").write_bytes(b"x" * 300_000)
    (root / "sub" / "link").symlink_to("big")
    return root


Engine = tuple[pathlib.Path, Notes]


async def test_a_build_through_the_bridge(engine: Engine, context: pathlib.Path) -> None:
    path, notes = engine
    client = buildkit_client.Session({"context": context}, {"token": b"s3cret"})
    heard: list[control_pb2.StatusResponse] = []
    exporter = control_pb2.Exporter(type="moby", attrs={"name": "site:1"})
    said = await buildkit_client.build(
        path, client, {"build-arg:A": "1"}, [exporter], on_status=heard.append
    )
    assert said == {"bytes": str(300_000 + 22)}
    assert notes.requests[0].options == {"build-arg:A": "1"}
    assert notes.exports == [frontend.Export("moby", {"name": "site:1"}, 0)]
    assert notes.closed == 1
    assert notes.secret == b"s3cret"
    assert [vertex.name for one in heard for vertex in one.vertexes] == ["[1/1] FROM scratch"]
    assert sorted(client.sent) == ["Dockerfile", "sub/big"]
    assert (notes.directory / "sub" / "link").read_bytes() == b"x" * 300_000


async def test_only_changed_files_come_again(engine: Engine, context: pathlib.Path) -> None:
    path, _ = engine
    for expected in (["Dockerfile", "sub/big"], [], ["Dockerfile"]):
        client = buildkit_client.Session({"context": context})
        await buildkit_client.build(path, client, {}, [])
        assert sorted(client.sent) == (expected if _own_root() else ["Dockerfile", "sub/big"])
        if not expected:
            (context / "Dockerfile").write_text("FROM scratch\nCOPY sub /\n")


def _own_root() -> bool:
    """Files are sent as root's: only root can have them as they are sent."""
    return os.geteuid() == 0


async def test_a_failure_is_told_by_solve(engine: Engine, context: pathlib.Path) -> None:
    path, notes = engine
    client = buildkit_client.Session({"context": context})
    with pytest.raises(ExceptionGroup) as caught:
        await buildkit_client.build(path, client, {"target": "bad"}, [])
    [error] = caught.value.exceptions
    assert "no such stage: bad" in str(error)
    assert notes.exports == []


async def test_a_client_that_leaves_ends_its_build(engine: Engine, context: pathlib.Path) -> None:
    path, _ = engine
    client = buildkit_client.Session({"context": context})
    channel = buildkit_client.Channel(path)
    await client.open(path)
    pb = control_pb2
    request = pb.SolveRequest(ref="r1", session=client.id, frontend="")
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.5):
            await channel.unary(buildkit_client.CONTROL + "Solve", request, pb.SolveResponse)
    client.close()
    channel.close()
    fresh = buildkit_client.Channel(path)
    with pytest.raises(exceptions.GRPCError, match="no active session"):
        await asyncio.wait_for(
            fresh.unary(buildkit_client.CONTROL + "Solve", request, pb.SolveResponse), 30
        )
    fresh.close()


@pytest.mark.parametrize(
    ("request_", "words"),
    [
        (control_pb2.SolveRequest(ref="r", frontend="gateway.v0"), "unknown frontend"),
        (control_pb2.SolveRequest(ref="r", definition={"ops": [b"x"]}), "LLB"),
    ],
)
async def test_what_is_not_there_is_refused(
    engine: Engine, request_: control_pb2.SolveRequest, words: str
) -> None:
    path, _ = engine
    channel = buildkit_client.Channel(path)
    with pytest.raises(exceptions.GRPCError, match=words):
        await channel.unary(buildkit_client.CONTROL + "Solve", request_, control_pb2.SolveResponse)
    channel.close()


async def test_workers_cache_and_info(engine: Engine) -> None:
    path, _ = engine
    channel = buildkit_client.Channel(path)
    pb, name = control_pb2, buildkit_client.CONTROL
    info = await channel.unary(name + "Info", pb.InfoRequest(), pb.InfoResponse)
    assert info.version.package == "firkin"
    workers = await channel.unary(
        name + "ListWorkers", pb.ListWorkersRequest(), pb.ListWorkersResponse
    )
    [worker] = workers.record
    assert [(one.os, one.architecture, one.variant) for one in worker.platforms] == [
        ("linux", "amd64", ""),
        ("linux", "arm64", "v8"),
    ]
    usage = await channel.unary(name + "DiskUsage", pb.DiskUsageRequest(), pb.DiskUsageResponse)
    assert [one.id for one in usage.record] == ["one"]
    assert await channel.stream(name + "Prune", pb.PruneRequest(), pb.UsageRecord) == []
    pruned = await channel.stream(name + "Prune", pb.PruneRequest(all=True), pb.UsageRecord)
    assert [one.size for one in pruned] == [7]
    channel.close()


@pytest.mark.parametrize(
    ("head", "words"),
    [
        ("POST /grpc HTTP/1.1\r\nHost: x\r\n\r\n", "HTTP/2"),
        ("POST /session HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n",
         "X-Docker-Expose-Session-Uuid"),
    ],
)  # fmt: skip
async def test_doors_tell_what_they_want(engine: Engine, head: str, words: str) -> None:
    path, _ = engine
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(head.encode())
    answer = await reader.readuntil(b"}")
    assert answer.startswith(b"HTTP/1.1 400") and words.encode() in answer
    writer.close()


async def test_garbage_behind_the_door_ends_the_connection(engine: Engine) -> None:
    path, _ = engine
    reader, writer = await asyncio.open_unix_connection(str(path))
    writer.write(b"POST /grpc HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: h2c\r\n\r\n")
    await reader.readuntil(b"\r\n\r\n")
    writer.write(b"this is no preface of HTTP/2, and never will be\r\n\r\n" * 10)
    await asyncio.wait_for(reader.read(), 10)
    assert reader.at_eof()
    writer.close()
