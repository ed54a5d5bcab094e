"""A container changes its tree while it is read: what is gone is left out, nothing fails."""

from __future__ import annotations

import io
import subprocess
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import tars

import rig

pytestmark = pytest.mark.root

CHURN = """
import contextlib, os, shutil, sys
os.chdir(sys.argv[1])
turn = 0
while True:
    turn += 1
    for number in range(40):
        name, other = f"x{number}", f"y{number}"
        for old in (name, other):
            if os.path.isdir(old) and not os.path.islink(old):
                shutil.rmtree(old)
            else:
                with contextlib.suppress(FileNotFoundError):
                    os.unlink(old)
        kind = (turn + number) % 5
        if kind == 0:
            open(name, "w").write("file")
            os.link(name, other)
        elif kind == 1:
            os.symlink("nowhere", name)
        elif kind == 2:
            os.mkfifo(name)
        elif kind == 3:
            os.mkdir(name)
            open(f"{name}/f", "w").write("inside")
        else:
            os.symlink(name, other)
            os.link(other, name, follow_symlinks=False)
"""
"""Faster than a shell in the container could do it."""


@pytest.fixture
def box(engine: rig.Engine) -> Iterator[str]:
    engine.run("run", "-d", "--name", "box", "busybox", "sh", "-c", "mkdir /t; sleep 1000")
    pid = engine.out("inspect", "-f", "{{.State.Pid}}", "box")
    place = Path(f"/proc/{pid}/root/t")
    assert rig.settled(place.is_dir)
    churn = subprocess.Popen([sys.executable, "-c", CHURN, str(place)])
    yield "box"
    assert churn.poll() is None
    churn.kill()
    churn.wait()
    engine.run("rm", "-f", "box")


def whole(archive: bytes) -> None:
    """The archive is one, and its hard links lead to members before them."""
    seen = set()
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        for member in tar:
            assert not member.islnk() or member.linkname in seen, member
            seen.add(member.name)


def test_commit(engine: rig.Engine, box: str) -> None:
    for turn in range(25):
        engine.run("commit", "--pause=false", box, f"churned:{turn}")
        engine.run("run", "--rm", f"churned:{turn}", "true")
    engine.run("rmi", *(f"churned:{turn}" for turn in range(25)))


def test_copy_and_export(engine: rig.Engine, box: str) -> None:
    for _ in range(25):
        status, _, members, _ = tars.get(engine, box, "/t")
        assert status == 200 and "t" in members
        whole(engine.run("cp", f"{box}:/t", "-").stdout)
        whole(engine.run("export", box).stdout)


def test_diff(engine: rig.Engine, box: str) -> None:
    for _ in range(25):
        assert "A /t" in engine.out("diff", box).splitlines()
