"""Streams of the API itself: framing, hijacking, websockets, logs, wait, exec."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import struct
import threading
import time
from typing import Any

import aiohttp
import pytest

import unixhttp
from rig import Engine

pytestmark = pytest.mark.root

Frames = list[tuple[int, bytes]]


def frames(data: bytes) -> Frames:
    """The parts of a multiplexed stream, neighbours of one kind joined."""
    found: Frames = []
    while data:
        kind, size = struct.unpack(">BxxxI", data[:8])
        part, data = data[8 : 8 + size], data[8 + size :]
        if found and found[-1][0] == kind:
            part = found.pop()[1] + part
        found.append((kind, part))
    return found


class Hijacked:
    """A connection after ``101 UPGRADED``."""

    def __init__(self, engine: Engine, target: str, body: str = "") -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(20)
        self.sock.connect(str(engine.socket))
        self.sock.sendall(
            f"POST {target} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
            f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n{body}".encode()
        )
        data = b""
        while b"\r\n\r\n" not in data:
            data += self.sock.recv(4096)
        self.head, _, self.rest = data.partition(b"\r\n\r\n")

    def read(self) -> bytes:
        """Everything until the end."""
        parts = [self.rest]
        while part := self.sock.recv(65536):
            parts.append(part)
        self.sock.close()
        return b"".join(parts)


def _create(engine: Engine, name: str, script: str, **more: Any) -> None:
    body = {"Image": "busybox", "Cmd": ["sh", "-c", script], **more}
    status, answer = unixhttp.ask(engine.socket, "POST", f"/containers/create?name={name}", body)
    assert status == 201, answer


def _start(engine: Engine, name: str) -> None:
    assert unixhttp.ask(engine.socket, "POST", f"/containers/{name}/start")[0] == 204


def test_attach_before_start_gets_all_of_it(engine: Engine) -> None:
    _create(engine, "early", "echo out; sleep 0.2; echo err >&2; sleep 0.2; echo out2")
    stream = Hijacked(engine, "/containers/early/attach?stream=1&stdout=1&stderr=1")
    assert stream.head.startswith(b"HTTP/1.1 101 ")
    assert b"application/vnd.docker.multiplexed-stream" in stream.head
    _start(engine, "early")
    assert frames(stream.read()) == [(1, b"out\n"), (2, b"err\n"), (1, b"out2\n")]


def test_attach_to_a_terminal_is_raw(engine: Engine) -> None:
    _create(engine, "raw", "echo hi; read x; echo [$x]", Tty=True, OpenStdin=True)
    stream = Hijacked(engine, "/containers/raw/attach?stream=1&stdin=1&stdout=1&stderr=1")
    assert b"application/vnd.docker.raw-stream" in stream.head
    _start(engine, "raw")
    stream.sock.sendall(b"typed\n")
    said = stream.read().split()  # with the terminal's echo, before or after
    assert sorted(said) == [b"[typed]", b"hi", b"typed"]


def test_attach_with_logs(engine: Engine) -> None:
    _create(engine, "past", "echo before; sleep 1; echo after")
    _start(engine, "past")
    time.sleep(0.5)
    only = Hijacked(engine, "/containers/past/attach?logs=1&stream=0&stdout=1")
    assert frames(only.read()) == [(1, b"before\n")]
    both = Hijacked(engine, "/containers/past/attach?logs=1&stream=1&stdout=1")
    assert frames(both.read()) == [(1, b"before\nafter\n")]


def test_stdin_half_close(engine: Engine) -> None:
    _create(engine, "half", "cat; echo end", OpenStdin=True, StdinOnce=True)
    stream = Hijacked(engine, "/containers/half/attach?stream=1&stdin=1&stdout=1")
    _start(engine, "half")
    stream.sock.sendall(b"x" * 100_000)
    stream.sock.shutdown(socket.SHUT_WR)
    assert frames(stream.read()) == [(1, b"x" * 100_000 + b"end\n")]


def test_websocket(engine: Engine) -> None:
    _create(engine, "web", "echo hello; read x; echo [$x]", OpenStdin=True)
    _start(engine, "web")

    async def talk() -> bytes:
        connector = aiohttp.UnixConnector(str(engine.socket))
        async with aiohttp.ClientSession(connector=connector) as session:
            url = "http://x/containers/web/attach/ws?logs=1&stream=1&stdin=1&stdout=1"
            async with session.ws_connect(url) as ws:
                await ws.send_bytes(b"through\n")
                data = b""
                async for message in ws:
                    data += (
                        message.data if isinstance(message.data, bytes) else message.data.encode()
                    )
                return data

    assert asyncio.run(asyncio.wait_for(talk(), 20)) == b"hello\n[through]\n"


def test_logs(engine: Engine) -> None:
    _create(engine, "said", "for i in 1 2 3; do echo o$i; echo e$i >&2; sleep 0.3; done")
    _start(engine, "said")
    unixhttp.ask(engine.socket, "POST", "/containers/said/wait")

    def logs(query: str) -> Frames:
        connection = unixhttp.Connection(engine.socket)
        with contextlib.closing(connection):
            connection.request("GET", f"/containers/said/logs?{query}")
            answer = connection.getresponse()
            assert answer.status == 200
            return frames(answer.read())

    assert (
        b"".join(part for kind, part in logs("stdout=1&stderr=1") if kind == 1) == b"o1\no2\no3\n"
    )
    assert logs("stderr=1") == [(2, b"e1\ne2\ne3\n")]
    assert logs("stdout=1&tail=3") == [(1, b"o3\n")]  # the last three lines of both
    assert logs("stdout=1&tail=0") == []
    assert logs("stdout=1&tail=all") == [(1, b"o1\no2\no3\n")]
    stamped = logs("stdout=1&timestamps=1")[0][1].decode()
    times = re.findall(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z) o\d$", stamped, re.MULTILINE)
    assert len(times) == 3
    assert logs(f"stdout=1&since={times[1]}") == [(1, b"o2\no3\n")]
    assert logs(f"stdout=1&until={times[1]}") == [(1, b"o1\no2\n")]
    assert unixhttp.ask(engine.socket, "GET", "/containers/said/logs")[0] == 400


def test_logs_follow_to_the_end(engine: Engine) -> None:
    _create(engine, "goes", "for i in 1 2 3 4; do echo $i; sleep 0.2; done")
    _start(engine, "goes")
    connection = unixhttp.Connection(engine.socket)
    with contextlib.closing(connection):
        connection.request("GET", "/containers/goes/logs?stdout=1&follow=1")
        assert frames(connection.getresponse().read()) == [(1, b"1\n2\n3\n4\n")]


def test_wait_conditions(engine: Engine) -> None:
    _create(engine, "waited", "sleep 0.7; exit 3", HostConfig={"AutoRemove": True})
    answers: dict[str, Any] = {}

    def wait(condition: str) -> None:
        answers[condition] = unixhttp.ask(
            engine.socket, "POST", f"/containers/waited/wait?condition={condition}"
        )

    status, answer = unixhttp.ask(engine.socket, "POST", "/containers/waited/wait")
    assert (status, answer["StatusCode"]) == (200, 0)  # it was never started
    threads = [threading.Thread(target=wait, args=(name,)) for name in ("next-exit", "removed")]
    for thread in threads:
        thread.start()
    time.sleep(0.3)
    _start(engine, "waited")
    wait("not-running")
    for thread in threads:
        thread.join(20)
    assert {name: found[1]["StatusCode"] for name, found in answers.items()} == {
        "next-exit": 3, "removed": 3, "not-running": 3,
    }  # fmt: skip
    assert unixhttp.ask(engine.socket, "POST", "/containers/waited/wait?condition=nonsense")[0] in (
        400, 404,
    )  # fmt: skip


def test_exec(engine: Engine) -> None:
    _create(engine, "box", "sleep 1000")
    _start(engine, "box")

    def create(**request: Any) -> str:
        status, answer = unixhttp.ask(engine.socket, "POST", "/containers/box/exec", request)
        assert status == 201, answer
        return str(answer["Id"])

    both = create(Cmd=["sh", "-c", "echo out; sleep 0.1; echo err >&2; exit 5"], AttachStdout=True,
                  AttachStderr=True)  # fmt: skip
    stream = Hijacked(engine, f"/exec/{both}/start", '{"Detach": false, "Tty": false}')
    assert frames(stream.read()) == [(1, b"out\n"), (2, b"err\n")]
    state = unixhttp.ask(engine.socket, "GET", f"/exec/{both}/json")[1]
    assert (state["ExitCode"], state["Running"], state["Pid"] > 1) == (5, False, True)
    assert unixhttp.ask(engine.socket, "POST", f"/exec/{both}/start", {})[0] == 409
    quiet = create(Cmd=["touch", "/made"])
    assert unixhttp.ask(engine.socket, "POST", f"/exec/{quiet}/start", {"Detach": True})[0] == 200
    script = (
        "until stty size; do :; done 2>/dev/null; until test -e /resized; do :; done; stty size"
    )
    tty = create(Cmd=["sh", "-c", script], AttachStdout=True, Tty=True)
    stream = Hijacked(engine, f"/exec/{tty}/start", '{"Tty": true, "ConsoleSize": [30, 90]}')
    while stream.rest.count(b"\n") < 1:
        stream.rest += stream.sock.recv(4096)
    assert unixhttp.ask(engine.socket, "POST", f"/exec/{tty}/resize?h=40&w=120")[0] in (200, 201)
    engine.run("exec", "box", "touch", "/resized")
    assert stream.read().split() == [b"30", b"90", b"40", b"120"]
    assert engine.out("exec", "box", "ls", "/made") == "/made"
    assert unixhttp.ask(engine.socket, "GET", "/exec/nosuch/json")[0] == 404
    missing = create(Cmd=["nosuch"], AttachStdout=True)
    status, answer = unixhttp.ask(engine.socket, "POST", f"/exec/{missing}/start", {"Detach": True})
    assert status == 400
    assert "executable file not found" in answer["message"]


def test_resize_of_a_container(engine: Engine) -> None:
    _create(engine, "sized", "sleep 0.5; stty size", Tty=True)
    _start(engine, "sized")
    assert unixhttp.ask(engine.socket, "POST", "/containers/sized/resize?h=50&w=132")[0] == 200
    unixhttp.ask(engine.socket, "POST", "/containers/sized/wait")
    assert engine.out("logs", "sized").split() == ["50", "132"]
    assert unixhttp.ask(engine.socket, "POST", "/containers/sized/resize?h=x&w=1")[0] == 400
    assert unixhttp.ask(engine.socket, "POST", "/containers/sized/resize?h=5&w=5")[0] == 409


@pytest.mark.parametrize("agent", ["docker-sdk-python/7.1.0", "curl/8"])
def test_a_client_that_loses_what_comes_with_the_head(engine: Engine, agent: str) -> None:
    """The Python SDK's reader: it gets the output in a piece of its own, however late it reads."""
    engine.run("run", "--name", "box", "busybox", "echo", "said")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(str(engine.socket))
        sock.sendall(
            "POST /v1.44/containers/box/attach?logs=1&stdout=1 HTTP/1.1\r\nHost: x\r\n"
            f"User-Agent: {agent}\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n".encode()
        )
        time.sleep(0.2)
        head = sock.recv(65536)
        assert head.endswith(b"\r\n\r\n") == agent.startswith("docker")
        rest = head.partition(b"\r\n\r\n")[2]
        while data := sock.recv(65536):
            rest += data
    assert frames(rest) == [(1, b"said\n")]
