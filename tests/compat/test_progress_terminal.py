"""The lines of layers: what both clients draw of the same messages, to the byte, at any width."""

from __future__ import annotations

import http.server
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import terminal

from rig import BIN, Engine

pytestmark = pytest.mark.skipif(shutil.which("docker") is None, reason="needs the official client")

MESSAGES = [
    b'{"status":"Pulling from library/x","id":"latest"}',
    b'{"status":"Pulling fs layer","progressDetail":{},"id":"aaaaaaaaaaaa"}',
    b'{"status":"Waiting","progressDetail":{},"id":"bbbbbbbbbbbb"}',
    b'{"status":"Downloading","progressDetail":{"current":1000,"total":4000000},'
    b'"id":"aaaaaaaaaaaa"}',
    b'{"status":"Downloading","progressDetail":{"current":2000000,"total":4000000},'
    b'"id":"aaaaaaaaaaaa"}',
    b'{"status":"Downloading","progressDetail":{"current":30000000},"id":"bbbbbbbbbbbb"}',
    b'{"status":"Verifying Checksum","progressDetail":{},"id":"aaaaaaaaaaaa"}',
    b'{"status":"Extracting","progressDetail":{"current":3,"units":"s"},"id":"aaaaaaaaaaaa"}',
    b'{"status":"Extracting","progressDetail":{"current":5,"total":9,"units":"files"},'
    b'"id":"bbbbbbbbbbbb"}',
    b'{"status":"Hidden","progressDetail":{"current":5,"total":9,"hidecounts":true},'
    b'"id":"cccccccccccc"}',
    b'{"status":"Over","progressDetail":{"current":50,"total":10},"id":"cccccccccccc"}',
    b'{"status":"Pull complete","progressDetail":{},"id":"aaaaaaaaaaaa"}',
    b'{"status":"Layer already exists","id":"dddddddddddd"}',
    b'{"stream":"some text\\n"}',
    b'{"status":"From elsewhere","from":"registry","id":"eeeeeeeeeeee"}',
    b'{"status":"Of nothing","progressDetail":{"current":5,"total":10}}',
    b'{"status":"Old","progress":"[==>  ] 5B/10B","id":"ffffffffffff"}',
    b'{"status":"Digest: sha256:0123"}',
]


class Handler(http.server.BaseHTTPRequestHandler):
    """Answers a pull and a push with these messages, and everything else with nothing."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self._answer(b"")

    def do_GET(self) -> None:
        self._answer(b'{"IndexServerAddress":"https://index.docker.io/v1/"}')

    def do_POST(self) -> None:
        self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self._answer(b"\r\n".join(MESSAGES) + b"\r\n")

    def _answer(self, body: bytes) -> None:
        self.send_response(200)
        for name, value in (("Api-Version", "1.50"), ("Ostype", "linux"),
                            ("Content-Length", str(len(body)))):  # fmt: skip
            self.send_header(name, value)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:
        pass


@pytest.fixture
def script(tmp_path: Path) -> Iterator[Engine]:
    """Something that clients take for an engine."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    engine = Engine(tmp_path, "none")
    engine.host = f"tcp://127.0.0.1:{server.server_port}"
    yield engine
    server.shutdown()
    thread.join()
    server.server_close()


def drawn(engine: Engine, client: str, words: tuple[str, ...], columns: int) -> bytes:
    """Every byte that a client writes to its terminal."""
    screen = terminal.Terminal(engine, client, *words, cols=columns)
    try:
        assert screen.wait() == 0
        os.set_blocking(screen.master, False)
        try:
            while more := os.read(screen.master, 65536):
                screen.seen += more
        except BlockingIOError:
            pass
        return screen.seen
    finally:
        screen.close()


@pytest.mark.parametrize("columns", [30, 49, 80, 110, 111, 200])
@pytest.mark.parametrize("words", [("pull", "x"), ("push", "x"), ("pull", "-q", "x")])
def test_at_a_terminal(script: Engine, words: tuple[str, ...], columns: int) -> None:
    ours = drawn(script, "firkin", words, columns)
    assert ours == drawn(script, "docker", words, columns)
    assert (b"\x1b[1A" in ours) is ("-q" not in words)


@pytest.mark.parametrize("variable", ["TERM=dumb", "TERM=", "NO_COLOR=1"])
def test_whatever_the_terminal_is_called(
    script: Engine, variable: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, _, value = variable.partition("=")
    monkeypatch.setenv(name, value)
    words = ("pull", "x")
    assert drawn(script, "firkin", words, 80) == drawn(script, "docker", words, 80)


def test_in_a_pipe(script: Engine) -> None:
    def said(client: str, *words: str) -> bytes:
        done = subprocess.run(
            [client, *words], env=script.environment(), capture_output=True, check=True
        )
        return done.stdout

    for words in (("pull", "x"), ("push", "x")):
        assert said(str(BIN / "firkin"), *words) == said("docker", *words)
