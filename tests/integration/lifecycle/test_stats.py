"""ContainerStats: shape, streams, and one sampler for all."""

from __future__ import annotations

import json
import subprocess
import time
from typing import Any

import pytest

import rig
import unixhttp
from rig import Engine

pytestmark = pytest.mark.root


def one(engine: Engine, name: str, query: str) -> Any:
    status, text = unixhttp.ask(engine.socket, "GET", f"/v1.56/containers/{name}/stats?{query}")
    assert status == 200, text
    return text if isinstance(text, dict) else json.loads(text)


def test_one_sample(engine: Engine) -> None:
    engine.run("run", "-d", "--name", "st", "-m", "64m", "--pids-limit", "30", "busybox", "sh",
               "-c", "while :; do :; done")  # fmt: skip
    found = one(engine, "st", "stream=0&one-shot=1")
    assert found["name"] == "/st" and found["os_type"] == "linux"
    assert found["preread"] == "0001-01-01T00:00:00Z"
    assert found["precpu_stats"]["cpu_usage"]["total_usage"] == 0
    assert found["cpu_stats"]["cpu_usage"]["total_usage"] > 0
    assert found["memory_stats"]["limit"] == 64 << 20
    assert 0 < found["memory_stats"]["usage"] < 64 << 20
    assert found["pids_stats"] == {"current": 1, "limit": 30}
    assert found["networks"]["eth0"]["rx_bytes"] >= 0
    compared = one(engine, "st", "stream=0")
    assert compared["precpu_stats"]["system_cpu_usage"] < compared["cpu_stats"]["system_cpu_usage"]
    assert compared["preread"] < compared["read"]


def test_refused_and_missing(engine: Engine) -> None:
    ask = unixhttp.ask
    engine.run("create", "--name", "idle", "busybox")
    assert ask(engine.socket, "GET", "/containers/idle/stats?stream=1&one-shot=1")[0] == 400
    assert ask(engine.socket, "GET", "/containers/nosuch/stats")[0] == 404
    found = one(engine, "idle", "stream=0")
    assert found["memory_stats"] == {} and found["read"] == "0001-01-01T00:00:00Z"


def test_host_network_and_traffic(engine: Engine) -> None:
    engine.run("run", "-d", "--name", "hostnet", "--network", "host", "busybox", "sleep", "1000")
    assert "networks" not in one(engine, "hostnet", "stream=0&one-shot=1")
    engine.run("run", "-d", "--name", "net", "busybox", "sleep", "1000")
    before = one(engine, "net", "stream=0&one-shot=1")["networks"]["eth0"]["tx_packets"]
    ping = "ping -c 3 -i 0.2 $(ip route | awk '/default/{print $3}')"
    engine.run("exec", "net", "sh", "-c", ping, check=False)
    assert one(engine, "net", "stream=0&one-shot=1")["networks"]["eth0"]["tx_packets"] > before


def test_a_stream_goes_on_while_the_container_stops_and_ends_when_it_is_removed(
    engine: Engine,
) -> None:
    engine.run("run", "-d", "--name", "life", "busybox", "sleep", "1000")
    connection = unixhttp.Connection(engine.socket)
    connection.request("GET", "/containers/life/stats")
    answer = connection.getresponse()
    assert json.loads(answer.readline())["memory_stats"]
    assert json.loads(answer.readline())["precpu_stats"]["system_cpu_usage"]
    engine.run("stop", "-t", "0", "life")
    while json.loads(answer.readline())["memory_stats"]:
        pass
    engine.run("rm", "life")
    while answer.readline():
        pass
    connection.close()


def test_many_clients_get_the_same_samples(engine: Engine) -> None:
    engine.run("run", "-d", "--name", "shared", "busybox", "sleep", "1000")
    connections = [unixhttp.Connection(engine.socket) for _ in range(20)]
    answers = []
    for connection in connections:
        connection.request("GET", "/containers/shared/stats")
        answers.append(connection.getresponse())
    reads = [{json.loads(answer.readline())["read"] for _ in range(4)} for answer in answers]
    for connection in connections:
        connection.close()
    assert len(set().union(*reads)) <= 8  # and not 80


def test_clients(engine: Engine, client: str) -> None:
    engine.run("run", "-d", "--name", "seen", "-m", "64m", "busybox", "sleep", "1000")
    engine.run("create", "--name", "unseen", "busybox")
    table = engine.out("stats", "--no-stream", client=client).splitlines()
    assert table[0].split() == ["CONTAINER", "ID", "NAME", "CPU", "%", "MEM", "USAGE", "/", "LIMIT",
                                "MEM", "%", "NET", "I/O", "BLOCK", "I/O", "PIDS"]  # fmt: skip
    assert len(table) == 2 and " seen " in table[1] and "/ 64MiB" in table[1]
    assert "unseen" in engine.out("stats", "--no-stream", "-a", client=client)
    fields = json.loads(
        engine.out("stats", "--no-stream", "--format", "json", "seen", client=client)
    )
    assert set(fields) == {"BlockIO", "CPUPerc", "Container", "ID", "MemPerc", "MemUsage", "Name",
                           "NetIO", "PIDs"}  # fmt: skip
    assert fields["PIDs"] == "1"
    identity = engine.out(
        "stats", "--no-stream", "--no-trunc", "--format", "{{.ID}}", client=client
    )
    assert len(identity) == 64
    failed = engine.run("stats", "--no-stream", "nosuch", client=client, check=False)
    assert failed.returncode == 1 and b"No such container: nosuch" in failed.stderr


def test_the_live_table_follows_what_starts(engine: Engine) -> None:
    words = ["script", "-qc", f"{rig.BIN / 'firkin'} stats", "/dev/null"]
    live = subprocess.Popen(
        words, env=engine.environment(), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE
    )
    try:
        assert live.stdout is not None
        engine.run("run", "-d", "--name", "late", "busybox", "sleep", "1000")
        seen, deadline = b"", time.monotonic() + 60
        while b"late" not in seen:
            assert time.monotonic() < deadline, seen
            seen += live.stdout.read1(65536)
        assert b"\033[H" in seen
    finally:
        live.kill()
        live.wait()
