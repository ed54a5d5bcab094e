"""Requests that no client would send."""

from __future__ import annotations

import json
import os
import random
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import rig
import unixhttp
from rig import Engine

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    with rig.running(tmp_path_factory.mktemp("requests"), f"fkf2{os.getpid()}") as engine:
        engine.run("create", "--name", "there", "busybox", "true")
        yield engine


@pytest.fixture(autouse=True)
def unharmed(target: Engine) -> Iterator[None]:
    """After each test the same engine answers, with no more files open and little more memory."""
    assert target.process is not None
    fds = Path(f"/proc/{target.process.pid}/fd")
    memory = Path(f"/proc/{target.process.pid}/statm")
    before = len(list(fds.iterdir())), int(memory.read_text().split()[1])
    yield
    assert target.process.poll() is None
    assert unixhttp.ask(target.socket, "GET", "/_ping") == (200, "OK")
    deadline = time.monotonic() + 15
    while len(list(fds.iterdir())) > before[0] + 2:
        assert time.monotonic() < deadline, os.listdir(fds)
        time.sleep(0.1)
    assert int(memory.read_text().split()[1]) < before[1] + (40 << 20) // 4096


def _status(answer: bytes) -> int:
    return int(answer.split()[1]) if answer.startswith(b"HTTP/1.") else 0


@pytest.mark.parametrize(
    "data",
    [
        b"\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"NONSENSE / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /_ping HTTP/1.1\r\nHost: x\r\nContent-Length: -5\r\n\r\n",
        b"GET /_ping HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\nabcde",
        b"POST /containers/create HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nZZ\r\n",
        b"POST /containers/create HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n"
        b"Content-Length: 3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /_ping HTTP/1.1\r\nHost: x\r\nX: " + b"b" * 1_000_000 + b"\r\n\r\n",
        b"GET /_ping HTTP/1.1\r\n" + b"X-A: b\r\n" * 100_000 + b"\r\n",
        b"GET /_ping\x00 HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(500),
    ],
)
def test_malformed_requests(target: Engine, data: bytes) -> None:
    status = _status(unixhttp.exchange(target.socket, data))
    assert status == 0 or 400 <= status < 500


def test_random_bytes(target: Engine) -> None:
    chance = random.Random(7)
    for _ in range(200):
        answer = unixhttp.exchange(target.socket, chance.randbytes(chance.randrange(1, 3000)))
        assert _status(answer) == 0 or 400 <= _status(answer) < 500


@pytest.mark.parametrize("name", [
    "..", "%2e%2e%2f%2e%2e", "..%2f..%2fetc%2fpasswd", "%00", "there%00", "a" * 5000, "%ff%fe", "*",
    "there/../there", "$(id)", "%0d%0aX:y",
])  # fmt: skip
@pytest.mark.parametrize("pattern", [
    "/containers/{}/json", "/containers/{}/logs?stdout=1", "/images/{}/json", "/volumes/{}",
    "/networks/{}", "/exec/{}/json",
])  # fmt: skip
def test_names_that_lead_elsewhere(target: Engine, pattern: str, name: str) -> None:
    status, _ = unixhttp.ask(target.socket, "GET", pattern.format(name))
    assert 400 <= status < 500


@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "PATCH", "OPTIONS", "TRACE"])
@pytest.mark.parametrize("path", ["/nothing", "/v9.99/info", "/v0.1/info", "/vx/info", "/v1.44"])
def test_unknown_paths(target: Engine, method: str, path: str) -> None:
    status, answer = unixhttp.ask(target.socket, method, path)
    assert status in (400, 404)
    assert isinstance(answer, dict)
    assert answer["message"]


def test_wrong_types_in_every_field(target: Engine) -> None:
    good = json.loads(target.out("inspect", "there"))[0]
    fields = [("Config", name) for name in good["Config"]]
    fields += [("HostConfig", name) for name in good["HostConfig"]]
    for group, name in fields:
        for wrong in ({"a": {"b": 1}}, [[{}]], "\0", -(1 << 70), 1e300, True):
            body = {"Image": "busybox", "HostConfig": {}}
            (body["HostConfig"] if group == "HostConfig" else body)[name] = wrong  # type: ignore[index]
            status, answer = unixhttp.ask(target.socket, "POST", "/containers/create", body)
            assert status < 500 or status == 501, (group, name, wrong, answer)
            if status == 201:
                unixhttp.ask(target.socket, "DELETE", f"/containers/{answer['Id']}?force=1")


@pytest.mark.parametrize("body", [
    b"", b"null", b"[]", b"{", b'{"Image":', b"\xff\xfe", b"[" * 200_000, b'{"Image":"busybox"}x',
    b'{"a":' * 100_000, b'{"Image":"busybox","Image":5}', b'"' + b"x" * 5_000_000 + b'"',
])  # fmt: skip
def test_bodies_that_are_no_container(target: Engine, body: bytes) -> None:
    status, answer = unixhttp.ask(target.socket, "POST", "/containers/create", body)
    assert status == 400
    assert answer["message"]


def test_huge_body_is_refused_early(target: Engine) -> None:
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(30)
        sock.connect(str(target.socket))
        sock.sendall(b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: "
                     b"application/json\r\nContent-Length: 100000000\r\n\r\n")  # fmt: skip
        assert _status(sock.recv(65536)) == 400


def test_clients_that_stop_in_the_middle(target: Engine) -> None:
    pieces = [b"", b"GET", b"GET /_ping HTTP/1.1\r\nHost:", b"POST /containers/create HTTP/1.1\r\n"
              b"Host: x\r\nContent-Length: 50\r\n\r\n{"]  # fmt: skip
    for _ in range(50):
        for piece in pieces:
            with socket.socket(socket.AF_UNIX) as sock:
                sock.connect(str(target.socket))
                sock.sendall(piece)


def test_load_of_garbage(target: Engine) -> None:
    for body in (b"", b"\0" * 10240, os.urandom(100_000), b"\x1f\x8b\x08" + os.urandom(1000)):
        status, answer = unixhttp.ask(target.socket, "POST", "/images/load", body)
        assert status in (200, 400)
        if status == 200:
            assert "error" in str(answer)


def test_half_closed_requests_are_answered(target: Engine) -> None:
    for path in ("/_ping", "/containers/json", "/info"):
        request = f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode()
        assert _status(unixhttp.exchange(target.socket, request)) == 200
    answer = unixhttp.exchange(target.socket, b"GET /_ping HT")
    assert answer == b""


def test_streams_end_with_their_clients(target: Engine) -> None:
    """A client that stopped sending and then goes is noticed (``unharmed`` counts the files)."""
    for _ in range(20):
        sock = socket.socket(socket.AF_UNIX)
        sock.connect(str(target.socket))
        sock.sendall(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")
        sock.shutdown(socket.SHUT_WR)
        assert _status(sock.recv(4096)) == 200
        sock.close()


def test_idle_connections(target: Engine) -> None:
    """Thousands of clients that connect and say nothing, or half a line, harm nobody."""
    idle = []
    try:
        for number in range(3000):
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(str(target.socket))
            if number % 3 == 0:
                sock.sendall(b"GET /_pi")
            idle.append(sock)
        assert target.out("run", "--rm", "busybox", "echo", "fine") == "fine"
    finally:
        for sock in idle:
            sock.close()
