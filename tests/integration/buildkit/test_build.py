"""Builds over BuildKit's protocol by a strict client of our own, in a real engine."""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from grpclib import GRPCError, Status

import buildkit_client
import rig
from firkin.buildkit.pb import control_pb2

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rig.Engine]:
    with rig.running(tmp_path_factory.mktemp("buildkit"), f"fkbk{os.getpid()}") as made:
        yield made


@pytest.fixture
def context(tmp_path: Path) -> Path:
    root = tmp_path / "context"
    (root / "sub").mkdir(parents=True)
    (root / "sub" / "file").write_text("content\n")
    (root / "sub" / "link").symlink_to("/etc/hostname")
    (root / "Dockerfile").write_text(
        "FROM busybox\n"
        "RUN --mount=type=secret,id=token sha256sum /run/secrets/token >/sum\n"
        "COPY sub /sub\n"
        "RUN cat /sub/file\n"
    )
    return root


class Heard:
    """What a build says while it runs."""

    def __init__(self) -> None:
        self.vertices: dict[str, control_pb2.Vertex] = {}
        self.log = b""

    def __call__(self, message: control_pb2.StatusResponse) -> None:
        for vertex in message.vertexes:
            self.vertices[vertex.digest] = vertex
        self.log += b"".join(one.msg for one in message.logs)

    def cached(self) -> int:
        return sum(one.cached for one in self.vertices.values())


async def _build(
    engine: rig.Engine, context: Path, **options: str
) -> tuple[dict[str, str], Heard, buildkit_client.Session]:
    client = buildkit_client.Session(
        {"context": context, "dockerfile": context}, {"token": b"secret"}, shared_key=str(context)
    )
    heard = Heard()
    exporter = control_pb2.Exporter(type="moby", attrs={"name": "strict:1"})
    said = await buildkit_client.build(
        engine.socket, client, {"filename": "Dockerfile", **options}, [exporter], on_status=heard
    )
    return said, heard, client


async def test_a_build_is_an_image(engine: rig.Engine, context: Path) -> None:
    said, heard, client = await _build(engine, context)
    identity = said["containerimage.config.digest"]
    assert identity == engine.out("inspect", "-f", "{{.Id}}", "strict:1")
    assert said["image.name"] == "docker.io/library/strict:1"
    assert heard.log == b"content\n"
    assert all(one.HasField("completed") for one in heard.vertices.values())
    assert sorted(set(client.sent)) == ["Dockerfile", "sub/file"]
    assert engine.out("run", "--rm", "strict:1", "readlink", "/sub/link") == "/etc/hostname"
    _, heard, client = await _build(engine, context)
    assert heard.cached() == 4
    assert client.sent == ["Dockerfile"]  # asked for by itself, before the context


async def test_only_what_changed_is_done_again(engine: rig.Engine, context: Path) -> None:
    await _build(engine, context)
    (context / "sub" / "file").write_text("changed\n")
    _, heard, client = await _build(engine, context)
    assert heard.log == b"changed\n"
    assert heard.cached() == 2
    assert "sub/file" in client.sent


async def test_ignored_files_stay_with_the_client(engine: rig.Engine, context: Path) -> None:
    (context / ".dockerignore").write_text("# comment\nsub/file\n")
    (context / "Dockerfile").write_text("FROM busybox\nCOPY . /all\nRUN ! test -e /all/sub/file\n")
    _, _, client = await _build(engine, context)
    whole = [metadata for name, metadata in client.asked if name == "context"][-1]
    assert whole["exclude-patterns"] == ["sub/file"]


async def test_options_of_newer_clients_are_told_of(engine: rig.Engine, context: Path) -> None:
    """What a client of the future asks for is no reason not to build."""
    _, heard, _ = await _build(engine, context, strange="1", **{"sharedkey:localdir:x": "y"})
    names = [vertex.name for vertex in heard.vertices.values()]
    assert [name for name in names if "ignored" in name] == [
        "[internal] ignored: this engine has no build option 'strange'"
    ]


async def test_a_failing_step(engine: rig.Engine, context: Path) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nRUN echo why >&2; exit 3\n")
    with pytest.raises(ExceptionGroup) as caught:
        await _build(engine, context)
    assert any("3" in str(one) for one in caught.value.exceptions)


async def test_the_history_of_builds(engine: rig.Engine, context: Path) -> None:
    """It is there for other clients, and after the engine was killed."""
    await _build(engine, context, **{"no-cache": "", "label:n": "1"})
    with pytest.raises(ExceptionGroup):
        await _build(engine, context, target="none")
    engine.end(signal.SIGKILL)
    engine.start()
    pb, control = control_pb2, buildkit_client.CONTROL
    channel = buildkit_client.Channel(engine.socket)
    try:
        request = pb.BuildHistoryRequest(early_exit=True, limit=2)
        events = await channel.stream(control + "ListenBuildHistory", request, pb.BuildHistoryEvent)
        failed, built = [event.record for event in events]
        assert "none" in failed.error.message and not built.HasField("error")
        assert built.frontend == "dockerfile.v0" and built.frontend_attrs["label:n"] == "1"
        assert "containerimage.config.digest" in built.exporter_response
        status = pb.StatusRequest(ref=built.ref)
        said = await channel.stream(control + "Status", status, pb.StatusResponse)
        assert b"content\n" in b"".join(line.msg for message in said for line in message.logs)
        forget = pb.UpdateBuildHistoryRequest(ref=built.ref, delete=True)
        for code in (None, Status.NOT_FOUND):
            with pytest.raises(GRPCError) if code else contextlib.nullcontext() as caught:
                await channel.unary(
                    control + "UpdateBuildHistory", forget, pb.UpdateBuildHistoryResponse
                )
            assert code is None or caught.value.status is code
    finally:
        channel.close()


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"target": "nowhere"}, "nowhere"),
        ({"shm-size": "much"}, "shm-size"),
        ({"ulimit": "nofile"}, "ulimit"),
        ({"filename": "../Dockerfile"}, "Dockerfile"),
        ({"context:other": "oci-layout://x"}, "oci-layout"),
    ],
)
async def test_bad_options(
    engine: rig.Engine, context: Path, options: dict[str, Any], words: str
) -> None:
    with pytest.raises(ExceptionGroup) as caught:
        await _build(engine, context, **options)
    assert any(words in str(one) for one in caught.value.exceptions)


async def test_an_engine_killed_in_a_build_leaves_nothing(
    engine: rig.Engine, context: Path
) -> None:
    (context / "Dockerfile").write_text("FROM busybox\nRUN sleep 300\n")
    with pytest.raises((ExceptionGroup, OSError)):
        async with asyncio.TaskGroup() as group:
            group.create_task(_build(engine, context))
            running = await asyncio.to_thread(
                rig.settled, lambda: any("crun" in _line(pid) for pid in engine.processes()), 60
            )
            await asyncio.to_thread(engine.end, 9)
    assert running
    engine.start()
    found = rig.leftovers(engine)
    assert not any(found.values()), found
    assert engine.mounts(engine.exec / "build") == []


def _line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode()
    except OSError:
        return ""
