"""The volume plug-in protocol, spoken by a plug-in that is a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import rig
import unixhttp

pytestmark = pytest.mark.root

PLUGIN = """
import http.server, json, os, socketserver, sys, time
path, root, log = sys.argv[1:4]
class Handler(http.server.BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    def address_string(self): return "client"
    def log_message(self, *words): pass
    def do_POST(self):
        data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        asked = json.loads(data or b"{}")
        method = self.path.rpartition(".")[2]
        with open(log, "a") as file:
            file.write(f"{method} {json.dumps(asked)}\\n")
        if os.path.exists(root + "/hang"):
            time.sleep(3600)
        name = asked.get("Name", "")
        place = f"{root}/{name}"
        answer = {}
        if method == "Activate":
            answer = {"Implements": ["VolumeDriver"]}
        elif method == "Capabilities":
            answer = {"Capabilities": {"Scope": "global"}}
        elif method == "Create":
            if asked.get("Opts", {}).get("bad"):
                answer = {"Err": "no such option here"}
            else:
                os.makedirs(place, exist_ok=True)
        elif method == "List":
            answer = {"Volumes": [{"Name": n} for n in sorted(os.listdir(root))]}
        elif not os.path.isdir(place):
            answer = {"Err": "volume not found"}
        elif method == "Remove":
            os.rename(place, place + ".gone"); os.system(f"rm -r {place}.gone")
        elif method in ("Mount", "Path"):
            answer = {"Mountpoint": place}
        elif method == "Get":
            answer = {"Volume": {"Name": name, "Mountpoint": place, "Status": {"healthy": "yes"}}}
        body = json.dumps({"Err": "", **answer}).encode()
        if os.path.exists(f"{root}.{method}"):
            body = open(f"{root}.{method}", "rb").read()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
class Server(socketserver.ThreadingMixIn, socketserver.UnixStreamServer):
    daemon_threads = True
Server(path, Handler).serve_forever()
"""


class Plugin:
    """The plug-in's process and what it was asked."""

    def __init__(self, directory: Path) -> None:
        self.name = f"fktest{os.getpid()}"
        self.root = directory / "volumes"
        self.root.mkdir()
        self.log = directory / "asked"
        self.socket = Path("/run/docker/plugins") / f"{self.name}.sock"
        self.socket.parent.mkdir(parents=True, exist_ok=True)
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        words = [sys.executable, "-c", PLUGIN, self.socket, self.root, self.log]
        self.process = subprocess.Popen([str(word) for word in words])
        assert rig.settled(self.socket.exists)

    def stop(self, *, keep_socket: bool = False) -> None:
        if self.process:
            self.process.kill()
            self.process.wait()
        if not keep_socket:
            self.socket.unlink(missing_ok=True)

    def asked(self, method: str) -> list[dict[str, str]]:
        """The arguments of every call of a method."""
        lines = self.log.read_text().splitlines()
        return [json.loads(w[1]) for line in lines if (w := line.split(" ", 1))[0] == method]


@pytest.fixture
def plugin(engine: rig.Engine, tmp_path: Path) -> Iterator[Plugin]:
    made = Plugin(tmp_path)
    made.start()
    yield made
    if names := engine.out("volume", "ls", "-qf", f"driver={made.name}").split():
        engine.run("volume", "rm", "-f", *names)
    made.stop()


def test_life_of_a_plugin_volume(engine: rig.Engine, plugin: Plugin) -> None:
    for client in ("firkin", "docker"):
        engine.run("volume", "create", "-d", plugin.name, "-o", "key=value", "data", client=client)
        found = json.loads(engine.out("volume", "inspect", "data", client=client))[0]
        assert found["Driver"] == plugin.name and found["Scope"] == "global"
        assert found["Mountpoint"] == str(plugin.root / "data")
        assert found["Status"] == {"healthy": "yes"} and found["Options"] == {"key": "value"}
        line = f"{plugin.name}   data"
        assert line.split() in [
            row.split() for row in engine.out("volume", "ls", client=client).splitlines()
        ]
        words = ["--rm", "-v", "data:/d", "busybox", "sh", "-c", "echo written >/d/f"]
        engine.run("run", *words, client=client)
        assert (plugin.root / "data/f").read_text() == "written\n"
        assert len(plugin.asked("Mount")) == len(plugin.asked("Unmount")) > 0
        assert all(call["ID"] for call in plugin.asked("Mount"))
        engine.run("volume", "rm", "data", client=client)
        assert not (plugin.root / "data").exists()
    assert plugin.asked("Create")[0] == {"Name": "data", "Opts": {"key": "value"}}
    done = engine.run("volume", "create", "-d", plugin.name, "-o", "bad=1", "xx", check=False)
    assert b"no such option here" in done.stderr
    assert plugin.name in engine.out("info", "-f", "{{.Plugins.Volume}}")


def test_driver_by_flag_and_volumes_of_others(engine: rig.Engine, plugin: Plugin) -> None:
    (plugin.root / "foreign").mkdir()
    (plugin.root / "foreign" / "f").write_text("theirs")
    flags = ["--rm", "--volume-driver", plugin.name, "-v", "made:/m"]
    engine.run("run", *flags, "busybox", "touch", "/m/x")
    assert (plugin.root / "made/x").exists()
    assert "foreign" in engine.out("volume", "ls", "-q").split()
    words = ["--rm", "-v", "foreign:/f", "busybox", "cat", "/f/f"]
    assert engine.out("run", *words) == "theirs"
    engine.run("volume", "prune", "-af")
    assert (plugin.root / "foreign").exists() and (plugin.root / "made").exists()


def test_a_plugin_that_is_down_gives_an_error(engine: rig.Engine, plugin: Plugin) -> None:
    engine.run("volume", "create", "-d", plugin.name, "data")
    engine.run("run", "-d", "--name", "box", "-v", "data:/d", "busybox", "sleep", "999")
    plugin.stop(keep_socket=True)
    done = engine.run("run", "--rm", "-v", "data:/d", "busybox", "true", check=False)
    # it is mounted already, which needs no plug-in
    assert done.returncode == 0, done.stderr
    engine.run("rm", "-f", "box")
    for words in (
        ["run", "--rm", "-v", "data:/d", "busybox"], ["volume", "inspect", "data"],
        ["volume", "rm", "data"], ["volume", "create", "-d", plugin.name, "more"],
    ):  # fmt: skip
        begun = time.monotonic()
        done = engine.run(*words, check=False)
        assert done.returncode and plugin.name.encode() in done.stderr, (words, done)
        assert time.monotonic() - begun < 60
    status, found = unixhttp.ask(engine.socket, "GET", "/v1.44/volumes")
    assert status == 200 and found["Warnings"]
    plugin.stop()
    plugin.start()
    assert engine.run("volume", "inspect", "data")
    engine.run("volume", "rm", "data")


def test_a_plugin_that_hangs_delays_only_its_users(engine: rig.Engine, plugin: Plugin) -> None:
    engine.run("volume", "create", "-d", plugin.name, "data")
    (plugin.root / "hang").touch()
    words = [str(rig.BIN / "firkin"), "volume", "inspect", "data"]
    waiting = subprocess.Popen(
        words, env=engine.environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    engine.run("run", "--rm", "-v", "ours:/o", "busybox", "true")
    engine.run("volume", "create", "other")
    assert waiting.poll() is None
    waiting.kill()
    waiting.communicate()
    plugin.stop()
    (plugin.root / "hang").unlink()
    plugin.start()
    engine.run("volume", "rm", "data")


@pytest.mark.parametrize(
    "lie",
    [
        b"", b"{", b"[]", b"null", b'"text"', b'{"Mountpoint": 5}', b'{"Mountpoint": "relative"}',
        b'{"Mountpoint": ""}', b'{"Mountpoint": "/no/such/place"}', b"<html>", b"\xff\xfe",
        b'{"Err": "' + b"x" * (32 << 20) + b'"}', b'{"Mountpoint": "/' + b"m" * 5000 + b'"}',
    ],
    ids=lambda lie: lie[:24].decode("ascii", "replace"),
)  # fmt: skip
def test_a_plugin_that_lies(engine: rig.Engine, plugin: Plugin, lie: bytes) -> None:
    engine.run("volume", "create", "-d", plugin.name, "told")
    said = plugin.root.with_name(plugin.root.name + ".Mount")
    said.write_bytes(lie)
    failed = engine.run("run", "--rm", "-v", "told:/x", "busybox", "true", check=False)
    assert failed.returncode in (125, 126, 127), failed
    assert b"told" in failed.stderr or plugin.name.encode() in failed.stderr, failed.stderr[:500]
    assert len(failed.stderr) < 5000
    assert not engine.out("ps", "-aq")
    said.unlink()
    engine.run("run", "--rm", "-v", "told:/x", "busybox", "touch", "/x/file")
    for method in ("List", "Get"):
        said = plugin.root.with_name(f"{plugin.root.name}.{method}")
        said.write_bytes(lie)
        assert unixhttp.ask(engine.socket, "GET", "/volumes")[0] == 200
        status, _ = unixhttp.ask(engine.socket, "GET", "/volumes/told")
        assert status in (200, 404, 500, 503), status
        said.unlink()
    engine.run("volume", "rm", "told")


def test_running_containers_outlive_the_engine(engine: rig.Engine, plugin: Plugin) -> None:
    engine.run("volume", "create", "-d", plugin.name, "data")
    engine.run("run", "-d", "--name", "box", "-v", "data:/d", "busybox", "sleep", "999")
    engine.end(9)
    engine.start()
    engine.run("exec", "box", "touch", "/d/after")
    before = len(plugin.asked("Unmount"))
    engine.run("rm", "-f", "box")
    assert len(plugin.asked("Unmount")) == before + 1
    engine.run("volume", "rm", "data")


def test_a_missing_plugin(engine: rig.Engine) -> None:
    body = {"Name": "xx", "Driver": "no-such-driver"}
    status, answer = unixhttp.ask(engine.socket, "POST", "/v1.44/volumes/create", body)
    assert status == 404 and "no-such-driver" in answer["message"]
