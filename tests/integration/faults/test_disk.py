"""A disk that gets full: clear errors, no half things, and work again when there is room."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import census
import pytest

import rig
from rig import Engine

pytestmark = pytest.mark.root


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Engine]:
    """An engine whose data root is a file system of 40 MB."""
    image, home = tmp_path / "disk", tmp_path / "home"
    image.touch()
    os.truncate(image, 40 << 20)
    home.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, home], check=True)
    try:
        (home / "log").symlink_to(tmp_path / "log")  # what it says has room
        with rig.running(home, f"fkf1{os.getpid()}") as engine:
            yield engine
    finally:
        subprocess.run(["umount", home], check=True)


def _fill(engine: Engine) -> Path:
    ballast = engine.directory / "ballast"
    with ballast.open("wb") as file, pytest.raises(OSError):
        while True:
            os.write(file.fileno(), bytes(4096))
    return ballast


def _archive(tmp_path: Path) -> bytes:
    (tmp_path / "big").write_bytes(os.urandom(8 << 20))
    return subprocess.run(["tar", "-c", "-C", tmp_path, "big"], check=True,
                          capture_output=True).stdout  # fmt: skip


def test_import_and_save_on_a_full_disk(small: Engine, tmp_path: Path) -> None:
    before = census.take(small)
    archive = _archive(tmp_path)
    ballast = _fill(small)
    failed = small.run("import", "-", "big", stdin=archive, check=False)
    assert failed.returncode == 1
    assert b"full" in failed.stderr or b"No space left" in failed.stderr
    assert census.settle(small, before) == {}
    ballast.unlink()
    small.run("import", "-", "big", stdin=archive)
    saved = small.run("save", "big").stdout
    small.run("rmi", "big")
    ballast = _fill(small)
    failed = small.run("load", stdin=saved, check=False)
    assert failed.returncode == 1
    assert b"full" in failed.stderr or b"No space left" in failed.stderr
    assert census.settle(small, before) == {}
    ballast.unlink()
    small.run("load", stdin=saved)
    small.run("rmi", "big")
    assert census.settle(small, before) == {}


def test_containers_on_a_full_disk(small: Engine) -> None:
    small.run("run", "-d", "--name", "old", "busybox", "sleep", "1000")
    before = census.take(small)
    ballast = _fill(small)
    for _ in range(5):
        failed = small.run("run", "-d", "busybox", "true", check=False)
        if failed.returncode:
            assert failed.returncode == 125
            assert failed.stderr
    small.run("logs", "old")
    assert "old" in small.out("ps", "--format", "{{.Names}}")
    small.run("stop", "-t", "0", "old")
    for name in small.out("ps", "-aq", "--filter", "ancestor=busybox").split():
        if name not in small.out("ps", "-aq", "--filter", "name=old"):
            small.run("rm", "-f", name)
    ballast.unlink()
    small.run("start", "old")
    assert small.out("exec", "old", "echo", "works") == "works"
    assert census.settle(small, {**before, "processes": census.take(small)["processes"]}) == {}


def test_removal_makes_room_on_a_full_disk(small: Engine) -> None:
    before = census.take(small)
    small.run("run", "--name", "greedy", "busybox", "dd", "if=/dev/zero", "of=/x", "bs=4k",
              check=False)  # fmt: skip
    small.run("run", "-d", "--name", "waits", "busybox", "sleep", "1000", check=False)
    ballast = _fill(small)
    failed = small.run("create", "--name", "late", "busybox", check=False)
    assert failed.returncode == 1
    assert b"the disk is full" in failed.stderr
    ballast.unlink()
    _fill(small)
    for name in small.out("ps", "-aq").split():
        small.run("rm", "-f", name)
    (small.directory / "ballast").unlink()
    assert small.out("run", "--rm", "busybox", "echo", "room") == "room"
    assert census.settle(small, before) == {}


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_engine_on_a_full_disk(small: Engine, number: int) -> None:
    """It comes up, so that what fills the disk can be removed."""
    small.run("create", "--name", "kept", "busybox", "echo", "kept")
    small.run("create", "--name", "other", "busybox", "echo", "other")
    ballast = _fill(small)
    small.end(number)
    small.start()
    small.run("rm", "other")
    small.end(number)
    ballast.unlink()
    small.start()
    assert small.out("ps", "-a", "--format", "{{.Names}}") == "kept"
    assert small.out("start", "-a", "kept") == "kept"


def test_container_that_fills_the_disk(small: Engine) -> None:
    done = small.run("run", "--name", "greedy", "busybox", "dd", "if=/dev/zero", "of=/x", "bs=1M",
                     check=False)  # fmt: skip
    assert done.returncode == 1
    assert b"No space left" in done.stderr
    assert small.out("inspect", "-f", "{{.State.ExitCode}}", "greedy") == "1"
    small.run("rm", "greedy")
    assert small.out("run", "--rm", "busybox", "echo", "room") == "room"
