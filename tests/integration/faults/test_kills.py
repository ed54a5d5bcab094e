"""SIGKILL of the engine in the middle of its work: nothing is lost, nothing leaks."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import random
import signal
import sqlite3
import subprocess
import threading
import time
from pathlib import Path

import census
import pytest

from rig import BIN, Engine

pytestmark = pytest.mark.root

KILLS = 100

_SCRIPTS = (
    ("run", "--rm", "busybox", "true"),
    ("run", "--rm", "-v", "/data", "busybox", "touch", "/data/x"),
    ("run", "-d", "--name", "N", "-p", "127.0.0.1::80", "busybox", "sleep", "0.2"),
    ("run", "-d", "--name", "N", "busybox", "sleep", "1000"),
    ("create", "--name", "N", "-v", "/data", "busybox"),
    ("start", "N"),
    ("exec", "N", "true"),
    ("stop", "-t", "0", "N"),
    ("kill", "N"),
    ("restart", "-t", "0", "N"),
    ("pause", "N"),
    ("unpause", "N"),
    ("rename", "N", "N2"),
    ("rm", "-f", "-v", "N"),
    ("rm", "-v", "N2"),
    ("commit", "N", "made:1"),
    ("rmi", "-f", "made:1"),
    ("run", "-d", "--rm", "--name", "N", "busybox", "sleep", "1000"),
    ("run", "-d", "--replace", "--name", "N", "-v", "/etc:/e:idmap", "busybox", "sleep", "1000"),
    ("update", "--publish-add", "127.0.0.1::81", "--label-add", "a=b", "-m", "64m", "N"),
    ("update", "--publish-rm", "81", "--restart", "on-failure:3", "N"),
    ("secret", "create", "told", "/etc/hostname"),
    ("run", "-d", "--name", "N", "--secret", "told", "-v", "held:/h", "busybox", "sleep", "1000"),
    ("secret", "rm", "told"),
    ("cp", "/etc/services", "N:/tmp"),
    ("cp", "N:/bin", "-"),
    ("volume", "create", "free"),
    ("volume", "clone", "held", "free"),
    ("volume", "rename", "free", "held"),
    ("volume", "rm", "free", "held"),
)


def _tormented(engine: Engine, seed: int, stopping: threading.Event) -> None:
    """A user who does this and that, whatever the answers are."""
    chance = random.Random(seed)
    for _ in itertools.count():
        if stopping.is_set():
            return
        name = f"victim{chance.randrange(4)}"
        words = [name if word == "N" else word.replace("N2", name + "-2")
                 for word in chance.choice(_SCRIPTS)]  # fmt: skip
        subprocess.run(
            [BIN / "firkin", *words], env=engine.environment(), check=False,
            stdin=subprocess.DEVNULL, capture_output=True, timeout=60,
        )  # fmt: skip


def _agrees_with_reality(engine: Engine) -> None:
    ids = engine.out("ps", "-aq", "--no-trunc").split()
    for found in json.loads(engine.out("inspect", *ids)) if ids else []:
        state = found["State"]
        if state["Status"] in ("running", "paused"):
            assert os.path.exists(f"/proc/{state['Pid']}"), found["Name"]
            own = Path(f"/proc/{state['Pid']}/cgroup").read_text()
            assert found["Id"] in own, (found["Name"], own)
        else:
            assert state["Pid"] == 0, found["Name"]
            assert not [pid for pid in engine.processes() if _watches(pid, found["Id"])], state


def _watches(pid: int, container_id: str) -> bool:
    try:
        words = Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")
    except OSError:
        return False
    return words[0].endswith(b"conmon") and container_id.encode() in words


@pytest.mark.slow
def test_hundred_kills(engine: Engine) -> None:
    before = census.take(engine)
    seed = int(os.environ.get("FIRKIN_TEST_SEED", random.randrange(1 << 32)))
    print(f"FIRKIN_TEST_SEED={seed}")
    chance = random.Random(seed)
    for kill in range(KILLS):
        stopping = threading.Event()
        users = [threading.Thread(target=_tormented, args=(engine, seed + kill * 10 + n, stopping))
                 for n in range(3)]  # fmt: skip
        for user in users:
            user.start()
        time.sleep(chance.uniform(0.02, 0.5))
        engine.end(signal.SIGKILL)
        stopping.set()
        for user in users:
            user.join()
        engine.start()
        _agrees_with_reality(engine)
    for container in engine.out("ps", "-aq").split():
        engine.run("rm", "-f", "-v", container)
    engine.run("rmi", "-f", "made:1", check=False)
    engine.run("image", "prune", "-f")
    engine.run("volume", "prune", "-af")
    engine.run("secret", "rm", "told", check=False)
    assert census.settle(engine, before) == {}


def test_output_has_no_gap(engine: Engine) -> None:
    script = "i=0; while [ $i -lt 3000 ]; do echo $i; i=$((i+1)); usleep 1000; done; exit 9"
    engine.run("run", "-d", "--name", "counts", "busybox", "sh", "-c", script)
    for _ in range(5):
        time.sleep(0.4)
        engine.end(signal.SIGKILL)
        engine.start()
    assert engine.out("wait", "counts") == "9"
    assert [int(line) for line in engine.out("logs", "counts").split()] == list(range(3000))


def test_published_port_answers_through_a_kill(engine: Engine) -> None:
    engine.run("run", "-d", "--name", "web", "-p", "127.0.0.1:28181:80", "busybox", "sh", "-c",
               "mkdir /w; echo here > /w/index.html; httpd -f -h /w")  # fmt: skip

    def ask(tries: int = 5) -> str:
        words = ["curl", "-s", "--retry", str(tries), "--retry-connrefused",
                 "http://127.0.0.1:28181/"]  # fmt: skip
        return subprocess.run(words, capture_output=True, text=True).stdout.strip()

    assert ask() == "here"
    engine.end(signal.SIGKILL)
    assert ask() == "here"
    engine.start()
    assert ask() == "here"
    taken = engine.run("run", "--rm", "-p", "28181:80", "busybox", "true", check=False)
    assert taken.returncode == 125
    engine.run("rm", "-f", "web")
    assert ask(0) == ""


def test_stop_that_was_cut_is_finished(engine: Engine) -> None:
    engine.run("run", "-d", "--name", "slow", "busybox", "sh", "-c",
               "trap 'sleep 1; exit 3' TERM; while :; do sleep 0.1; done")  # fmt: skip
    stopping = subprocess.Popen([BIN / "firkin", "stop", "-t", "20", "slow"],
                                env=engine.environment(), stderr=subprocess.DEVNULL)  # fmt: skip
    time.sleep(0.5)
    engine.end(signal.SIGKILL)
    assert stopping.wait(30) != 0
    engine.start()
    assert engine.out("wait", "slow") == "3"
    assert engine.out("inspect", "-f", "{{.State.Status}}", "slow") == "exited"


def test_paused_stays_paused(engine: Engine) -> None:
    engine.run("run", "-d", "--name", "still", "busybox", "sleep", "1000")
    engine.run("pause", "still")
    engine.end(signal.SIGKILL)
    engine.start()
    assert engine.out("inspect", "-f", "{{.State.Status}} {{.State.Paused}}", "still") == (
        "paused true"
    )
    assert engine.run("exec", "still", "true", check=False).returncode == 1
    engine.run("unpause", "still")
    assert engine.out("exec", "still", "echo", "moves") == "moves"


def _freezer(container_id: str) -> tuple[Path, str]:
    v1 = Path(f"/sys/fs/cgroup/freezer/firkin/{container_id}/freezer.state")
    return (v1, "FROZEN") if v1.exists() else (
        Path(f"/sys/fs/cgroup/firkin/{container_id}/cgroup.freeze"), "1"
    )  # fmt: skip


def test_killed_between_the_freezing_and_the_noting_of_it(engine: Engine) -> None:
    before = census.take(engine)
    name = engine.out("run", "-d", "busybox", "sleep", "1000")
    switch, frozen = _freezer(name)
    switch.write_text(frozen)
    engine.end(signal.SIGKILL)
    engine.start()
    assert engine.out("inspect", "-f", "{{.State.Status}}", name) == "paused"
    engine.run("stop", "-t", "0", name)
    assert engine.out("inspect", "-f", "{{.State.Status}}", name) == "exited"
    engine.run("rm", name)
    assert census.settle(engine, before) == {}


def test_killed_while_a_commit_had_frozen_it(engine: Engine) -> None:
    name = engine.out("run", "-d", "busybox", "sleep", "1000")
    engine.run("pause", name)
    engine.end(signal.SIGKILL)
    with contextlib.closing(sqlite3.connect(engine.data / "firkin.db")) as database, database:
        [(text,)] = database.execute("SELECT state FROM containers WHERE id = ?", (name,))
        frozen = json.dumps({**json.loads(text), "briefly": True}).encode()
        database.execute("UPDATE containers SET state = ? WHERE id = ?", (frozen, name))
    engine.start()
    assert engine.out("inspect", "-f", "{{.State.Status}}", name) == "running"
    assert engine.out("exec", name, "echo", "moves") == "moves"
    engine.run("commit", name, "made:2")
    assert engine.out("inspect", "-f", "{{.State.Status}}", name) == "running"
    engine.run("rm", "-f", name)
    engine.run("rmi", "made:2")


def test_files_of_execs_go_with_them(engine: Engine) -> None:
    name = engine.out("run", "-d", "busybox", "sleep", "1000")
    client = subprocess.Popen([BIN / "firkin", "exec", name, "sleep", "2"],
                              env=engine.environment(), stderr=subprocess.DEVNULL)  # fmt: skip
    files = engine.exec / "containers" / name / "exec"
    deadline = time.monotonic() + 10
    while not files.is_dir() or not list(files.glob("*/pidfile")):
        assert time.monotonic() < deadline
        time.sleep(0.02)
    engine.end(signal.SIGKILL)
    client.wait(30)
    (files / "stale").mkdir()
    engine.start()
    deadline = time.monotonic() + 20
    while list(files.iterdir()) or len(engine.processes()) > 1:
        assert time.monotonic() < deadline, (list(files.iterdir()), engine.processes())
        time.sleep(0.1)
    assert engine.out("exec", name, "echo", "again") == "again"
