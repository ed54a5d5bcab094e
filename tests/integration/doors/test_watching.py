"""What an operator sees of the engine: metrics, its log, /debug and the stacks on SIGUSR1."""

from __future__ import annotations

import json
import os
import signal
import time
import urllib.request
from collections.abc import Iterator

import pytest

import rig
import unixhttp
from rig import Engine

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("engine"), f"fkw{os.getpid()}")
    try:
        engine.start("--metrics-addr", "127.0.0.1:0", "--log-format", "json", "--debug")
        engine.add_busybox()
        yield engine
    finally:
        if engine.process and engine.process.poll() is None:
            engine.end()
        rig.clear(engine)


def records(engine: Engine) -> list[dict[str, str]]:
    lines = (engine.directory / "log").read_text().splitlines()
    return [json.loads(line) for line in lines]


def metrics(engine: Engine) -> dict[str, float]:
    [address] = [r["msg"].split()[-1] for r in records(engine) if r["msg"].startswith("metrics at")]
    with urllib.request.urlopen(address, timeout=30) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain; version=")
        lines = answer.read().decode().splitlines()
    return {
        name: float(value)
        for name, _, value in (line.rpartition(" ") for line in lines if line[:1] != "#")
    }


def test_metrics(engine: Engine) -> None:
    before = metrics(engine)
    name = engine.out("run", "-d", "--network=none", "busybox", "sleep", "60")
    during = metrics(engine)
    state = 'engine_daemon_container_states_containers{state="%s"}'
    assert during[state % "running"] == before[state % "running"] + 1
    engine.run("rm", "-f", name)
    after = metrics(engine)
    assert after[state % "running"] == before[state % "running"]
    for action in ("create", "start", "delete"):
        count = f'engine_daemon_container_actions_seconds_count{{action="{action}"}}'
        assert after[count] == before.get(count, 0) + 1
    assert after["engine_daemon_events_total"] > before["engine_daemon_events_total"]
    assert after["engine_daemon_engine_cpus_cpus"] == os.cpu_count()
    assert after["process_open_fds"] > 0
    assert 'firkin_api_requests_total{code="201"}' in after
    assert any(line.startswith("engine_daemon_engine_info{architecture=") for line in after)


def test_the_log_is_json_with_requests_and_without_secrets(engine: Engine) -> None:
    connection = unixhttp.Connection(engine.socket)
    connection.request("GET", "/v1.45/containers/json?secret=hunter2",
                       headers={"X-Registry-Auth": "hunter3"})  # fmt: skip
    assert connection.getresponse().read()
    connection.close()
    found = [r for r in records(engine) if r["msg"].startswith("GET /containers/json: 200")]
    assert {"time", "level", "msg", "logger", "request"} == set(found[-1])
    assert found[-1]["level"] == "debug"
    assert len({r["request"] for r in found}) == len(found)
    assert "hunter" not in (engine.directory / "log").read_text()


def test_debug(engine: Engine) -> None:
    status, found = unixhttp.ask(engine.socket, "GET", "/debug/vars")
    assert status == 200
    assert found["descriptors"] > 5 and found["memory_resident"] > 1 << 20
    assert "Task" in unixhttp.ask(engine.socket, "GET", "/debug/tasks")[1]
    assert "MainThread" in unixhttp.ask(engine.socket, "GET", "/debug/threads")[1]
    assert "unreachable" in unixhttp.ask(engine.socket, "POST", "/debug/gc")[1]


def test_stacks_on_a_signal(engine: Engine) -> None:
    assert engine.process
    engine.process.send_signal(signal.SIGUSR1)
    deadline = time.monotonic() + 30
    while not any("stacks of threads" in r["msg"] for r in records(engine)):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    [path] = engine.exec.glob("stacks-*.log")
    assert path.stat().st_mode & 0o777 == 0o600
    assert "thread MainThread" in path.read_text()
    path.unlink()


def test_no_debug_without_the_flag(tmp_path_factory: pytest.TempPathFactory) -> None:
    engine = Engine(tmp_path_factory.mktemp("engine"), f"fkv{os.getpid()}")
    try:
        engine.start("--live-restore=false")
        for target in ("/debug/vars", "/debug/tasks", "/debug/threads"):
            assert unixhttp.ask(engine.socket, "GET", target)[0] == 404
        assert unixhttp.ask(engine.socket, "GET", "/info")[1]["LiveRestoreEnabled"] is True
    finally:
        if engine.process and engine.process.poll() is None:
            engine.end()
        rig.clear(engine)
