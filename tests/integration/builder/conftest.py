"""An engine for builds."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from typing import Any

import pytest

import rig
import unixhttp
from rig import Engine


@pytest.fixture(scope="session")
def builds(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine that the tests of builds share."""
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with rig.running(tmp_path_factory.mktemp("builds"), f"fkb{os.getpid()}") as engine:
        yield engine
        found = rig.leftovers(engine)
        assert not any(found.values()), found
        assert not list((engine.exec / "build").iterdir())


@pytest.fixture(scope="session")
def second(builds: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """Another engine with the same base image, which has built nothing."""
    with rig.running(tmp_path_factory.mktemp("second"), f"fks{os.getpid()}") as engine:
        engine.run("rmi", "-f", "busybox")
        engine.run("load", stdin=builds.run("save", "busybox").stdout)
        yield engine


@pytest.fixture(scope="session")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a registry of our own."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    root = tmp_path_factory.mktemp("registry")
    process = subprocess.Popen(
        [rig.BIN / "firkin", "registry", "serve", "--listen", f"127.0.0.1:{port}", "--data", root],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        deadline = time.monotonic() + 30
        while True:
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/v2/").close()
                break
            except OSError:
                assert time.monotonic() < deadline
                assert process.poll() is None
                time.sleep(0.05)
        yield f"127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(20)


class Answer:
    """What a build said: its messages, and what follows from them."""

    def __init__(self, status: int, text: str) -> None:
        self.status = status
        self.messages: list[dict[str, Any]] = [
            json.loads(line) for line in text.splitlines() if line.strip()
        ]
        self.log = "".join(str(m.get("stream", "")) for m in self.messages)
        self.error = next((m["error"] for m in self.messages if "error" in m), "")
        if status != 200:
            self.error = self.messages[0]["message"]
        self.image = next((m["aux"]["ID"] for m in self.messages if "aux" in m), "")

    @property
    def cached(self) -> int:
        return self.log.count("---> Using cache")


def build(engine: Engine, tar: bytes, **query: Any) -> Answer:
    """POST /build, as any client does it."""
    words = {
        name: json.dumps(value) if isinstance(value, dict) else str(value)
        for name, value in query.items()
        if not isinstance(value, list)
    }
    pairs = [
        *words.items(),
        *((n, v) for n, vs in query.items() if isinstance(vs, list) for v in vs),
    ]
    connection = unixhttp.Connection(engine.socket, timeout=300)
    try:
        headers = {"Content-Type": "application/x-tar"}
        connection.request("POST", f"/v1.47/build?{urllib.parse.urlencode(pairs)}", tar, headers)
        answer = connection.getresponse()
        return Answer(answer.status, answer.read().decode())
    finally:
        connection.close()


def save(engine: Engine, name: str) -> bytes:
    """An image as an archive."""
    connection = unixhttp.Connection(engine.socket, timeout=300)
    try:
        connection.request("GET", f"/images/{name}/get")
        answer: http.client.HTTPResponse = connection.getresponse()
        assert answer.status == 200
        return answer.read()
    finally:
        connection.close()
