"""One engine for these tests, and the clients that judge it."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import rig
from rig import Engine

CACHE = Path("/var/cache/firkin-tests")
"""Kept for the next time."""


@pytest.fixture(scope="session")
def session_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with rig.running(tmp_path_factory.mktemp("engine"), f"fkc{os.getpid()}") as engine:
        yield engine
        found = rig.leftovers(engine)
        assert not any(found.values()), found


@pytest.fixture(params=["firkin", "docker"])
def client(request: pytest.FixtureRequest) -> str:
    """The client to use: ours, or the official one where it is installed."""
    name: str = request.param
    if name == "docker" and shutil.which("docker") is None:
        pytest.skip("the official client is not installed")
    return name


@pytest.fixture
def engine(session_engine: Engine) -> Iterator[Engine]:
    """The engine, without containers before and after."""
    yield session_engine
    ids = session_engine.out("ps", "-aq").split()
    if ids:
        session_engine.run("rm", "-f", "-v", *ids)


@pytest.fixture(scope="session")
def debian(session_engine: Engine) -> Iterator[str]:
    """The name of an image of Debian 12; its tar is kept for the next time."""
    tar = CACHE / "debian.tar"
    made = subprocess.run([rig.ROOT / "scripts/debian-image", tar], capture_output=True, text=True)
    assert made.returncode == 0, made.stderr
    with tar.open("rb") as file:
        subprocess.run(
            ["docker", "import", "-c", 'CMD ["bash"]', "-", "debian:12"], stdin=file, check=True,
            env=session_engine.environment(), capture_output=True,
        )  # fmt: skip
    yield "debian:12"
    session_engine.run("rmi", "-f", "debian:12", check=False)


_PACKAGES = (
    "nginx-light gcc libc6-dev python3-pip python3-setuptools python3-wheel nodejs redis-server"
)
_TOOLS = f"""
FROM debian:12
RUN apt-get update -q && DEBIAN_FRONTEND=noninteractive \\
    apt-get install -y -q --no-install-recommends {_PACKAGES} && rm -rf /var/lib/apt/lists/*
"""


@pytest.fixture(scope="session")
def tools(session_engine: Engine, debian: str) -> Iterator[str]:
    """Debian with what real applications need, itself built."""
    session_engine.run("build", "-t", "tools", "-", stdin=_TOOLS.encode())
    yield "tools"
    session_engine.run("rmi", "-f", "tools", "real", check=False)
    session_engine.run("builder", "prune", "-af", check=False)


@pytest.fixture(scope="module")
def world(session_engine: Engine) -> Iterator[Engine]:
    """The engine with containers in several states, volumes, tags and labels."""
    engine = session_engine
    script = "echo one; echo two >&2; exec sleep 1000"
    for words in (
        ("volume", "create", "--label", "a=1", "v1"),
        ("volume", "create", "vol10"),
        ("volume", "create", "vol2"),
        ("run", "-d", "--name", "web", "-p", "127.0.0.1::80", "-p", "9443:443/udp",
         "-p", "9500-9502:9500-9502", "--expose", "9000-9003", "--label", "a=b",
         "--label", "com.x=long value", "-v", "v1:/data", "-v", "/tmp:/hosttmp:ro",
         "busybox", "sh", "-c", script),
        ("create", "--name", "fresh", "-e", "A=1", "busybox", "true"),
        ("run", "-d", "--name", "frozen", "--network", "host", "busybox", "sleep", "1000"),
        ("pause", "frozen"),
        ("tag", "busybox", "busybox:second"),
    ):  # fmt: skip
        engine.run(*words)
    engine.run("run", "--name", "done", "busybox", "sh", "-c", "exit 3", check=False)
    time.sleep(1.1)  # clients ask for events until the second that has just begun
    yield engine
    engine.run("unpause", "frozen")
    engine.run("rm", "-f", "-v", *engine.out("ps", "-aq").split())
    engine.run("volume", "prune", "-af")
    engine.run("network", "prune", "-f")
    engine.run("rmi", "busybox:second")
