"""ContainerUpdate: by both clients, by raw HTTP, over a restart of the engine."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import unixhttp
from rig import Engine

pytestmark = pytest.mark.root


def group(engine: Engine, name: str, v1: str, v2: str) -> str:
    """What a control file of the container's cgroup says."""
    cid = engine.out("inspect", "-f", "{{.Id}}", name)
    unified = Path("/sys/fs/cgroup/firkin") / cid / v2
    path = (
        unified if unified.exists() else Path("/sys/fs/cgroup") / v1.replace("@", f"firkin/{cid}")
    )
    return path.read_text().strip()


def inspect(engine: Engine, name: str) -> Any:
    return json.loads(engine.out("inspect", name))[0]


def test_live_limits(engine: Engine, client: str) -> None:
    engine.run("run", "-d", "--name", "up", "-m", "64m", "busybox", "sleep", "1000")
    said = engine.out(
        "update", "-m", "96m", "--memory-swap", "128m", "--cpus", "0.5", "--cpu-shares", "300",
        "--pids-limit", "40", "--cpuset-cpus", "0", "up", client=client,
    )  # fmt: skip
    assert said == "up"
    assert group(engine, "up", "memory/@/memory.limit_in_bytes", "memory.max") == str(96 << 20)
    assert group(engine, "up", "pids/@/pids.max", "pids.max") == "40"
    assert group(engine, "up", "cpuset/@/cpuset.cpus", "cpuset.cpus") == "0"
    quota = group(engine, "up", "cpu/@/cpu.cfs_quota_us", "cpu.max").split()[0]
    assert quota == "50000"
    host = inspect(engine, "up")["HostConfig"]
    assert (host["Memory"], host["MemorySwap"], host["PidsLimit"]) == (96 << 20, 128 << 20, 40)
    # Down again, below the old swap limit, and off altogether.
    engine.run("update", "-m", "32m", "--memory-swap", "40m", "up", client=client)
    assert group(engine, "up", "memory/@/memory.limit_in_bytes", "memory.max") == str(32 << 20)
    engine.run("update", "--memory-swap", "-1", "--pids-limit", "-1", "up", client=client)
    assert int(group(engine, "up", "pids/@/pids.max", "pids.max").replace("max", "9999999")) > 99999


def test_kept_over_a_restart_of_the_engine_and_of_the_container(engine: Engine) -> None:
    engine.run("create", "--name", "kept", "busybox", "sleep", "1000")
    engine.run("update", "-m", "80m", "--restart", "on-failure:3", "kept")  # it does not run
    engine.end(9)
    engine.start()
    engine.run("start", "kept")
    assert group(engine, "kept", "memory/@/memory.limit_in_bytes", "memory.max") == str(80 << 20)
    policy = inspect(engine, "kept")["HostConfig"]["RestartPolicy"]
    assert policy == {"Name": "on-failure", "MaximumRetryCount": 3}


def test_labels_of_a_running_container(engine: Engine) -> None:
    engine.run("run", "-d", "--name", "lab", "-l", "old=1", "busybox", "sleep", "1000")
    engine.run("update", "--label-add", "new=2", "--label-rm", "old", "lab")
    assert inspect(engine, "lab")["Config"]["Labels"] == {"new": "2"}
    assert engine.out("ps", "-q", "--filter", "label=new=2")
    assert not engine.out("ps", "-q", "--filter", "label=old")


@pytest.mark.parametrize(
    ("body", "status", "words"),
    [
        ({"CpuQuota": 20000}, 409, "NanoCPUs has already been set"),
        ({"Memory": 300 << 20}, 409, "already set memoryswap limit"),
        ({"Memory": 1000}, 400, "Minimum memory limit"),
        ({"CpusetCpus": "77"}, 400, "not available"),
        ({"RestartPolicy": {"Name": "sometimes"}}, 400, "unknown policy"),
        ({"RestartPolicy": {"Name": "always", "MaximumRetryCount": 2}}, 400, "maximum retry"),
        ({"Memory": "much"}, 400, "does not fit"),
        ({"CpuRealtimePeriod": 1000}, 501, "realtime"),
        ({"Ulimits": [{"Name": "nofile", "Soft": 9, "Hard": 9}]}, 501, "update of ulimits"),
        ({"OomKillDisable": True}, 501, "update of oom kill disable"),
    ],
)
def test_refused(engine: Engine, body: dict[str, Any], status: int, words: str) -> None:
    engine.run("create", "--name", "no", "-m", "64m", "--cpus", "1", "busybox")
    before = inspect(engine, "no")
    found, answer = unixhttp.ask(engine.socket, "POST", "/v1.56/containers/no/update", body)
    assert (found, words in answer["message"]) == (status, True), answer
    assert inspect(engine, "no") == before


def test_raw(engine: Engine) -> None:
    engine.run("run", "-d", "--rm", "--name", "raw", "busybox", "sleep", "1000")
    post = ("POST", "/containers/raw/update")
    assert unixhttp.ask(engine.socket, *post, {}) == (200, {"Warnings": []})
    status, answer = unixhttp.ask(engine.socket, *post, {"RestartPolicy": {"Name": "always"}})
    assert (status, "AutoRemove" in answer["message"]) == (409, True)
    assert unixhttp.ask(engine.socket, "POST", "/containers/none/update", {})[0] == 404


def test_event(engine: Engine) -> None:
    engine.run("create", "--name", "ev", "busybox")
    engine.run("update", "--cpu-shares", "512", "ev")
    said = engine.out("events", "--since", "1h", "--until", "0s", "--filter", "event=update")
    assert "container update" in said and "name=ev" in said
