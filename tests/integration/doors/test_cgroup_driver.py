"""Where a container's cgroup is, by driver and parent. ``scripts/vm-test`` has systemd's part."""

from __future__ import annotations

import contextlib
import os
import signal
import sqlite3
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import rig
from firkin.linux import cgroup, cgroupdriver

pytestmark = pytest.mark.root

PARENT = f"/firkin-test-{os.getpid()}"
FLAGS = ("--exec-opt", "native.cgroupdriver=cgroupfs", "--cgroup-parent", PARENT)


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[rig.Engine]:
    with rig.running(tmp_path, f"fkcg{os.getpid()}", *FLAGS) as made:
        yield made
    for directory in cgroup.directories(cgroup.probe(), PARENT):
        os.rmdir(directory)


def _groups(engine: rig.Engine, name: str) -> set[str]:
    pid = engine.out("inspect", "-f", "{{.State.Pid}}", name)
    return {line.split(":", 2)[2] for line in Path(f"/proc/{pid}/cgroup").read_text().split("\n")
            if line}  # fmt: skip


def test_parents(engine: rig.Engine) -> None:
    assert engine.out("info", "-f", "{{.CgroupDriver}}") == "cgroupfs"
    own = engine.out("run", "-d", "--name", "own", "busybox", "sleep", "1000")
    assert f"{PARENT}/{own}" in _groups(engine, "own")
    other = engine.out("run", "-d", "--name", "other", "--cgroup-parent", f"{PARENT}/a/b",
                       "busybox", "sleep", "1000")  # fmt: skip
    assert f"{PARENT}/a/b/{other}" in _groups(engine, "other")
    engine.run("rm", "-f", "own", "other")
    layout = cgroup.probe()
    for _ in range(100):
        left = cgroup.directories(layout, f"{PARENT}/{own}")
        left += cgroup.directories(layout, f"{PARENT}/a/b/{other}")
        if not left:
            break
        time.sleep(0.1)
    assert left == []
    for below in ("a/b", "a"):
        for directory in cgroup.directories(layout, f"{PARENT}/{below}"):
            os.rmdir(directory)


def test_group_of_a_removal_cut_short(engine: rig.Engine) -> None:
    """The database knows nothing of it any more; its bundle says where its group is."""
    name = engine.out("run", "-d", "--cgroup-parent", f"{PARENT}/cut", "busybox", "sleep", "1000")
    engine.end(signal.SIGKILL)
    with contextlib.closing(sqlite3.connect(engine.data / "firkin.db")) as database, database:
        database.execute("PRAGMA foreign_keys = ON")
        database.execute("DELETE FROM containers WHERE id = ?", (name,))
    engine.start(*FLAGS)
    layout = cgroup.probe()
    assert cgroup.directories(layout, f"{PARENT}/cut/{name}") == []
    for directory in cgroup.directories(layout, f"{PARENT}/cut"):
        os.rmdir(directory)


@pytest.mark.parametrize("parent", ["made.slice", "/a/../../b"])
def test_refused_parent(engine: rig.Engine, parent: str) -> None:
    done = engine.run("create", "--cgroup-parent", parent, "busybox", check=False)
    assert done.returncode == 1
    assert b"invalid cgroup-parent" in done.stderr
    assert engine.out("ps", "-aq") == ""


@pytest.mark.parametrize(
    ("flag", "said"),
    [
        ("native.cgroupdriver=cgroups", "use cgroupfs or systemd"),
        ("native.umask=normal", "unknown"),
        pytest.param(
            "native.cgroupdriver=systemd",
            "systemd does not run this host",
            marks=pytest.mark.skipif(cgroupdriver.booted(), reason="systemd runs this host"),
        ),
    ],
)
def test_refused_driver(tmp_path: Path, flag: str, said: str) -> None:
    done = subprocess.run(
        [rig.BIN / "firkind", "--data-root", tmp_path / "data", "--exec-root", tmp_path / "exec",
         "--host", f"unix://{tmp_path}/s", "--exec-opt", flag],
        capture_output=True, timeout=60, check=False, text=True,
    )  # fmt: skip
    assert done.returncode == 1
    assert said in done.stderr
