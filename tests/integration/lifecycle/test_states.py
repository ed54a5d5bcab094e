"""Every command in every state of a container: the status, the state after it, and what is said."""

from __future__ import annotations

import contextlib
import json
import socket
import sqlite3
import time
from collections.abc import Iterator
from concurrent import futures
from typing import Any, NamedTuple

import pytest

import unixhttp
from rig import Engine, settled

pytestmark = pytest.mark.root

STATES = ("created", "running", "paused", "restarting", "exited", "dead", "removing")

# The answers in the order of STATES; after the slash the state that follows, where it is another
# one ("any": that of a process which ends at once).
TABLE = """
start      204/running 304         409         204/any         204/running 409 409
stop       304         204/exited  204/exited  204/exited      304         304 304
kill       409         204/exited  204/exited  204/exited      409         409 409
signal     409         204         204         409             409         409 409
pause      409         204/paused  409         409             409         409 409
unpause    409         409         204/running 409             409         409 409
restart    204/running 204         204/running 204/any         204/running 409 409
rm         204/gone    409         409         409             204/gone    204/gone 409
rm-force   204/gone    204/gone    204/gone    204/gone        204/gone    204/gone 409
rename     204         204         204         204             204         204 409
update     200         200         200         200             200         409 409
exec       409         201         409         409             409         409 409
attach     200         200         409         409             200         409 409
get        200         200         200         200             200         409 409
head       200         200         200         200             200         409 409
put        200         200         200         200             200         409 409
commit     201         201         201         201             201         409 409
export     200         200         200         200             200         409 409
changes    200         200         200         200             200         200 200
top        409         200         200         409             409         409 409
stats      200         200         200         200             200         200 200
wait       200         200         200         200             200         200 200
logs       200         200         200         200             200         200 200
follow     200         200         200         200             200         200 200
resize     409         200         200         409             409         409 409
inspect    200         200         200         200             200         200 200
"""


class Request(NamedTuple):
    method: str
    target: str
    body: Any = None


REQUESTS = {
    "start": Request("POST", "/containers/box/start"),
    "stop": Request("POST", "/containers/box/stop?t=0"),
    "kill": Request("POST", "/containers/box/kill"),
    "signal": Request("POST", "/containers/box/kill?signal=WINCH"),
    "pause": Request("POST", "/containers/box/pause"),
    "unpause": Request("POST", "/containers/box/unpause"),
    "restart": Request("POST", "/containers/box/restart?t=0"),
    "rm": Request("DELETE", "/containers/box"),
    "rm-force": Request("DELETE", "/containers/box?force=1"),
    "rename": Request("POST", "/containers/box/rename?name=other"),
    "update": Request("POST", "/containers/box/update", {"CpuShares": 300}),
    "exec": Request("POST", "/containers/box/exec", {"Cmd": ["true"]}),
    "attach": Request("POST", "/containers/box/attach?stream=1&stdout=1"),
    "get": Request("GET", "/containers/box/archive?path=/etc/passwd"),
    "head": Request("HEAD", "/containers/box/archive?path=/etc/passwd"),
    "put": Request("PUT", "/containers/box/archive?path=/tmp", bytes(1024)),
    "commit": Request("POST", "/commit?container=box", {}),
    "export": Request("GET", "/containers/box/export"),
    "changes": Request("GET", "/containers/box/changes"),
    "top": Request("GET", "/containers/box/top"),
    "stats": Request("GET", "/containers/box/stats?stream=0&one-shot=1"),
    "wait": Request("POST", "/containers/box/wait"),
    "logs": Request("GET", "/containers/box/logs?stdout=1"),
    "follow": Request("GET", "/containers/box/logs?stdout=1&follow=1"),
    "resize": Request("POST", "/containers/box/resize?h=10&w=20"),
    "inspect": Request("GET", "/containers/box/json?size=1"),
}

# What clients find in the messages of refusals, by state.
WORDS = {
    "created": ("is not running", "is not paused"),
    "running": ("is not paused", "stop the container before removing or force remove"),
    "paused": ("paused", "unpause and stop the container before removing or force remove"),
    "restarting": ("is restarting, wait until the container is running", "is not running",
                   "is not paused", "container is restarting: stop the container before removing"),
    "exited": ("is not running", "is not paused"),
    "dead": ("dead", "is not running", "is not paused"),
    "removing": ("removing", "already in progress", "is not running", "is not paused"),
}  # fmt: skip


