"""Containers through our own and through the official client, on a real engine."""

from __future__ import annotations

import contextlib
import json
import re
import signal
import subprocess
import sys
import time
import urllib.request
from pathlib import Path
from typing import TYPE_CHECKING

import docker
import pytest

if TYPE_CHECKING:
    from rig import Engine

pytestmark = pytest.mark.root


def test_run_prints_and_leaves_nothing(engine: Engine, client: str) -> None:
    assert engine.out("run", "--rm", "busybox", "echo", "hello", client=client) == "hello"
    assert engine.out("ps", "-aq", client=client) == ""


@pytest.mark.parametrize(
    ("command", "status"),
    [
        (["sh", "-c", "exit 7"], 7),
        (["nosuch"], 127),
        (["/etc"], 126),
        (["sh", "-c", "sh -c 'kill -9 $$'; exit $?"], 137),
    ],
)
def test_exit_codes(engine: Engine, client: str, command: list[str], status: int) -> None:
    done = engine.run("run", "--rm", "busybox", *command, client=client, check=False)
    assert done.returncode == status, done.stderr


def test_engine_error_is_125(engine: Engine, client: str) -> None:
    done = engine.run("run", "--rm", "--memory", "1m", "busybox", client=client, check=False)
    assert done.returncode == 125
    assert b"6MB" in done.stderr


def test_stdin_reaches_the_process_and_ends(engine: Engine, client: str) -> None:
    data = b"0123456789abcdef" * 65536
    done = engine.run("run", "--rm", "-i", "busybox", "cat", client=client, stdin=data)
    assert done.stdout == data


def test_stdout_and_stderr_are_apart(engine: Engine, client: str) -> None:
    script = "echo out; echo err >&2"
    done = engine.run("run", "--name", "apart", "busybox", "sh", "-c", script, client=client)
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")
    logs = engine.run("logs", "apart", client=client)
    assert (logs.stdout, logs.stderr) == (b"out\n", b"err\n")


def test_logs_tail_and_times(engine: Engine, client: str) -> None:
    engine.run("run", "--name", "lines", "busybox", "seq", "100000", client=client)
    assert engine.out("logs", "--tail", "3", "lines", client=client).split() == [
        "99998", "99999", "100000",
    ]  # fmt: skip
    assert len(engine.out("logs", "lines", client=client).split()) == 100000
    stamped = engine.out("logs", "-t", "--tail", "1", "lines", client=client)
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z 100000", stamped)


def test_exec(engine: Engine, client: str) -> None:
    engine.run("run", "-d", "--name", "box", "busybox", "sleep", "100", client=client)
    assert engine.out("exec", "box", "echo", "in", client=client) == "in"
    assert engine.run("exec", "box", "false", client=client, check=False).returncode == 1
    assert engine.run("exec", "box", "nosuch", client=client, check=False).returncode == 127
    assert engine.out("exec", "-i", "box", "cat", client=client, stdin=b"piped") == "piped"
    environment = engine.out("exec", "-e", "A=b", "-w", "/tmp", "box", "sh", "-c",
                             "echo $A $PWD", client=client)  # fmt: skip
    assert environment == "b /tmp"


def test_limits_and_security(engine: Engine, client: str) -> None:
    script = "grep -E 'CapEff|Seccomp:|NoNewPrivs' /proc/self/status; ulimit -n; touch /x"
    done = engine.run(
        "run", "--rm", "--read-only", "--cap-drop", "ALL", "--security-opt", "no-new-privileges",
        "--ulimit", "nofile=100:100", "--memory", "64m", "--pids-limit", "20",
        "busybox", "sh", "-c", script, client=client, check=False,
    )  # fmt: skip
    text = done.stdout.decode()
    assert re.search(r"CapEff:\s+0{16}\n", text)
    assert re.search(r"Seccomp:\s+2\n", text)
    assert re.search(r"NoNewPrivs:\s+1\n", text)
    assert "\n100\n" in text
    assert b"Read-only file system" in done.stderr


def test_oom_is_reported(engine: Engine, client: str) -> None:
    script = "head -c 200m /dev/zero | tail"
    engine.run("run", "--name", "hungry", "--memory", "16m", "--memory-swap", "16m",
               "busybox", "sh", "-c", script, client=client, check=False)  # fmt: skip
    state = json.loads(engine.out("inspect", "-f", "{{json .State}}", "hungry", client=client))
    assert state["OOMKilled"] is True


def test_volumes_and_binds(engine: Engine, client: str) -> None:
    engine.run("run", "--rm", "-v", "shared:/data", "busybox", "sh", "-c", "echo kept >/data/f",
               client=client)  # fmt: skip
    assert engine.out("run", "--rm", "-v", "shared:/d:ro", "busybox", "cat", "/d/f",
                      client=client) == "kept"  # fmt: skip
    done = engine.run("run", "--rm", "-v", "shared:/d:ro", "busybox", "touch", "/d/g",
                      client=client, check=False)  # fmt: skip
    assert done.returncode == 1
    copied = engine.out("run", "--rm", "-v", "copied:/etc", "busybox", "cat", "/etc/group",
                        client=client)  # fmt: skip
    assert copied.startswith("root:x:0:")
    with contextlib.closing(docker.DockerClient(base_url=engine.host)) as sdk:
        for name in ("shared", "copied"):
            sdk.volumes.get(name).remove()


