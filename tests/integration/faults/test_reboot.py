"""A reboot: nothing of the time before is believed."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import sqlite3
import subprocess
import time
from pathlib import Path

import census
import pytest

from rig import Engine

pytestmark = pytest.mark.root


def _kill(pid: int) -> None:
    with contextlib.suppress(ProcessLookupError):  # it ended when another of its kind did
        os.kill(pid, signal.SIGKILL)


def _reboot(engine: Engine) -> None:
    """What a reboot does to an engine: all processes, mounts and the exec-root are gone, and the
    kernel has another boot id; pids may belong to others now."""
    engine.end(signal.SIGKILL)
    for group in census.take(engine)["cgroups"]:
        with contextlib.suppress(FileNotFoundError):
            for pid in Path(group, "cgroup.procs").read_text().split():
                _kill(int(pid))
    for pid in engine.processes():
        _kill(pid)
    _remove_cgroups(census.take(engine)["cgroups"])
    for point in reversed(engine.mounts(engine.exec)):
        subprocess.run(["umount", "-l", point], check=True)
    shutil.rmtree(engine.exec)
    subprocess.run(["ip", "link", "delete", engine.bridge], check=True)
    subprocess.run(["nft", "delete", "table", "inet", engine.table()], check=True)
    with contextlib.closing(sqlite3.connect(f"{engine.data}/firkin.db")) as database, database:
        for name, state in database.execute("SELECT id, state FROM containers").fetchall():
            changed = json.loads(state)
            if changed["pid"]:
                changed |= {"boot_id": "another", "pid": os.getpid(), "monitor": os.getpid()}
            database.execute("UPDATE containers SET state = ? WHERE id = ?",
                             (json.dumps(changed).encode(), name))  # fmt: skip


def _remove_cgroups(groups: set[str]) -> None:
    for group in groups:
        for switch, value in (("freezer.state", "THAWED"), ("cgroup.freeze", "0")):
            with contextlib.suppress(FileNotFoundError, PermissionError):
                Path(group, switch).write_text(value)
    for group in groups:
        for _ in range(100):
            try:
                os.rmdir(group)
            except FileNotFoundError:
                break
            except OSError:  # the processes in it are still ending
                time.sleep(0.05)
            else:
                break


def _states(engine: Engine) -> dict[str, str]:
    lines = engine.out("ps", "-a", "--format", "{{.Names}} {{.State}}").splitlines()
    return dict(line.split() for line in lines)


def test_reboot(engine: Engine) -> None:
    before = census.take(engine)
    engine.run(
        "run", "-d", "--name", "plain", "-p", "127.0.0.1:28182:80", "busybox", "sleep", "1000"
    )
    engine.run("run", "-d", "--name", "paused", "busybox", "sleep", "1000")
    engine.run("pause", "paused")
    engine.run("run", "-d", "--name", "always", "--restart", "always", "busybox", "sleep", "1000")
    engine.run("run", "-d", "--rm", "--name", "vanishes", "busybox", "sleep", "1000")
    engine.run("run", "--name", "ended", "busybox", "sh", "-c", "exit 4", check=False)
    engine.run("run", "-d", "--name", "keeps", "-v", "kept:/data", "busybox", "sh", "-c",
               "echo mine > /data/x; echo said; sleep 1000")  # fmt: skip
    _reboot(engine)
    engine.start()
    deadline = time.monotonic() + 20
    while (shown := _states(engine)).pop("always") != "running":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    assert shown == dict.fromkeys(("plain", "paused", "ended", "keeps"), "exited")
    assert engine.out("inspect", "-f", "{{.State.ExitCode}}", "ended") == "4"
    assert engine.out("inspect", "-f", "{{.State.ExitCode}}", "plain") == "255"
    assert engine.out("logs", "keeps") == "said"
    engine.run("start", "plain", "paused", "keeps")
    assert engine.out("exec", "keeps", "cat", "/data/x") == "mine"
    assert os.path.exists(f"/proc/{os.getpid()}")
    for name in ("plain", "paused", "ended", "keeps", "always"):
        engine.run("rm", "-f", name)
    engine.run("volume", "rm", "kept")
    assert census.settle(engine, before) == {}
