"""The registry that pulls are measured with: Debian's docker-registry on loopback."""

from __future__ import annotations

import contextlib
import hashlib
import io
import json
import random
import shutil
import socket
import subprocess
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

LAYERS = 60


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


#: What goes before an image's name.
HOST = f"127.0.0.1:{_free_port()}"


def usable() -> bool:
    """Whether the programs are installed."""
    return bool(shutil.which("docker-registry") and shutil.which("skopeo"))


def many_layers(path: Path, seed: int) -> None:
    """A docker-archive of an image with 60 layers of 20 small files each."""
    source = random.Random(seed)
    layers = []
    for number in range(LAYERS):
        buffer = io.BytesIO()
        with tarfile.open(fileobj=buffer, mode="w") as tar:
            for file in range(20):
                data = source.randbytes(4000) + b"text " * 1200
                info = tarfile.TarInfo(f"app/{number}/{file}")
                info.size = len(data)
                tar.addfile(info, io.BytesIO(data))
        layers.append(buffer.getvalue())
    names = [hashlib.sha256(layer).hexdigest() for layer in layers]
    config = json.dumps(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": {},
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{name}" for name in names]},
        }
    ).encode()
    listed = [{"Config": "c.json", "RepoTags": ["sixty:1"], "Layers": [f"{n}.tar" for n in names]}]
    members = {f"{name}.tar": layer for name, layer in zip(names, layers, strict=True)}
    members |= {"c.json": config, "manifest.json": json.dumps(listed).encode()}
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))


def add(name: str, archive: Path) -> None:
    """Put the image of a docker-archive into the registry."""
    subprocess.run(
        ["skopeo", "copy", "-q", "--insecure-policy", "--dest-tls-verify=false",
         f"docker-archive:{archive}", f"docker://{HOST}/{name}"],
        check=True, capture_output=True,
    )  # fmt: skip


@contextlib.contextmanager
def running(directory: Path) -> Iterator[None]:
    """Run the registry with its data in ``directory``."""
    directory.mkdir()
    config = directory / "config.yml"
    config.write_text(
        "version: 0.1\nlog: {level: error, accesslog: {disabled: true}}\n"
        f"storage: {{filesystem: {{rootdirectory: {directory}/data}}}}\n"
        f"http: {{addr: '{HOST}'}}\n"
    )
    with (directory / "log").open("ab") as log:
        process = subprocess.Popen(
            ["docker-registry", "serve", str(config)], stdout=log, stderr=log
        )
    try:
        deadline = time.monotonic() + 30
        while True:
            with contextlib.suppress(OSError), socket.create_connection(HOST.split(":"), 1):  # type: ignore[arg-type]
                break
            if process.poll() is not None or time.monotonic() > deadline:
                raise RuntimeError((directory / "log").read_text()[-2000:])
            time.sleep(0.05)
        yield
    finally:
        process.kill()
        process.wait()
