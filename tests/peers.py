"""A registry of another make, Debian's docker-registry, for tests of the distribution client."""

from __future__ import annotations

import contextlib
import json
import socket
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any


def free_port() -> int:
    """A loopback port that nobody listens on."""
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


def wait_for(port: int) -> None:
    """Until somebody listens on a loopback port."""
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 1):
            return
        assert time.monotonic() < deadline, f"nobody listens on port {port}"
        time.sleep(0.05)


class Registry:
    """A running docker-registry. ``host`` is what goes before an image's name."""

    def __init__(self, directory: Path, host: str, process: subprocess.Popen[bytes]) -> None:
        self.directory = directory
        self.host = host
        self.process = process
        self.log = directory / "log"

    def requests(self) -> str:
        """Its access log so far."""
        return self.log.read_text()

    def add(self, name: str, archive: Path, *words: str) -> None:
        """Put an image of an archive (docker-archive:..., oci:...) into it, by skopeo."""
        subprocess.run(
            ["skopeo", "copy", "-q", "--insecure-policy", "--dest-tls-verify=false", *words,
             str(archive), f"docker://{self.host}/{name}"],
            check=True, capture_output=True,
        )  # fmt: skip

    def manifest(self, name: str, tag: str) -> dict[str, Any]:
        """A manifest or index as it has it."""
        request = urllib.request.Request(
            f"http://{self.host}/v2/{name}/manifests/{tag}",
            headers={"Accept": "application/vnd.oci.image.index.v1+json, "
                     "application/vnd.oci.image.manifest.v1+json, "
                     "application/vnd.docker.distribution.manifest.list.v2+json, "
                     "application/vnd.docker.distribution.manifest.v2+json"},
        )  # fmt: skip
        with urllib.request.urlopen(request, timeout=30) as response:
            value: dict[str, Any] = json.load(response)
        return value


@contextlib.contextmanager
def registry(
    directory: Path, extra: str = "", *, scheme: str = "http", hostname: str = "127.0.0.1"
) -> Iterator[Registry]:
    """Run one on loopback; ``extra`` is added to its configuration."""
    directory.mkdir(parents=True, exist_ok=True)
    port = free_port()
    config = directory / "config.yml"
    config.write_text(
        "version: 0.1\nlog: {level: warn, accesslog: {disabled: false}}\n"
        f"storage: {{filesystem: {{rootdirectory: {directory}/data}}, delete: {{enabled: true}}}}\n"
        + (extra if "http:" in extra else f"http: {{addr: '127.0.0.1:{port}'}}\n{extra}").replace(
            "PORT", str(port)
        )
    )
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(config)], stdout=log, stderr=log,
            stdin=subprocess.DEVNULL,
        )  # fmt: skip
    try:
        wait_for(port)
        assert process.poll() is None, (directory / "log").read_text()
        yield Registry(directory, f"{hostname}:{port}", process)
    finally:
        process.kill()
        process.wait(30)
