"""The runtime is executed once, from sealed memory, and no container inherits that."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import pytest

import rig

pytestmark = pytest.mark.root


def runtimes(engine: rig.Engine) -> list[str]:
    """What the runtimes that work for this engine have been executed from."""
    found = []
    for pid in engine.processes():
        with contextlib.suppress(OSError):
            words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
            if (
                b"--root" in words[:2]
                and b"_CLONED_BINARY" not in Path(f"/proc/{pid}/environ").read_bytes()
            ):
                found.append(os.readlink(f"/proc/{pid}/exe"))
    return found


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_a_probe(engine: rig.Engine, runtime: str) -> None:
    """Its runtime stays as long as it does."""
    engine.run(
        "run", "-d", "--runtime", runtime, "--health-cmd", "sleep 20", "--health-interval", "1ms",
        "busybox", "sleep", "100",
    )  # fmt: skip
    assert rig.settled(lambda: f"/memfd:{runtime} (deleted)" in runtimes(engine))


@pytest.mark.parametrize("runtime", ["crun", "runc"])
def test_a_container_does_not_have_it(engine: rig.Engine, runtime: str) -> None:
    script = "for fd in /proc/1/fd/*; do readlink $fd || true; done"
    run = ("run", "-d", "--runtime", runtime, "--name", "box", "busybox")
    engine.run(*run, "sh", "-c", f"{script}; sleep 100")
    assert rig.settled(lambda: "pipe:" in engine.out("logs", "box"))
    assert "memfd" not in engine.out("logs", "box")
    assert "memfd" not in engine.out("exec", "box", "sh", "-c", script.replace("/1/", "/self/"))
