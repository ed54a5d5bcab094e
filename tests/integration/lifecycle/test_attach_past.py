"""Attach with ``logs`` while output pours: past and live output join without a gap or a double."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import socket
import struct
import threading
import time
from collections.abc import Generator

import aiohttp
import pytest

import logtargets
import unixhttp
from rig import Engine

pytestmark = pytest.mark.root

FAST = "i=0; while :; do seq $((i+1)) $((i+3000)); i=$((i+3000)); sleep 0.03; done"
BURSTS = (
    "i=0; while :; do i=$((i+1)); echo $i; echo $i >&2; [ $((i % 50)) = 0 ] && sleep 0.02; done"
)
PARTS = "i=0; while :; do i=$((i+1)); printf '%d ' $i; [ $((i % 9)) = 0 ] && sleep 0.01; done"
LIVE = 300_000
"""How many bytes a client stays for beyond the log that there was."""
LOGS = {
    "local": {"Type": "local"},
    "rotating": {"Type": "local", "Config": {"max-size": "300k", "max-file": "2"}},
    "json-file": {"Type": "json-file"},
    "json-file-rotating": {"Type": "json-file", "Config": {"max-size": "100k", "max-file": "3"}},
    "none": {"Type": "none"},
}


def begin(
    engine: Engine, script: str, log: dict[str, object], *, tty: bool = False, once: bool = False
) -> str:
    body = {
        "Image": "busybox", "Cmd": ["sh", "-c", script], "Tty": tty,
        "OpenStdin": once, "StdinOnce": once,
        "HostConfig": {"LogConfig": log},
    }  # fmt: skip
    status, answer = unixhttp.ask(engine.socket, "POST", "/containers/create", body)
    assert status == 201, answer
    assert unixhttp.ask(engine.socket, "POST", f"/containers/{answer['Id']}/start")[0] == 204
    return str(answer["Id"])


def attached(
    engine: Engine, container: str, query: str, slowly: float = 0
) -> Generator[bytes, None, None]:
    """The bytes that a client gets, until it leaves."""
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(60)
        sock.connect(str(engine.socket))
        sock.sendall(
            f"POST /containers/{container}/attach?logs=1&stream=1&{query} HTTP/1.1\r\n"
            "Host: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode()
        )
        data = b""
        while b"\r\n\r\n" not in data:
            data += sock.recv(4096)
        yield data.partition(b"\r\n\r\n")[2]
        while data := sock.recv(65536):
            time.sleep(slowly)
            yield data


def past(engine: Engine, container: str) -> int:
    """About as many bytes as a client gets from the log."""
    said = engine.run("logs", "--tail", "1", container, check=False).stdout.split()
    return len(said) and int(said[-1]) * (len(said[-1]) + 9)


def output(
    engine: Engine, container: str, query: str, live: int = LIVE, slowly: float = 0
) -> bytes:
    """What a client gets that stays for so many bytes beyond what is in the log by now."""
    enough = live + past(engine, container)
    got = bytearray()
    with contextlib.closing(attached(engine, container, query, slowly)) as parts:
        for part in parts:
            got += part
            if len(got) > enough:
                break
    return bytes(got)


def streams(data: bytes) -> dict[int, bytes]:
    """What a multiplexed stream has of each kind; a last frame may be cut."""
    found: dict[int, list[bytes]] = {1: [], 2: []}
    at = 0
    while at + 8 <= len(data):
        kind, size = struct.unpack_from(">BxxxI", data, at)
        found[kind].append(data[at + 8 : at + 8 + size])
        at += 8 + size
    return {kind: b"".join(parts) for kind, parts in found.items()}


def numbers(data: bytes) -> list[int]:
    """Whole numbers of the text."""
    end = max(data.rfind(b"\n"), data.rfind(b" "))
    return [int(word) for word in data[:end].split()]


def consecutive(found: list[int]) -> None:
    assert len(found) > 100
    breaks = [(a, b) for a, b in itertools.pairwise(found) if b != a + 1]
    assert not breaks, breaks[:5]


@pytest.mark.parametrize("log", LOGS)
def test_pouring(engine: Engine, log: str) -> None:
    container = begin(engine, FAST, LOGS[log])
    for query in ("stdout=1&stderr=1", "stdout=1", "stdout=1&stderr=1&stdin=1"):
        found = numbers(streams(output(engine, container, query))[1])
        consecutive(found if log != "none" else found[1:])  # it begins within a line
        if log in ("local", "json-file"):
            assert found[0] == 1


@pytest.mark.parametrize("log", ["local", "json-file"])
def test_two_streams_in_bursts(engine: Engine, log: str) -> None:
    container = begin(engine, BURSTS, LOGS[log])
    for query, wanted in (("stdout=1&stderr=1", (1, 2)), ("stderr=1", (2,)), ("stdout=1", (1,))):
        got = streams(output(engine, container, query, 30_000))
        for kind in (1, 2):
            if kind in wanted:
                found = numbers(got[kind])
                assert found[0] == 1
                consecutive(found)
            else:
                assert not got[kind]


@pytest.mark.parametrize("log", ["local", "json-file"])
def test_parts_of_lines(engine: Engine, log: str) -> None:
    container = begin(engine, PARTS, LOGS[log])
    for _ in range(3):
        found = numbers(streams(output(engine, container, "stdout=1", 3_000))[1])
        assert found[0] == 1
        consecutive(found)


def test_a_terminal(engine: Engine) -> None:
    container = begin(engine, FAST, LOGS["local"], tty=True)
    for _ in range(2):
        found = numbers(output(engine, container, "stdout=1"))
        assert found[0] == 1
        consecutive(found)


@pytest.mark.parametrize("log", ["local", "json-file"])
def test_after_a_client_that_has_left(engine: Engine, log: str) -> None:
    """Whose connection to the monitor is kept, since the input would end with it."""
    container = begin(engine, BURSTS, LOGS[log], once=True)
    for _ in range(4):
        found = numbers(streams(output(engine, container, "stdout=1", 30_000))[1])
        assert found[0] == 1
        consecutive(found)


def test_a_slow_client(engine: Engine) -> None:
    """It holds the container up, and misses nothing for it."""
    container = begin(engine, FAST, LOGS["rotating"])
    time.sleep(0.5)
    got = output(engine, container, "stdout=1", slowly=0.005)
    consecutive(numbers(streams(got)[1]))


def test_many_clients_at_once(engine: Engine) -> None:
    container = begin(engine, BURSTS, LOGS["json-file"])
    got: list[bytes] = []

    def attach() -> None:
        got.append(output(engine, container, "stdout=1", 30_000))

    threads = [threading.Thread(target=attach) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(got) == 8
    for data in got:
        consecutive(numbers(streams(data)[1]))


def test_a_driver_for_another_place(engine: Engine) -> None:
    with contextlib.closing(logtargets.Target.udp()) as target:
        config = {"syslog-address": f"udp://127.0.0.1:{target.port}"}
        container = begin(engine, FAST, {"Type": "syslog", "Config": config})
        consecutive(numbers(streams(output(engine, container, "stdout=1"))[1]))
        engine.run("rm", "-f", container)


@pytest.mark.parametrize("log", ["local", "json-file"])
def test_an_earlier_run_and_the_next(engine: Engine, log: str) -> None:
    """A client that attaches before the start gets the run before, then all of this one."""
    script = "seq 1 3000; printf end; sleep 0.1"
    container = begin(engine, script, LOGS[log])
    for runs in (2, 3):
        unixhttp.ask(engine.socket, "POST", f"/containers/{container}/wait?condition=not-running")
        parts = attached(engine, container, "stdout=1&stderr=1")
        data = next(parts)
        assert unixhttp.ask(engine.socket, "POST", f"/containers/{container}/start")[0] == 204
        data += b"".join(parts)
        once = b"".join(b"%d\n" % number for number in range(1, 3001)) + b"end"
        got = streams(data)[1]
        assert got.replace(b"end\n", b"end") == once * runs  # json-file ends each run with a line


@pytest.mark.parametrize("log", ["local", "json-file"])
def test_to_the_end(engine: Engine, log: str) -> None:
    """All is there, whether it came from the log or live, and the end of it is told."""
    script = "seq 1 20000; until test -e /go; do sleep 0.05; done; seq 20001 40000"
    for _ in range(3):
        container = begin(engine, script, LOGS[log])
        parts = attached(engine, container, "stdout=1")
        data = next(parts) + next(parts)
        engine.run("exec", container, "touch", "/go")
        got = streams(data + b"".join(parts))[1]
        assert numbers(got + b" ") == list(range(1, 40001))


def test_a_websocket(engine: Engine) -> None:
    container = begin(engine, FAST, LOGS["local"])
    enough = LIVE

    async def listen() -> bytes:
        connector = aiohttp.UnixConnector(str(engine.socket))
        async with aiohttp.ClientSession(connector=connector) as session:
            url = f"http://x/containers/{container}/attach/ws?logs=1&stream=1&stdout=1"
            data = b""
            async with session.ws_connect(url) as ws:
                async for message in ws:
                    data += message.data
                    if len(data) > enough:
                        break
            return data

    for _ in range(2):
        enough = LIVE + past(engine, container)
        consecutive(numbers(asyncio.run(asyncio.wait_for(listen(), 60))))


def test_input_goes_through_while_the_past_comes(engine: Engine) -> None:
    body = {
        "Image": "busybox", "OpenStdin": True,
        "Cmd": ["sh", "-c", "seq 1 50000; read x; echo [$x]"],
    }  # fmt: skip
    status, answer = unixhttp.ask(engine.socket, "POST", "/containers/create?name=asks", body)
    assert status == 201, answer
    engine.run("start", "asks")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(60)
        sock.connect(str(engine.socket))
        sock.sendall(
            b"POST /containers/asks/attach?logs=1&stream=1&stdin=1&stdout=1 HTTP/1.1\r\n"
            b"Host: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        )
        data = sock.recv(4096)
        sock.sendall(b"typed\n")
        while part := sock.recv(65536):
            data += part
    said = streams(data.partition(b"\r\n\r\n")[2])[1]
    assert said.endswith(b"[typed]\n")
    assert numbers(said.partition(b"[")[0]) == list(range(1, 50001))
