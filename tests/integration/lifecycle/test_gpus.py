"""``--gpus``, with a vendor's CDI specification and without."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

import rig

pytestmark = pytest.mark.root

DIRECTORY = Path("/etc/cdi")
SPEC = DIRECTORY / "firkin-test-amd.json"


@pytest.fixture
def vendor() -> Iterator[None]:
    """A host with two GPUs, as one of their vendors would describe them."""
    there = DIRECTORY.exists()
    DIRECTORY.mkdir(exist_ok=True)
    devices = [
        {"name": name, "containerEdits": {"env": [f"GPU_{name}=here"], "deviceNodes": [
            {"path": f"/dev/gpu{name}", "hostPath": "/dev/zero"}]}}
        for name in ("0", "1")
    ]  # fmt: skip
    SPEC.write_text(json.dumps({"cdiVersion": "0.6.0", "kind": "amd.com/gpu", "devices": devices}))
    yield
    SPEC.unlink()
    if not there:
        DIRECTORY.rmdir()


@pytest.mark.usefixtures("vendor")
def test_they_are_there(engine: rig.Engine, client: str) -> None:
    script = ("sh", "-c", "env | grep GPU_ | sort; ls /dev/gpu* | xargs -n1 head -c1 | wc -c")
    run = ("run", "--rm", "--gpus")
    assert engine.out(*run, "all", "busybox", *script, client=client) == "GPU_0=here\nGPU_1=here\n2"
    for choice in ("device=1", "1"):
        out = engine.out(*run, choice, "busybox", *script, client=client)
        assert out == f"GPU_{int(choice != '1')}=here\n1"
    failed = engine.run(*run, "3", "busybox", "true", client=client, check=False)
    assert failed.returncode == 125 and b"3 were asked for, and amd.com/gpu has 2" in failed.stderr


def test_there_are_none(engine: rig.Engine, client: str) -> None:
    run = ("run", "--gpus", "driver=amd", "busybox", "true")
    failed = engine.run(*run, client=client, check=False)
    assert failed.returncode == 125
    assert b'could not select device driver "amd" with capabilities: [[gpu]]' in failed.stderr
