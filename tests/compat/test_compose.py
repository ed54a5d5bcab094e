"""Docker Compose as a plug-in of the client: an application on networks and volumes of its own."""

from __future__ import annotations

import json
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

import cliplugins
import rig
from rig import Engine

pytestmark = pytest.mark.root

PLUGIN = cliplugins.find("compose")

APPLICATION = """
services:
  web:
    image: busybox
    command: sh -c "echo serving; mkdir -p /www; cp /data/page /www/index.html; httpd -f -h /www"
    ports: ["127.0.0.1::80"]
    volumes: ["data:/data"]
    depends_on: {prepare: {condition: service_completed_successfully}}
    healthcheck: {test: [CMD, test, -e, /www/index.html], interval: 1s, retries: 30}
    networks: {front: {aliases: [site]}}
  prepare:
    image: busybox
    command: sh -c "echo $$GREETING > /data/page"
    environment: {GREETING: hello from a volume}
    volumes: ["data:/data"]
    network_mode: none
  client:
    image: busybox
    depends_on: {web: {condition: service_healthy}}
    command: sh -c "wget -qO- http://site/; exec sleep 1000"
    init: true
    networks: [front]
networks: {front: {}}
volumes: {data: {}}
"""


class Compose:
    """``firkin compose`` or ``docker compose`` in a directory."""

    def __init__(self, engine: Engine, client: str, directory: Path) -> None:
        self.engine = engine
        self.program = str(rig.BIN / "firkin") if client == "firkin" else client
        self.config = directory / "config"
        self.directory = directory / "application"
        self.directory.mkdir()
        (self.config / "cli-plugins").mkdir(parents=True)
        assert PLUGIN is not None
        (self.config / "cli-plugins/docker-compose").symlink_to(PLUGIN)
        (self.directory / "compose.yaml").write_text(APPLICATION)

    def __call__(self, *words: str, check: bool = True) -> str:
        done = subprocess.run(
            [self.program, "compose", *words], cwd=self.directory, text=True, capture_output=True,
            env={**self.engine.environment(), "DOCKER_CONFIG": str(self.config)}, timeout=120,
        )  # fmt: skip
        assert done.returncode == 0 or not check, (words, done.stdout, done.stderr)
        return done.stdout.strip()


@pytest.fixture
def compose(engine: Engine, client: str, tmp_path: Path) -> Iterator[Compose]:
    if PLUGIN is None:
        pytest.skip("docker-compose is not installed as a plug-in: see scripts/cli-plugins")
    made = Compose(engine, client, tmp_path)
    yield made
    made("down", "-v", "-t", "0", check=False)


def test_an_application(engine: Engine, compose: Compose) -> None:
    assert "Docker Compose version" in compose("version")
    compose("up", "-d")
    found = {
        one["Service"]: one
        for one in map(json.loads, compose("ps", "-a", "--format", "json").splitlines())
    }
    assert {name: one["State"] for name, one in found.items()} == {
        "web": "running", "prepare": "exited", "client": "running"
    }  # fmt: skip
    assert found["web"]["Health"] == "healthy"
    address = compose("port", "web", "80")
    with urllib.request.urlopen(f"http://{address}/", timeout=30) as answer:
        assert answer.read() == b"hello from a volume\n"
    assert "hello from a volume" in compose("logs", "--no-log-prefix", "client")
    assert compose("exec", "-T", "client", "wget", "-qO-", "http://web/") == "hello from a volume"
    assert compose("run", "--rm", "-T", "client", "echo", "once") == "once"
    assert "httpd" in compose("top", "web")
    compose("cp", "compose.yaml", "web:/tmp/")
    assert "compose.yaml" in compose("exec", "-T", "web", "ls", "/tmp")

    compose("up", "-d", "--scale", "client=2")
    assert len(compose("ps", "-q", "client").splitlines()) == 2
    compose("pause", "client")
    assert compose("ps", "--status", "paused", "--services") == "client"
    compose("unpause", "client")
    compose("restart", "-t", "0", "client")
    compose("stop", "-t", "0", "web")
    assert compose("ps", "--status", "running", "--services") == "client"

    # Another configuration makes the container anew, and leaves the others alone.
    before = compose("ps", "-aq", "web")
    text = (compose.directory / "compose.yaml").read_text()
    (compose.directory / "compose.yaml").write_text(text.replace("init: true", "hostname: other"))
    compose("up", "-d", "--scale", "client=1")
    assert compose("exec", "-T", "client", "hostname") == "other"
    assert compose("ps", "-aq", "web") == before

    compose("down", "-v", "-t", "0")
    assert engine.out("ps", "-aq") == ""
    assert "application_" not in engine.out("network", "ls") + engine.out("volume", "ls")


def test_in_the_foreground(engine: Engine, compose: Compose) -> None:
    (compose.directory / "compose.yaml").write_text(
        "services:\n"
        '  job: {image: busybox, command: sh -c "echo working; sleep 1; exit 3"}\n'
        "  other: {image: busybox, command: sleep 1000, init: true}\n"
    )
    done = subprocess.run(
        [compose.program, "compose", "up", "-t", "0", "--exit-code-from", "job"],
        cwd=compose.directory, text=True, capture_output=True, timeout=120,
        env={**engine.environment(), "DOCKER_CONFIG": str(compose.config)},
    )  # fmt: skip
    assert done.returncode == 3, done.stderr
    assert "working" in done.stdout
