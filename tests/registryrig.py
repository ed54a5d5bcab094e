"""A registry server of a test's own, and plain HTTP to talk to it."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
CONFIG = "application/vnd.oci.image.config.v1+json"
LAYER = "application/vnd.oci.image.layer.v1.tar"


class Answer:
    """A response, read to its end."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self.status = response.status
        self.headers = response.headers
        self.body = response.read()

    def __repr__(self) -> str:
        return f"<{self.status} {self.body[:300]!r}>"

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        """The error code of the distribution-spec."""
        return str(self.json["errors"][0]["code"])


def digest(data: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"


def basic(user: str, password: str) -> dict[str, str]:
    return {"Authorization": "Basic " + base64.b64encode(f"{user}:{password}".encode()).decode()}


class Http:
    """Requests to one server."""

    def __init__(self, host: str, port: int, headers: Mapping[str, str] | None = None) -> None:
        self.host = host
        self.port = port
        self.headers = dict(headers or {})

    def connection(self) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(self.host, self.port, timeout=60)

    def ask(
        self, method: str, target: str, body: Any = None, headers: Mapping[str, str] | None = None
    ) -> Answer:
        connection = self.connection()
        try:
            connection.request(method, target, body, {**self.headers, **(headers or {})})
            return Answer(connection.getresponse())
        finally:
            connection.close()

    def get(self, target: str, **headers: str) -> Answer:
        return self.ask("GET", target, None, {k.replace("_", "-"): v for k, v in headers.items()})

    def begin(self, name: str) -> str:
        """Begin an upload; returns where to send it."""
        answer = self.ask("POST", f"/v2/{name}/blobs/uploads/", b"")
        assert answer.status == 202, answer
        return str(answer.headers["Location"])

    def push_blob(self, name: str, data: bytes) -> str:
        found = digest(data)
        where = f"{self.begin(name)}?digest={found}"
        answer = self.ask("PUT", where, data, {"Content-Type": "application/octet-stream"})
        assert answer.status == 201, answer
        return found

    def push_manifest(
        self, name: str, reference: str, document: dict[str, Any], media_type: str = ""
    ) -> str:
        data = json.dumps(document).encode()
        kind = media_type or str(document["mediaType"])
        answer = self.ask(
            "PUT", f"/v2/{name}/manifests/{reference or digest(data)}", data, {"Content-Type": kind}
        )
        assert answer.status == 201, answer
        return str(answer.headers["Docker-Content-Digest"])

    def push_image(self, name: str, reference: str, *layers: bytes, **extra: Any) -> str:
        """Push an image of these layers; returns its digest."""
        config = json.dumps({"architecture": "amd64", "os": "linux"}).encode()
        for blob in (config, *layers):
            self.push_blob(name, blob)
        return self.push_manifest(name, reference, {**image(config, *layers), **extra})


def encode(document: Any) -> bytes:
    return json.dumps(document).encode()


def descriptor(media_type: str, data: bytes, **extra: Any) -> dict[str, Any]:
    return {"mediaType": media_type, "digest": digest(data), "size": len(data), **extra}


def image(config: bytes, *layers: bytes) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": OCI_MANIFEST,
        "config": descriptor(CONFIG, config),
        "layers": [descriptor(LAYER, layer) for layer in layers],
    }


def index(*manifests: tuple[str, int]) -> dict[str, Any]:
    return {
        "schemaVersion": 2,
        "mediaType": OCI_INDEX,
        "manifests": [
            {"mediaType": OCI_MANIFEST, "digest": found, "size": size} for found, size in manifests
        ],
    }


def free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Server:
    """``python -m firkin.registry serve`` with data and configuration of its own."""

    def __init__(self, directory: Path, config: str = "", **environment: str) -> None:
        self.directory = directory
        self.data = directory / "registry"
        self.port = free_port()
        self.name = f"127.0.0.1:{self.port}"
        self.http = Http("127.0.0.1", self.port)
        self.environment = environment
        self.process: subprocess.Popen[bytes] | None = None
        self.config = directory / "registry.toml"
        self.config.write_text(config)

    def words(self, command: str, *more: str) -> list[str]:
        return [
            sys.executable, "-m", "firkin.registry", command,
            "--config", str(self.config), "--data", str(self.data), *more,
        ]  # fmt: skip

    def start(self, *more: str) -> None:
        """Start it and wait until it answers."""
        with (self.directory / "registry.log").open("ab") as log:
            self.process = subprocess.Popen(
                self.words("serve", "--listen", self.name, *more),
                stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True,
                env={**os.environ, **self.environment},
            )  # fmt: skip
        deadline = time.monotonic() + 30
        while True:
            assert self.process.poll() is None, self.log()
            try:
                socket.create_connection(("127.0.0.1", self.port), 5).close()
                return
            except OSError:
                assert time.monotonic() < deadline, self.log()
                time.sleep(0.05)

    def log(self) -> str:
        return (self.directory / "registry.log").read_text()

    def run(self, command: str, *more: str, stdin: str = "") -> subprocess.CompletedProcess[str]:
        """One of the other commands."""
        return subprocess.run(
            self.words(command, *more), capture_output=True, text=True, input=stdin, timeout=120,
            env={**os.environ, **self.environment}, check=False,
        )  # fmt: skip

    def end(self, number: int = signal.SIGTERM) -> None:
        """End it and its workers with a signal."""
        assert self.process is not None
        if number == signal.SIGKILL:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.process.pid, number)
        else:
            self.process.send_signal(number)
        self.process.wait(60)
        self.process = None
        for _ in range(500):  # killed workers may hold the socket a moment longer
            try:
                socket.create_connection(("127.0.0.1", self.port), 5).close()
            except OSError:
                return
            time.sleep(0.01)


@contextlib.contextmanager
def serving(directory: Path, config: str = "", *words: str, **env: str) -> Iterator[Server]:
    """A started registry that is gone at the end."""
    directory.mkdir(parents=True, exist_ok=True)
    server = Server(directory, config, **env)
    try:
        server.start(*words)
        yield server
    finally:
        if server.process is not None:
            server.end()
