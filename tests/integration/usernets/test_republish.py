"""``update --publish-add`` and ``--publish-rm`` on a container that runs."""

from __future__ import annotations

import os
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator

import pytest

import rig
import unixhttp

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rig.Engine]:
    with rig.running(tmp_path_factory.mktemp("republish"), f"fkp{os.getpid()}") as made:
        yield made


@pytest.fixture
def web(engine: rig.Engine) -> Iterator[str]:
    """A web server on port 80 of its container, published at a port of the engine's choice."""
    serve = "echo here >/index.html; exec httpd -f -h /"
    engine.run("run", "-d", "--name", "web", "-p", "127.0.0.1::80", "busybox", "sh", "-c", serve)
    yield "web"
    engine.run("rm", "-f", "web")


def _free() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def _page(address: str) -> str:
    try:
        with urllib.request.urlopen(f"http://{address}/", timeout=5) as answer:
            return str(answer.read().decode().strip())
    except (OSError, urllib.error.URLError):
        return ""


def test_ports_come_and_go_while_it_runs(engine: rig.Engine, web: str) -> None:
    first = engine.out("port", web, "80")
    assert rig.settled(lambda: _page(first) == "here")
    second = f"127.0.0.1:{_free()}"
    engine.run("update", "--publish-add", f"{second}:80", web)
    assert set(engine.out("port", web, "80").split()) == {first, second}
    assert _page(first) == _page(second) == "here"
    assert second.partition(":")[2] in engine.out("ps", "--format", "{{.Ports}}")
    engine.run("restart", "-t", "0", web)
    assert rig.settled(lambda: _page(second) == "here")
    engine.run("update", "--publish-rm", "80", web)
    assert engine.out("port", web) == ""
    assert _page(second) == ""


def test_what_can_not_be_changes_nothing(engine: rig.Engine, web: str) -> None:
    before = engine.out("port", web, "80")
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        wanted = f"127.0.0.1:{taken.getsockname()[1]}:80"
        done = engine.run("update", "--publish-add", wanted, web, check=False)
    assert done.returncode == 1 and b"already" in done.stderr
    assert engine.out("port", web, "80") == before
    for body, words in (
        ({"Unpublish": ["81/tcp"]}, "not published"),
        ({"Publish": {"x": []}}, "port"),
        ({"Publish": {"80/tcp": [{"HostIp": "nowhere"}]}}, "nowhere"),
    ):
        status, answer = unixhttp.ask(engine.socket, "POST", "/containers/web/update", body)
        assert status == 400 and words in answer["message"], answer
    assert engine.out("port", web, "80") == before
    assert rig.settled(lambda: _page(before) == "here")


def test_of_one_that_does_not_run(engine: rig.Engine) -> None:
    port = _free()
    engine.run("create", "--name", "later", "busybox", "sleep", "1000")
    engine.run("update", "--publish-add", f"127.0.0.1:{port}:81", "later")
    engine.run("start", "later")
    assert engine.out("port", "later") == f"81/tcp -> 127.0.0.1:{port}"
    engine.run("rm", "-f", "later")
