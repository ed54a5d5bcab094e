"""Authorization plug-ins: what they are told, what they forbid, and what their failures forbid."""

from __future__ import annotations

import base64
import http.server
import json
import os
import shutil
import signal
import socketserver
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import keys
import rig
import unixhttp
from rig import Engine

pytestmark = pytest.mark.root

FOLDER = Path("/run/docker/plugins")
ALLOW = {"Allow": True}


class Plugin:
    """An authorization plug-in; ``judge`` gets the method and the question."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.path = FOLDER / f"{name}.sock"
        self.asked: list[tuple[str, dict[str, Any]]] = []
        self.judge: Callable[[str, dict[str, Any]], Any] = lambda method, question: ALLOW
        self._server: socketserver.ThreadingUnixStreamServer | None = None

    def start(self) -> None:
        FOLDER.mkdir(parents=True, exist_ok=True)
        self.path.unlink(missing_ok=True)
        plugin = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def address_string(self) -> str:
                return "engine"

            def log_message(self, format: str, *args: Any) -> None:
                pass

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
                if self.path == "/Plugin.Activate":
                    answer: Any = {"Implements": ["authz"]}
                else:
                    question = json.loads(body)
                    plugin.asked.append((self.path.rpartition(".")[2], question))
                    answer = plugin.judge(self.path.rpartition(".")[2], question)
                data = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
                self.send_response(200)
                self.send_header("Content-Length", str(len(data)))
                self.end_headers()
                self.wfile.write(data)

        self._server = socketserver.ThreadingUnixStreamServer(str(self.path), Handler)
        self._server.daemon_threads = True
        threading.Thread(target=self._server.serve_forever, args=(0.05,), daemon=True).start()

    def stop(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._server = None


@pytest.fixture(scope="module")
def plugin() -> Iterator[Plugin]:
    made = Plugin(f"fkz{os.getpid()}")
    made.start()
    yield made
    made.stop()
    made.path.unlink(missing_ok=True)


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory, plugin: Plugin) -> Iterator[Engine]:
    pki = keys.authority(tmp_path_factory.mktemp("pki"), "server", "alice")
    engine = Engine(tmp_path_factory.mktemp("engine"), f"fkz{os.getpid()}")
    engine.pki = pki  # type: ignore[attr-defined]
    try:
        engine.start(
            "--authorization-plugin", plugin.name, "-H", "tcp://127.0.0.1:0", "--tlsverify",
            "--tlscacert", str(pki / "ca.pem"), "--tlscert", str(pki / "server.pem"),
            "--tlskey", str(pki / "server.key"),
        )  # fmt: skip
        engine.add_busybox()
        yield engine
    finally:
        plugin.judge = lambda method, question: ALLOW
        if engine.process and engine.process.poll() is None:
            engine.end()
        rig.clear(engine)


@pytest.fixture
def engine(started: Engine, plugin: Plugin) -> Iterator[Engine]:
    plugin.asked.clear()
    plugin.judge = lambda method, question: ALLOW
    yield started
    plugin.judge = lambda method, question: ALLOW


def test_what_a_plugin_is_told(engine: Engine, plugin: Plugin) -> None:
    body = {"Image": "busybox", "Cmd": ["true"]}
    connection = unixhttp.Connection(engine.socket)
    headers = {"Content-Type": "application/json", "X-Registry-Auth": "c2VjcmV0", "X-Other": "y"}
    target = "/v1.45/containers/create?name=told"
    connection.request("POST", target, json.dumps(body), headers)
    assert connection.getresponse().status == 201
    connection.close()
    # A streamed answer is asked about when it is out: an earlier command's may come only now.
    (first, request), (second, response) = [
        one for one in plugin.asked if one[1]["RequestUri"] == target
    ]
    assert (first, second) == ("AuthZReq", "AuthZRes")
    assert request["RequestMethod"] == "POST"
    assert request["RequestUri"] == target
    assert json.loads(base64.b64decode(request["RequestBody"])) == body
    assert request["RequestHeaders"]["X-Other"] == "y"
    assert "c2VjcmV0" not in json.dumps(plugin.asked)
    assert response["ResponseStatusCode"] == 201
    assert "Id" in json.loads(base64.b64decode(response["ResponseBody"]))
    assert unixhttp.ask(engine.socket, "GET", "/info")[1]["Plugins"]["Authorization"] == [
        plugin.name
    ]
    engine.run("rm", "told")


def test_who_asks(engine: Engine, plugin: Plugin, tmp_path: Path) -> None:
    pki: Path = engine.pki  # type: ignore[attr-defined]
    log = (engine.directory / "log").read_text()
    port = log.partition("listen on tcp://127.0.0.1:")[2].split()[0]
    program = shutil.which("docker") or str(rig.BIN / "firkin")
    done = subprocess.run(
        [program, "-H", f"tcp://127.0.0.1:{port}", "--tlsverify", "--tlscacert", pki / "ca.pem",
         "--tlscert", pki / "alice.pem", "--tlskey", pki / "alice.key", "ps"],
        env={"PATH": os.environ["PATH"], "DOCKER_CONFIG": str(tmp_path)}, capture_output=True,
        timeout=60,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    _, question = plugin.asked[-1]
    assert (question["User"], question["UserAuthNMethod"]) == ("alice", "TLS")
    pem = base64.b64decode(question["RequestPeerCertificates"][0])
    assert pem.startswith(b"-----BEGIN CERTIFICATE-----")


def test_a_request_is_denied(engine: Engine, plugin: Plugin) -> None:
    def judge(method: str, question: dict[str, Any]) -> Any:
        body = json.loads(base64.b64decode(question.get("RequestBody", "")) or "{}")
        if (body.get("HostConfig") or {}).get("Privileged"):
            return {"Allow": False, "Msg": "no privileged containers here"}
        return ALLOW

    plugin.judge = judge
    words = f"authorization denied by plugin {plugin.name}: no privileged containers here"
    for client in ("firkin", "docker"):
        if client == "docker" and shutil.which("docker") is None:
            continue
        done = engine.run("run", "--privileged", "busybox", "true", client=client, check=False)
        assert (done.returncode, words in done.stderr.decode()) == (125, True), done.stderr
        engine.run("run", "--rm", "--network=none", "busybox", "true", client=client)
    assert engine.out("ps", "-aq") == ""
    # A body that the plug-in does not see is not taken either.
    connection = unixhttp.Connection(engine.socket)
    body = json.dumps({"Image": "busybox", "HostConfig": {"Privileged": True}})
    connection.request("POST", "/containers/create", body, {"Content-Type": "text/plain"})
    answer = connection.getresponse()
    assert (answer.status, b"unsupported Content-Type" in answer.read()) == (400, True)
    huge = json.dumps({"Image": "x" * (5 << 20)})
    status, _ = unixhttp.ask(engine.socket, "POST", "/containers/create", huge)
    assert status == 400


def test_an_answer_is_denied(engine: Engine, plugin: Plugin) -> None:
    plugin.judge = lambda method, question: (
        {"Allow": False, "Msg": "not to be seen"} if method == "AuthZRes" else ALLOW
    )
    status, answer = unixhttp.ask(engine.socket, "GET", "/images/json")
    assert (status, answer["message"]) == (
        403, f"authorization denied by plugin {plugin.name}: not to be seen"
    )  # fmt: skip


def test_streams_and_uploads_pass(engine: Engine, plugin: Plugin) -> None:
    said = engine.run("run", "--rm", "-i", "--network=none", "busybox", "cat", stdin=b"z" * 500_000)
    assert said.stdout == b"z" * 500_000
    saved = engine.run("save", "busybox").stdout
    assert b"busybox" in engine.run("load", stdin=saved).stdout
    assert all("RequestBody" not in q for _, q in plugin.asked if "/images/load" in q["RequestUri"])


@pytest.mark.parametrize("answer", [{"Err": "it broke"}, b"not json", {"Allow": "yes"}, {}])
def test_what_is_no_permission(engine: Engine, plugin: Plugin, answer: Any) -> None:
    plugin.judge = lambda method, question: answer
    status, said = unixhttp.ask(engine.socket, "GET", "/containers/json")
    if answer == {}:
        assert (status, said["message"]) == (403, f"authorization denied by plugin {plugin.name}: ")
    else:
        assert status == 500
        assert said["message"].startswith(
            f"plugin {plugin.name} failed with error: AuthZPlugin.Auth"
        )


def test_a_plugin_that_is_down(engine: Engine, plugin: Plugin) -> None:
    plugin.stop()
    try:
        status, said = unixhttp.ask(engine.socket, "GET", "/containers/json")
        assert status == 500
        assert f"plugin {plugin.name} failed with error" in said["message"]
        plugin.path.unlink()
        assert unixhttp.ask(engine.socket, "GET", "/containers/json")[0] == 500
    finally:
        plugin.start()
    assert unixhttp.ask(engine.socket, "GET", "/containers/json")[0] == 200


def test_switched_on_by_sighup(tmp_path: Path, plugin: Plugin) -> None:
    engine = Engine(tmp_path, f"fky{os.getpid()}")
    plugin.asked.clear()
    plugin.judge = lambda method, question: {"Allow": False, "Msg": "all is forbidden"}
    try:
        engine.start()
        assert plugin.asked == []
        assert engine.process
        (tmp_path / "daemon.json").write_text(json.dumps({"authorization-plugins": [plugin.name]}))
        engine.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 30
        while unixhttp.ask(engine.socket, "GET", "/_ping")[0] != 403:
            assert time.monotonic() < deadline
            time.sleep(0.05)
        (tmp_path / "daemon.json").write_text("{}")
        engine.process.send_signal(signal.SIGHUP)
        while unixhttp.ask(engine.socket, "GET", "/_ping")[0] != 200:
            assert time.monotonic() < deadline
            time.sleep(0.05)
    finally:
        plugin.judge = lambda method, question: ALLOW
        if engine.process and engine.process.poll() is None:
            engine.end()
        rig.clear(engine)


def test_a_plugin_that_is_not_there(tmp_path: Path) -> None:
    done = subprocess.run(
        [rig.BIN / "firkind", "--data-root", tmp_path / "data", "--exec-root", tmp_path / "exec",
         "--config-file", "/dev/null", "-H", f"unix://{tmp_path}/s",
         "--authorization-plugin", "nix"],
        capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert "--authorization-plugin nix: plugin 'nix' not found" in done.stderr.decode()
