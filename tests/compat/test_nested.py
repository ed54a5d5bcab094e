"""Engines inside of containers, as CI runners have them: dockerd in ours, and ours in ours."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator

import pytest

import rig
from rig import Engine

pytestmark = [pytest.mark.root, pytest.mark.slow]

HOST = """
FROM debian:12
RUN apt-get update -q && DEBIAN_FRONTEND=noninteractive apt-get install -y -q \\
    --no-install-recommends docker.io iptables crun conmon nftables libnftables1 iproute2 \\
    libarchive13 libseccomp2 tini python3 && rm -rf /var/lib/apt/lists/*
VOLUME /var/lib/docker /var/lib/firkin
"""
RAN = "hello from the inside"


@pytest.fixture(scope="module")
def host(session_engine: Engine, debian: str) -> Iterator[str]:
    """An image with everything that an engine needs."""
    session_engine.run("build", "-t", "nested", "-", stdin=HOST.encode())
    yield "nested"
    session_engine.run("rmi", "-f", "nested", check=False)
    session_engine.run("builder", "prune", "-af", check=False)


@pytest.fixture(scope="module")
def busybox() -> bytes:
    script = rig.ROOT / "scripts/busybox-image"
    return subprocess.run([script], capture_output=True, check=True).stdout


def use(engine: Engine, inner: str, busybox: bytes) -> None:
    """Everything that a job does with the engine inside of the container ``inner``."""
    ready = ("exec", "inner", inner, "version")
    assert rig.settled(lambda: not engine.run(*ready, check=False).returncode, 60), engine.out(
        "logs", "inner"
    )
    engine.run("exec", "-i", "inner", inner, "import", "-", "busybox", stdin=busybox)
    run = ("exec", "inner", inner, "run", "--rm", "-m", "64m")
    assert engine.out(*run, "busybox", "echo", RAN) == RAN
    engine.run("exec", "inner", inner, "run", "-d", "-p", "8080:80", "busybox", "httpd", "-f")
    address = engine.out("inspect", "-f", "{{.NetworkSettings.Networks.bridge.IPAddress}}", "inner")
    asked = ["curl", "-sS", "-o", "/dev/null", "-w", "%{http_code}", f"http://{address}:8080/"]
    assert rig.settled(lambda: subprocess.run(asked, capture_output=True).stdout == b"404")
    looked_up = engine.out(*run, "busybox", "nslookup", "deb.debian.org")
    assert "Address" in looked_up.split("Name:", 1)[1]


def test_dockerd(engine: Engine, host: str, busybox: bytes) -> None:
    engine.run("run", "-d", "--privileged", "--name", "inner", host, "dockerd")
    use(engine, "docker", busybox)


def test_our_own_engine(engine: Engine, host: str, busybox: bytes) -> None:
    """It runs from this tree, with the interpreter of the container."""
    programs = rig.BIN
    engine.run(
        "run", "-d", "--privileged", "--name", "inner", "-v", f"{rig.ROOT}:{rig.ROOT}:ro",
        "-v", f"{sys.prefix}:{sys.prefix}:ro", host, str(programs / "firkind"),
    )  # fmt: skip
    use(engine, str(programs / "firkin"), busybox)
    assert engine.out("exec", "inner", str(programs / "firkin"), "system", "check") == (
        "no differences"
    )