def test_published_port(engine: Engine, client: str) -> None:
    serve = "echo page >/index.html; exec httpd -f -h /"
    engine.run("run", "-d", "--name", "web", "-p", "127.0.0.1::80", "busybox", "sh", "-c", serve,
               client=client)  # fmt: skip
    where = engine.out("port", "web", "80/tcp", client=client)
    deadline = time.monotonic() + 10
    while True:
        try:
            with urllib.request.urlopen(f"http://{where}/", timeout=5) as page:
                assert page.read() == b"page\n"
            break
        except OSError:
            assert time.monotonic() < deadline
            time.sleep(0.1)
    taken = engine.run("run", "--name", "other", "-p", f"{where}:80", "busybox", "true",
                       client=client, check=False)  # fmt: skip
    assert taken.returncode == 125
    assert b"already" in taken.stderr


def test_names_conflict_and_rename(engine: Engine, client: str) -> None:
    engine.run("create", "--name", "one", "busybox", client=client)
    done = engine.run("create", "--name", "one", "busybox", client=client, check=False)
    assert done.returncode == 1
    assert b"already in use" in done.stderr
    engine.run("rename", "one", "two", client=client)
    assert engine.out("ps", "-a", "--format", "{{.Names}}", client=client) == "two"


def test_commit_save_load(engine: Engine, client: str) -> None:
    engine.run("run", "--name", "change", "busybox", "sh", "-c", "echo new >/new", client=client)
    engine.run("commit", "-m", "a change", "change", "changed:1", client=client)
    archive = engine.run("save", "changed:1", client=client).stdout
    engine.run("rm", "change", client=client)
    engine.run("rmi", "changed:1", client=client)
    assert "changed:1" in engine.out("load", client=client, stdin=archive)
    assert engine.out("run", "--rm", "changed:1", "cat", "/new", client=client) == "new"
    engine.run("rmi", "changed:1", client=client)


_TELLING = (
    ("inspect", "stays"),
    ("inspect", "--type", "image", "busybox"),
    ("network", "inspect", "--format", "{{.Id}} {{.Created}} {{.IPAM}}", "bridge"),
    ("volume", "ls"),
    ("history", "--format", "{{.ID}} {{.CreatedAt}} {{.Size}}", "busybox"),
    ("ps", "-a", "--no-trunc", "--filter", "name=stays", "--format", "{{.ID}} {{.CreatedAt}}"),
)


def test_engine_killed_and_restarted(engine: Engine) -> None:
    engine.run("run", "-d", "--name", "stays", "busybox", "sh", "-c",
               "i=0; while :; do echo $i; i=$((i+1)); sleep 0.02; done")  # fmt: skip
    engine.run("run", "-d", "--name", "ends", "busybox", "sh", "-c", "sleep 1; exit 5")
    engine.run("run", "-d", "--rm", "--name", "vanishes", "busybox", "sleep", "1")
    known = [engine.out(*words) for words in _TELLING]
    engine.end(signal.SIGKILL)
    time.sleep(1.5)
    engine.start()
    assert [engine.out(*words) for words in _TELLING] == known
    assert engine.out("exec", "stays", "echo", "alive") == "alive"
    lines = [int(line) for line in engine.out("logs", "stays").split()]
    assert lines == list(range(len(lines)))
    assert len(lines) > 50
    assert engine.out("wait", "ends") == "5"
    deadline = time.monotonic() + 10
    while "vanishes" in engine.out("ps", "-a", "--format", "{{.Names}}"):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    engine.run("stop", "-t", "0", "stays")


def test_second_engine_is_refused(engine: Engine) -> None:
    done = subprocess.run(
        [Path(sys.executable).parent / "firkind", "--data-root", engine.directory / "data",
         "--exec-root", engine.directory / "exec2", "--host", f"unix://{engine.directory}/t.sock",
         "--config-file", engine.directory / "daemon.json"],
        capture_output=True, timeout=30,
    )  # fmt: skip
    assert done.returncode == 1
    assert b"--data-root" in done.stderr


def test_python_sdk(engine: Engine) -> None:
    with contextlib.closing(docker.DockerClient(base_url=engine.host)) as sdk:
        assert sdk.ping()
        assert sdk.containers.run("busybox", ["echo", "sdk"], remove=True) == b"sdk\n"
        box = sdk.containers.run("busybox", ["sleep", "100"], detach=True, labels={"a": "b"})
        assert box.exec_run(["echo", "x"]).output == b"x\n"
        assert [c.id for c in sdk.containers.list(filters={"label": "a=b"})] == [box.id]
        box.kill()
        assert box.wait()["StatusCode"] == 137
        box.remove()


def test_exec_that_is_never_started_leaves_nothing(engine: Engine) -> None:
    engine.run("run", "-d", "--name", "idle", "busybox", "sleep", "100")
    before = engine.processes()
    with contextlib.closing(docker.APIClient(base_url=engine.host)) as api:
        made = [api.exec_create("idle", ["touch", f"/made-{n}"])["Id"] for n in range(40)]
        assert len(engine.processes()) > len(before)
        deadline = time.monotonic() + 20
        while len(engine.processes()) > len(before):
            assert time.monotonic() < deadline, engine.processes()
            time.sleep(0.1)
        assert engine.out("exec", "idle", "ls", "/").split().count("made-0") == 0
        api.exec_start(made[0])
        assert "made-0" in engine.out("exec", "idle", "ls", "/").split()


def test_engine_killed_before_an_exec_starts(engine: Engine) -> None:
    engine.run("run", "-d", "--name", "idle", "busybox", "sleep", "100")
    with contextlib.closing(docker.APIClient(base_url=engine.host)) as api:
        api.exec_create("idle", ["touch", "/made"])
    engine.end(signal.SIGKILL)
    engine.start()
    deadline = time.monotonic() + 20
    while len(engine.processes()) > 1:
        assert time.monotonic() < deadline, engine.processes()
        time.sleep(0.1)
    assert "made" not in engine.out("exec", "idle", "ls", "/").split()
