"""What no engine can go below here: the same work without one."""

from __future__ import annotations

import json
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from bench import works


def _quiet(*words: str | Path, cwd: Path | None = None) -> None:
    subprocess.run(words, cwd=cwd, check=True, capture_output=True, stdin=subprocess.DEVNULL)


def bare_run(directory: Path, image: bytes) -> Callable[[], float]:
    """`crun run` of `true` on an unpacked busybox, without network set-up."""
    bundle = directory / "bundle"
    root = bundle / "rootfs"
    root.mkdir(parents=True)
    subprocess.run(["tar", "-x", "-C", root], input=image, check=True)
    _quiet("crun", "spec", cwd=bundle)
    file = bundle / "config.json"
    spec = json.loads(file.read_text())
    spec["process"].update(terminal=False, args=["true"])
    file.write_text(json.dumps(spec))
    return lambda: works.timed(lambda: _quiet("crun", "run", "-b", bundle, "fkbench-floor"))


def client_alone() -> float:
    """The official client's start and end."""
    return works.timed(lambda: _quiet("docker", "--version"))


def untar(directory: Path, archive: Path) -> Callable[[], float]:
    """`tar x` of the image's layers."""
    layers = directory / "layers"
    layers.mkdir()
    _quiet("tar", "-x", "-f", archive, "-C", layers)
    manifest = json.loads((layers / "manifest.json").read_text())
    files = [layers / name for name in manifest[0]["Layers"]]

    def once() -> float:
        target = Path(tempfile.mkdtemp(dir=directory))  # kept: see `works.load`
        start = time.perf_counter()
        for file in files:
            _quiet("tar", "-x", "-f", file, "-C", target)
        return (time.perf_counter() - start) * 1000

    return once