def send(engine: Engine, request: Request) -> tuple[int, str]:
    """The status, and the message of a refusal: answers that stream are not waited for."""
    method, target, body = request
    connection = unixhttp.Connection(engine.socket)
    try:
        data = json.dumps(body) if isinstance(body, dict) else body
        connection.request(method, target, data, {"Content-Type": "application/json"})
        answer = connection.getresponse()
        text = answer.read().decode() if answer.status >= 300 else ""
        return answer.status, json.loads(text)["message"] if text else ""
    finally:
        connection.close()


def state(engine: Engine) -> str:
    for name in ("box", "other"):
        status, answer = unixhttp.ask(engine.socket, "GET", f"/containers/{name}/json")
        if status == 200:
            return str(answer["State"]["Status"])
    return "gone"


def waits_for_restart(engine: Engine) -> bool:
    found = unixhttp.ask(engine.socket, "GET", "/containers/box/json")[1]
    before = found["RestartCount"], found["State"]["FinishedAt"]
    if found["State"]["Status"] != "restarting" or before[0] < 4:
        return False
    time.sleep(0.2)  # it is not about to start
    found = unixhttp.ask(engine.socket, "GET", "/containers/box/json")[1]
    after = found["RestartCount"], found["State"]["FinishedAt"]
    return (after, found["State"]["Status"]) == (before, "restarting")


def prepare(engine: Engine, wanted: str) -> None:
    """A container ``box`` in a state."""
    for name in ("box", "other"):
        unixhttp.ask(engine.socket, "DELETE", f"/containers/{name}?force=1")
    if wanted == "restarting":
        engine.run("run", "-d", "--name", "box", "--restart", "always", "busybox", "false")
        assert settled(lambda: waits_for_restart(engine), 60)
        return
    engine.run("create", "--name", "box", "busybox", "sleep", "1000")
    if wanted in ("running", "paused", "exited"):
        engine.run("start", "box")
    if wanted == "paused":
        engine.run("pause", "box")
    if wanted == "exited":
        engine.run("kill", "box")
    if wanted == "dead":  # as after a removal that has failed
        engine.end(9)
        with contextlib.closing(sqlite3.connect(engine.data / "firkin.db")) as database, database:
            [(key, text)] = database.execute("SELECT id, state FROM containers").fetchall()
            dead = json.dumps({**json.loads(text), "status": "dead"}).encode()
            database.execute("UPDATE containers SET state = ? WHERE id = ?", (dead, key))
        engine.start()
    assert state(engine) == wanted


@pytest.mark.parametrize("column", range(6), ids=STATES[:6])
def test_commands(engine: Engine, column: int) -> None:
    before = STATES[column]
    prepare(engine, before)
    for line in TABLE.strip().splitlines():
        command, *cells = line.split()
        expected, _, after = cells[column].partition("/")
        if before == "restarting":
            assert settled(lambda: waits_for_restart(engine), 60)
        status, message = send(engine, REQUESTS[command])
        assert status == int(expected), (command, status, message)
        assert after == "any" or state(engine) == (after or before), command
        if status >= 400 and command != "head":
            assert any(words in message for words in WORDS[before]), (command, message)
        if after or command == "rename":
            prepare(engine, before)


@pytest.fixture
def deaf() -> Iterator[str]:
    """A log target that takes connections and nothing that is sent on them."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield f"tcp://127.0.0.1:{server.getsockname()[1]}"


def test_while_it_is_removed(engine: Engine, deaf: str) -> None:
    """A removal waits some seconds for the last words to be delivered: commands may wait with it,
    and find the container gone."""
    engine.run(
        "run",
        "-d",
        "--name",
        "box",
        "--log-driver",
        "syslog",
        "--log-opt",
        f"syslog-address={deaf}",
        "busybox",
        "sh",
        "-c",
        "yes | head -c 32m; sleep 1000",
    )
    directory = engine.data / "containers" / engine.out("inspect", "-f", "{{.Id}}", "box")
    assert settled(lambda: sum(f.stat().st_size for f in directory.glob("*.log*")) > 32 << 20, 60)
    with futures.ThreadPoolExecutor(len(REQUESTS) + 1) as pool:
        removal = pool.submit(send, engine, REQUESTS["rm-force"])
        assert settled(lambda: state(engine) == "removing", 30)
        answers = {name: pool.submit(send, engine, asked) for name, asked in REQUESTS.items()}
        assert removal.result() == (204, "")
    refused = 0
    for line in TABLE.strip().splitlines():
        command, *cells = line.split()
        status, message = answers[command].result()
        gone = (204,) if command == "rm-force" else (404,)
        assert status in (int(cells[6]), *gone), (command, status, message)
        if status == 409 and command != "head":
            refused += 1
            assert any(words in message for words in WORDS["removing"]), (command, message)
    assert refused > 3
    assert state(engine) == "gone"
