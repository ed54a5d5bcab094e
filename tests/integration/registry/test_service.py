"""What a service needs around it: notifications, metrics, access log, health, search, commands."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import threading
import time
import tomllib
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest

import registryrig as rig
from firkin.registry import config

ROOT = Path(__file__).resolve().parents[3]


class Hook(ThreadingHTTPServer):
    """Takes notifications; the next ``failing`` of them with an error."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.failing = 0
        self.got: list[dict[str, Any]] = []
        self.headers: dict[str, str] = {}

    def wait(self, count: int) -> list[dict[str, Any]]:
        deadline = time.monotonic() + 30
        while len(self.got) < count:
            assert time.monotonic() < deadline, self.got
            time.sleep(0.05)
        return self.got


class _Handler(BaseHTTPRequestHandler):
    server: Hook

    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if self.server.failing > 0:
            self.server.failing -= 1
            self.send_response(500)
        else:
            self.server.got += json.loads(body)["events"]
            self.server.headers = dict(self.headers)
            self.send_response(200)
        self.end_headers()

    def log_message(self, *words: object) -> None:
        pass


@pytest.fixture
def hook() -> Iterator[Hook]:
    server = Hook()
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield server
    server.shutdown()
    server.server_close()


def test_notifications(hook: Hook, tmp_path: Path) -> None:
    text = f"""
    [[notifications]]
    url = "http://127.0.0.1:{hook.server_port}/hook"
    headers = {{ Authorization = "Bearer x" }}
    """
    hook.failing = 2
    with rig.serving(tmp_path, text) as server:
        digest = server.http.push_image("a/b", "v1")
        server.http.ask("DELETE", "/v2/a/b/manifests/v1")
        server.http.ask("DELETE", f"/v2/a/b/manifests/{digest}")
        push, untag, delete = hook.wait(3)  # in order, though the first tries failed
        assert hook.headers["Authorization"] == "Bearer x"
        assert hook.headers["Content-Type"].startswith("application/vnd.docker.distribution.events")
        assert [e["action"] for e in (push, untag, delete)] == ["push", "delete", "delete"]
        target = push["target"]
        assert (target["repository"], target["tag"], target["digest"]) == ("a/b", "v1", digest)
        assert target["mediaType"] == rig.OCI_MANIFEST
        assert target["size"] > 0
        assert untag["target"]["tag"] == "v1"
        assert delete["target"]["digest"] == digest
        hook.failing = 1_000_000
        server.http.push_image("a/b", "v2")
        server.end(signal.SIGKILL)
        hook.failing = 0
        server.start()  # what was queued is delivered by the next one
        assert hook.wait(4)[3]["target"]["tag"] == "v2"


def test_metrics_and_access_log(tmp_path: Path) -> None:
    log = tmp_path / "access.log"
    text = 'public_metrics = true\n[auth]\nmode = "users"\n'
    with rig.serving(tmp_path, text, "--access-log", str(log), "--workers", "2") as server:
        server.run("user", "--admin", "--password-stdin", "--", "add", "ann", stdin="pw\n")
        ann = rig.Http("127.0.0.1", server.port, rig.basic("ann", "pw"))
        ann.push_image("a", "v1", b"layer")
        for _ in range(20):
            ann.get(f"/v2/a/blobs/{rig.digest(b'layer')}")
        ann.get("/v2/secret-name?token=x")
        page = server.http.get("/metrics").body.decode()
        # Both workers together.
        assert 'firkin_registry_requests_total{method="GET",route="blob",status="200"} 20.0' in page
        assert "firkin_registry_blobs 2.0" in page
        assert "firkin_registry_request_seconds_bucket" in page
        assert "secret-name" not in page
        server.end()
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        first = next(line for line in lines if line["method"] == "PUT")
        assert (first["user"], first["status"], first["remote"]) == ("ann", 201, "127.0.0.1")
        assert first["path"].startswith("/v2/a/blobs/uploads/")
        assert first["seconds"] > 0
        assert sum(line["method"] == "GET" and line["status"] == 200 for line in lines) >= 20


def test_metrics_need_a_name(tmp_path: Path) -> None:
    with rig.serving(tmp_path, '[auth]\nmode = "users"\n') as server:
        assert server.http.get("/metrics").status == 401
        assert server.http.get("/health").status == 200


def test_search(tmp_path: Path) -> None:
    with rig.serving(tmp_path, "") as server:
        for name in ("library/busybox", "team/busy", "other"):
            server.http.push_image(name, "v1")
        found = server.http.get("/v1/search?q=busy&n=25").json
        assert [item["name"] for item in found["results"]] == ["team/busy", "library/busybox"]
        assert set(found["results"][0]) >= {"description", "star_count", "is_official"}
        assert found["num_results"] == 2
        assert len(server.http.get("/v1/search?q=&n=1").json["results"]) == 1


def test_the_documented_configuration_is_the_default() -> None:
    text = (ROOT / "packaging/registry/registry.toml").read_text()
    assert config.convert(tomllib.loads(text)) == config.Config()
    examples = "\n".join(
        line.removeprefix("# ") if line.startswith("# ") and ("=" in line or "[[" in line) else ""
        for line in text.splitlines()
    )
    made = config.convert(tomllib.loads(examples))
    assert made.auth.rights
    assert made.gc.retention
    assert made.notifications


def test_the_client_starts_it(tmp_path: Path) -> None:
    firkin = Path(sys.executable).parent / "firkin"
    words = [firkin, "registry", "user", "--data", tmp_path / "d", "--password-stdin",
             "--right", "a/*:pull", "--right", "b:*", "add", "bob"]  # fmt: skip
    done = subprocess.run(words, input="pw\n", capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    listed = subprocess.run(
        [firkin, "registry", "user", "--data", tmp_path / "d", "ls"],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert "a/*:pull b:pull,push,delete" in listed.stdout
    for wrong in (["add"], ["rm", "nobody"], ["x"], ["--right", "x", "add", "c"]):
        done = subprocess.run(
            [firkin, "registry", "user", "--data", tmp_path / "d", *wrong],
            input="pw\n", capture_output=True, text=True, check=False,
        )  # fmt: skip
        assert done.returncode == 1
        assert "Traceback" not in done.stderr
