"""What daemon.json says of every container: limits, an init, privileges, system calls."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

import rig
from rig import Engine

pytestmark = pytest.mark.root

NO_CHMOD = {
    "defaultAction": "SCMP_ACT_ALLOW",
    "syscalls": [
        {"names": ["chmod", "fchmod", "fchmodat", "fchmodat2"], "action": "SCMP_ACT_ERRNO"}
    ],
}


@pytest.fixture(scope="module")
def strict(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    directory = tmp_path_factory.mktemp("strict")
    (directory / "profile.json").write_text(json.dumps(NO_CHMOD))
    values = {
        "default-ulimits": {
            "nofile": {"Name": "nofile", "Soft": 300, "Hard": 400},
            "nproc": {"hard": 900, "soft": 900},
        },
        "default-shm-size": "24M",
        "default-ipc-mode": "shareable",
        "default-cgroupns-mode": "private",
        "default-stop-timeout": 1,
        "init": True,
        "no-new-privileges": True,
        "seccomp-profile": str(directory / "profile.json"),
        "experimental": True,
    }
    with rig.running(directory, f"fkd{os.getpid()}"[:15]) as engine:
        engine.end()
        (directory / "daemon.json").write_text(json.dumps(values))
        engine.start()
        yield engine
        assert not any(rig.leftovers(engine).values())


def seen(engine: Engine, script: str, *flags: str) -> str:
    return engine.out("run", "--rm", *flags, "busybox", "sh", "-c", script, client="docker")


def test_limits(strict: Engine) -> None:
    assert seen(strict, "ulimit -n; ulimit -Hn; ulimit -u") == "300\n400\n900"
    assert seen(strict, "ulimit -n; ulimit -u", "--ulimit", "nofile=50:60") == "50\n900"
    assert seen(strict, "df -m /dev/shm | tail -n1 | tr -s ' ' | cut -d' ' -f2") == "24"
    assert "33" in seen(strict, "df -m /dev/shm", "--shm-size", "33m")


def test_an_init(strict: Engine) -> None:
    assert "init" in seen(strict, "cat /proc/1/comm /proc/1/cmdline | tr '\\0' ' '")
    assert seen(strict, "cat /proc/1/comm; true", "--init=false") == "sh"
    strict.run("run", "-d", "--name", "said", "busybox", "sleep", "100")
    assert strict.out("inspect", "-f", "{{json .HostConfig.Init}}", "said") == "null"
    assert strict.out("inspect", "-f", "{{.HostConfig.IpcMode}}", "said") == "shareable"
    assert strict.out("inspect", "-f", "{{.HostConfig.CgroupnsMode}}", "said") == "private"
    assert strict.out("exec", "said", "grep", "NoNewPrivs", "/proc/self/status").endswith("1")
    strict.run("rm", "-f", "said")


def test_privileges_and_system_calls(strict: Engine) -> None:
    flag = "grep NoNewPrivs /proc/self/status | cut -f2"
    assert seen(strict, flag) == "1"
    assert seen(strict, flag, "--security-opt", "no-new-privileges=false") == "0"
    assert "not permitted" in seen(strict, "touch /x; chmod 1 /x 2>&1 || true")
    assert seen(strict, "touch /x; chmod 1 /x 2>&1", "--security-opt", "seccomp=builtin") == ""
    assert seen(strict, "touch /x; chmod 1 /x 2>&1", "--privileged") == ""


def test_a_stop_takes_no_longer(strict: Engine) -> None:
    strict.run("run", "-d", "--name", "slow", "--init=false", "busybox", "sleep", "100")
    strict.run("stop", "slow")
    assert strict.out("inspect", "-f", "{{.State.ExitCode}}", "slow") == "137"
    strict.run("rm", "slow")


def test_told_and_read_again(strict: Engine) -> None:
    told = strict.out("info", "-f", "{{json .SecurityOptions}} {{.ExperimentalBuild}}")
    assert "no-new-privileges" in told and "profile.json" in told and told.endswith("true")
    assert strict.out("version", "-f", "{{.Server.Experimental}}", client="docker") == "true"
    file = strict.directory / "daemon.json"
    before = file.read_text()
    file.write_text(
        json.dumps({**json.loads(before), "default-ulimits": {"nofile": {"Hard": 70, "Soft": 70}}})
    )
    assert strict.process is not None
    strict.process.send_signal(signal.SIGHUP)
    assert rig.settled(lambda: seen(strict, "ulimit -n") == "70")
    file.write_text(before)
    strict.process.send_signal(signal.SIGHUP)
    assert rig.settled(lambda: seen(strict, "ulimit -n") == "300")


def test_builds_are_as_everywhere(strict: Engine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\nRUN cat /proc/1/comm; grep NoNewPrivs /proc/self/status\n"
    )
    done = strict.run("build", "--progress", "plain", "--no-cache", str(tmp_path))
    text = (done.stdout + done.stderr).decode()
    assert "NoNewPrivs:\t0" in text and " sh\n" in text
