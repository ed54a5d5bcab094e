"""SIGKILL of a container's monitor."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from pathlib import Path

import census
import pytest

from rig import BIN, Engine

pytestmark = pytest.mark.root


def monitor_of(engine: Engine, container_id: str) -> int:
    for pid in engine.processes():
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
        if words[0].endswith(b"conmon") and container_id.encode() in words:
            return pid
    raise AssertionError(f"{container_id} has no monitor")


def _runs(pid: int) -> bool:
    """Whether the process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except FileNotFoundError:
        return False


def _start(engine: Engine, *words: str) -> tuple[str, int, int]:
    name = engine.out("run", "-d", *words, "busybox", "sleep", "1000")
    return name, monitor_of(engine, name), int(engine.out("inspect", "-f", "{{.State.Pid}}", name))


def test_monitor_killed(engine: Engine) -> None:
    before = census.take(engine)
    name, monitor, pid = _start(engine, "-p", "127.0.0.1::80")
    waiting = subprocess.Popen([BIN / "firkin", "wait", name], env=engine.environment(),
                               stdout=subprocess.PIPE, text=True)  # fmt: skip
    time.sleep(0.5)
    os.kill(monitor, signal.SIGKILL)
    assert waiting.communicate(timeout=30)[0].strip() == "137"
    assert not _runs(pid)
    shown = engine.out("inspect", "-f", "{{.State.Status}} {{.State.ExitCode}}", name)
    assert shown == "exited 137"
    engine.run("start", name)
    assert engine.out("exec", name, "echo", "again") == "again"
    engine.run("rm", "-f", name)
    assert census.settle(engine, before) == {}


def test_monitor_of_a_paused_container_killed(engine: Engine) -> None:
    before = census.take(engine)
    name, monitor, pid = _start(engine)
    engine.run("pause", name)
    os.kill(monitor, signal.SIGKILL)
    assert engine.run("wait", name, check=False).stdout == b"137\n"
    engine.run("rm", name)
    assert not _runs(pid)
    assert census.settle(engine, before) == {}


def test_monitor_and_engine_killed(engine: Engine) -> None:
    before = census.take(engine)
    name, monitor, pid = _start(engine)
    engine.end(signal.SIGKILL)
    os.kill(monitor, signal.SIGKILL)
    engine.start()
    assert engine.out("inspect", "-f", "{{.State.Status}}", name) == "exited"
    assert not _runs(pid)
    engine.run("rm", name)
    assert census.settle(engine, before) == {}


def test_monitor_of_an_exec_killed(engine: Engine) -> None:
    name, monitor, _ = _start(engine)
    work = subprocess.Popen([BIN / "firkin", "exec", name, "sleep", "1000"],
                            env=engine.environment())  # fmt: skip
    deadline = time.monotonic() + 10
    while not (extra := [pid for pid in engine.processes() if pid != monitor]):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    time.sleep(0.3)
    for pid in extra:
        with contextlib.suppress(ProcessLookupError):  # the runtime may just have ended
            os.kill(pid, signal.SIGKILL)
    assert work.wait(30) != 0
    assert engine.out("exec", name, "echo", "fine") == "fine"


def test_container_process_killed_from_outside(engine: Engine) -> None:
    before = census.take(engine)
    name, _, pid = _start(engine, "--restart", "on-failure:1")
    os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + 20
    while engine.out("inspect", "-f", "{{.RestartCount}} {{.State.Status}}", name) != "1 running":
        assert time.monotonic() < deadline
        time.sleep(0.1)
    os.kill(int(engine.out("inspect", "-f", "{{.State.Pid}}", name)), signal.SIGKILL)
    assert engine.out("wait", name) == "137"
    engine.run("rm", name)
    assert census.settle(engine, before) == {}
