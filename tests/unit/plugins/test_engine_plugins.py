"""Discovery and calls of plug-ins, against servers on sockets of the test's own."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
from aiohttp import web

from firkin import errdefs
from firkin.plugins import discovery, plugin


class Answer(msgspec.Struct):
    value: str = ""


Handler = Callable[[str, Any], Any]


@contextlib.asynccontextmanager
async def served(path: Path, handler: Handler) -> AsyncIterator[None]:
    """A plug-in; ``handler`` gets the method and the arguments and returns text or a response."""

    async def handle(request: web.BaseRequest) -> web.StreamResponse:
        body = await request.read()
        answer = handler(request.path[1:], json.loads(body) if body else None)
        return answer if isinstance(answer, web.Response) else web.json_response(answer)

    runner = web.ServerRunner(web.Server(handle))
    await runner.setup()
    path.parent.mkdir(parents=True, exist_ok=True)
    await web.UnixSite(runner, str(path)).start()
    try:
        yield
    finally:
        await runner.cleanup()


def registry(tmp_path: Path) -> plugin.Registry:
    return plugin.Registry(sockets=[str(tmp_path / "run")], specs=[str(tmp_path / "etc")])


def both(method: str, arguments: Any) -> Any:
    if method == "Plugin.Activate":
        return {"Implements": ["Example"]}
    return {"value": f"{method} {arguments['Name']}"}


async def test_handshake_and_call(tmp_path: Path) -> None:
    async with served(tmp_path / "run/one.sock", both):
        found = await registry(tmp_path).get("one", "Example")
        answer = await found.call("Example.Get", {"Name": "x"}, Answer)
        assert answer.value == "Example.Get x"
        blocking = asyncio.to_thread(found.call_from_thread, "Example.Do", {"Name": "y"}, Answer)
        assert (await blocking).value == "Example.Do y"


async def test_every_kind_of_file(tmp_path: Path) -> None:
    etc = tmp_path / "etc"
    (etc / "deep").mkdir(parents=True)
    (etc / "plain.spec").write_text(f"unix://{tmp_path}/there.sock\n")
    (etc / "deep/deep.json").write_text(
        json.dumps({"Name": "x", "Addr": f"unix://{tmp_path}/there.sock"})
    )
    (etc / "ignored.txt").write_text("")
    async with (
        served(tmp_path / "there.sock", both),
        served(tmp_path / "run/folder/folder.sock", both),
    ):
        names = discovery.names(sockets=[str(tmp_path / "run")], specs=[str(etc)])
        assert names == ["deep", "folder", "plain"]
        one = registry(tmp_path)
        for name in names:
            assert (await one.get(name, "Example")).implements == {"Example"}
        assert len(await one.all("Example")) == 3
        assert await one.all("Other") == []


def test_addresses(tmp_path: Path) -> None:
    def found(name: str, text: str) -> discovery.Address:
        (tmp_path / name).write_text(text)
        return discovery.find(name.partition(".")[0], sockets=[], specs=[str(tmp_path)])

    assert found("a.spec", "tcp://localhost:8080").url == "http://localhost:8080"
    secure = found("b.json", '{"Addr": "tcp://h:1", "TLSConfig": {"CAFile": "/ca.pem"}}')
    assert (secure.url, secure.tls) == ("https://h:1", discovery.TLS(ca_file="/ca.pem"))
    for name, text in (("c.spec", "nonsense"), ("d.json", "{"), ("e.spec", "unix://relative")):
        with pytest.raises(errdefs.InvalidParameter, match=str(tmp_path / name)):
            found(name, text)


@pytest.mark.parametrize("name", ["absent", "../run/one", "a/b", "", ".hidden", "x" * 200])
async def test_names_that_are_no_plugin(tmp_path: Path, name: str) -> None:
    async with served(tmp_path / "run/one.sock", both):
        with pytest.raises(errdefs.NotFound, match="not found"):
            await registry(tmp_path).get(name, "Example")


async def test_wrong_subsystem(tmp_path: Path) -> None:
    async with served(tmp_path / "run/one.sock", both):
        with pytest.raises(
            errdefs.NotFound, match="does not implement VolumeDriver: it implements Ex"
        ):
            await registry(tmp_path).get("one", "VolumeDriver")


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        ({"Err": "no such thing"}, "^no such thing$"),
        (web.Response(status=500, text='{"Err": "broken"}'), "^broken$"),
        (
            web.Response(status=404, text="404 page not found\n"),
            "^Example.Get: 404 page not found$",
        ),
        (web.Response(text="not json"), "nonsense"),
        ({"value": 5}, "nonsense"),
    ],
)
async def test_errors_of_the_plugin(tmp_path: Path, answer: Any, words: str) -> None:
    def handler(method: str, arguments: Any) -> Any:
        return both(method, arguments) if method == "Plugin.Activate" else answer

    async with served(tmp_path / "run/one.sock", handler):
        found = await registry(tmp_path).get("one", "Example")
        with pytest.raises(plugin.Failed, match=words):
            await found.call("Example.Get", {}, Answer)


async def test_a_plugin_that_is_down_or_silent(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    one = registry(tmp_path)
    (tmp_path / "run").mkdir()
    path = tmp_path / "run/one.sock"
    listening = socket.socket(socket.AF_UNIX)
    listening.bind(str(path))
    monkeypatch.setattr(plugin, "_RETRIES", (0.01,))
    with pytest.raises(errdefs.Unavailable, match=f"does not answer at unix://{path}"):
        await one.get("one", "Example")
    listening.listen()
    monkeypatch.setattr(plugin, "CONNECT", 0.2)
    with pytest.raises(errdefs.Unavailable, match="no answer within"):
        await one.get("one", "Example")
    listening.close()


async def test_a_plugin_that_comes_up_late(tmp_path: Path) -> None:
    path = tmp_path / "run/one.sock"
    path.parent.mkdir()
    with socket.socket(socket.AF_UNIX) as early:
        early.bind(str(path))
    waiting = asyncio.get_running_loop().create_task(registry(tmp_path).get("one", "Example"))
    await asyncio.sleep(0.05)
    path.unlink()
    async with served(path, both):
        assert (await waiting).name == "one"


async def test_an_answer_without_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plugin, "MAX_ANSWER", 1000)

    def handler(method: str, arguments: Any) -> Any:
        return both(method, arguments) if method == "Plugin.Activate" else {"value": "x" * 2000}

    async with served(tmp_path / "run/one.sock", handler):
        found = await registry(tmp_path).get("one", "Example")
        with pytest.raises(errdefs.Unavailable, match="longer than 1000 bytes"):
            await found.call("Example.Get", {}, Answer)
