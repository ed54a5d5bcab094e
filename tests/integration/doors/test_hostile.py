"""Slow, hostile and half-open clients: they neither hold up the engine nor make it grow."""

from __future__ import annotations

import contextlib
import os
import resource
import socket
import threading
import time
from collections.abc import Iterator

import pytest

import rig
import unixhttp
from rig import Engine

pytestmark = pytest.mark.root

MEGABYTE = 1 << 20


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    engine = Engine(tmp_path_factory.mktemp("engine"), f"fkh{os.getpid()}")
    limits = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (limits[1], limits[1]))
    try:
        engine.start("--debug", "--log-level", "info")
        engine.add_busybox()
        yield engine
    finally:
        if engine.process and engine.process.poll() is None:
            if ids := engine.out("ps", "-aq").split():
                engine.run("rm", "-f", *ids)
            engine.end()
        rig.clear(engine)
        resource.setrlimit(resource.RLIMIT_NOFILE, limits)


def numbers(engine: Engine) -> dict[str, int]:
    found: dict[str, int] = unixhttp.ask(engine.socket, "GET", "/debug/vars")[1]
    return found


@pytest.fixture
def engine(started: Engine) -> Iterator[Engine]:
    """The engine, which afterwards has no more tasks and files than before."""
    unixhttp.ask(started.socket, "GET", "/info")
    before = numbers(started)
    yield started
    deadline = time.monotonic() + 60
    while True:
        after = numbers(started)
        if all(after[name] <= before[name] + 8 for name in ("tasks", "descriptors")):
            break
        assert time.monotonic() < deadline, (before, after)
        time.sleep(0.2)


def dial(engine: Engine, timeout: float = 60) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(str(engine.socket))  # waits while the backlog is full
    sock.settimeout(timeout)
    return sock


def pour(sock: socket.socket, data: bytes, limit: int) -> int:
    """Send ``data`` again and again until ``limit`` bytes or a refusal; how many went out."""
    sent = 0
    with contextlib.suppress(OSError):
        while sent < limit:
            sent += sock.send(data)
    return sent


def answers(engine: Engine) -> bool:
    return unixhttp.ask(engine.socket, "GET", "/_ping") == (200, "OK")


def test_ten_thousand_idle_connections(engine: Engine) -> None:
    if resource.getrlimit(resource.RLIMIT_NOFILE)[1] < 15_000:
        pytest.skip("too few files may be open")
    before = numbers(engine)["memory_resident"]
    with contextlib.ExitStack() as stack:
        for _ in range(10_000):
            stack.enter_context(dial(engine))
        assert answers(engine)
        assert engine.out("run", "--rm", "--network=none", "busybox", "echo", "fine") == "fine"
        assert numbers(engine)["memory_resident"] - before < 400 * MEGABYTE
    assert answers(engine)


def test_more_connections_than_there_is_room_for(engine: Engine) -> None:
    """Those beyond are closed; the ones before are served, and files can still be opened."""
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    if not 4000 < hard < 40_000:
        pytest.skip("this needs a limit of files that one process can reach")
    with contextlib.ExitStack() as stack:
        first = stack.enter_context(dial(engine))
        for _ in range(min(hard // 4 * 3 + 200, hard - 500)):
            last = stack.enter_context(dial(engine))
        assert last.recv(1) == b""
        first.sendall(b"GET /info HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        assert first.recv(15) == b"HTTP/1.1 200 OK"
    assert answers(engine)


def test_headers_without_end(engine: Engine) -> None:
    before = numbers(engine)["memory_resident"]
    for line in (b"X-Filler: " + b"x" * 1000 + b"\r\n", b"x" * 4096, b"A:b\r\n" * 500):
        with dial(engine) as sock:
            sock.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\n")
            assert pour(sock, line, 64 * MEGABYTE) < 8 * MEGABYTE
    assert numbers(engine)["memory_resident"] - before < 50 * MEGABYTE
    assert answers(engine)


def test_a_request_line_without_end(engine: Engine) -> None:
    with dial(engine) as sock:
        assert pour(sock, b"GET /" + b"a" * 65536, 64 * MEGABYTE) < 8 * MEGABYTE
    assert answers(engine)


def test_long_but_legal_headers(engine: Engine) -> None:
    """Credentials for many registries are long."""
    connection = unixhttp.Connection(engine.socket)
    connection.request(
        "GET", "/_ping?x=" + "y" * 100_000, headers={"X-Registry-Config": "z" * 100_000}
    )
    assert connection.getresponse().read() == b"OK"
    connection.close()


def test_bodies_without_end(engine: Engine) -> None:
    before = numbers(engine)["memory_resident"]
    head = b"POST /containers/create HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
    piece = b'"%s",' % (b"a" * 60_000)
    with dial(engine) as sock:
        sock.sendall(head + b"Transfer-Encoding: chunked\r\n\r\n")
        chunk = b"%x\r\n%s\r\n" % (len(piece), piece)
        assert pour(sock, chunk, 4096 * MEGABYTE) < 4096 * MEGABYTE
    with dial(engine) as sock:
        sock.sendall(head + b"Content-Length: 1000000000\r\n\r\n")
        assert pour(sock, piece, 4096 * MEGABYTE) < 4096 * MEGABYTE
    with dial(engine) as sock:
        sock.sendall(b"POST /images/load HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        zeros = b"%x\r\n%s\r\n" % (1 << 16, b"\0" * (1 << 16))
        pour(sock, zeros, 100 * MEGABYTE)
    assert numbers(engine)["memory_resident"] - before < 60 * MEGABYTE
    assert answers(engine)


def test_pipelined_requests_without_end(engine: Engine) -> None:
    """Behind one that is never done, and behind ones whose answers nobody reads."""
    before = numbers(engine)["memory_resident"]
    request = b"GET /info HTTP/1.1\r\nHost: x\r\n\r\n"
    for first in (b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n", b""):
        with dial(engine, timeout=3) as sock:
            sock.sendall(first)
            assert pour(sock, request * 500, 32 * MEGABYTE) < 32 * MEGABYTE
            assert answers(engine)
    assert numbers(engine)["memory_resident"] - before < 50 * MEGABYTE


def test_input_before_the_answer_to_an_upgrade(engine: Engine) -> None:
    before = numbers(engine)["memory_resident"]
    with dial(engine, timeout=3) as sock:
        sock.sendall(
            b"GET /events HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
        )
        assert pour(sock, b"x" * 65536, 64 * MEGABYTE) < 64 * MEGABYTE
        assert answers(engine)
    assert numbers(engine)["memory_resident"] - before < 50 * MEGABYTE


def test_readers_that_never_read(engine: Engine) -> None:
    name = engine.out("run", "-d", "--network=none", "busybox", "yes", "for the reader that is not")
    before = numbers(engine)["memory_resident"]
    try:
        with contextlib.ExitStack() as stack:
            for target in (
                f"POST /containers/{name}/attach?stream=1&stdout=1&stderr=1",
                f"GET /containers/{name}/logs?follow=1&stdout=1&stderr=1",
                f"GET /containers/{name}/attach/ws?stream=1&stdout=1",
            ):
                for _ in range(5):
                    sock = stack.enter_context(dial(engine))
                    upgrade = (
                        "Connection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n"
                        "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n"
                        if "/ws" in target
                        else ""
                    )
                    sock.sendall(f"{target} HTTP/1.1\r\nHost: x\r\n{upgrade}\r\n".encode())
            for _ in range(20):
                assert answers(engine)
                time.sleep(0.1)
            other = engine.out("run", "--rm", "--network=none", "busybox", "echo", "fine")
            assert other == "fine"
            assert numbers(engine)["memory_resident"] - before < 80 * MEGABYTE
    finally:
        engine.run("rm", "-f", name)


def test_a_thousand_slow_clients(engine: Engine) -> None:
    """Each sends a byte now and then; meanwhile the engine serves those who don't."""
    stop = threading.Event()
    socks = [dial(engine) for _ in range(1000)]
    request = b"GET /containers/json HTTP/1.1\r\nHost: x\r\n" + b"X-A: b\r\n" * 50

    def dribble() -> None:
        for place in range(len(request)):
            for sock in socks:
                with contextlib.suppress(OSError):
                    sock.send(request[place : place + 1])
            if stop.wait(0.05):
                return

    thread = threading.Thread(target=dribble)
    thread.start()
    try:
        for _ in range(20):
            assert answers(engine)
        assert engine.out("run", "--rm", "--network=none", "busybox", "echo", "fine") == "fine"
    finally:
        stop.set()
        thread.join()
        for sock in socks:
            sock.close()


def test_half_of_everything(engine: Engine) -> None:
    """Clients that stop in the middle of a request, an upgrade or a stream, and go."""
    name = engine.out("run", "-d", "-i", "--network=none", "busybox", "cat")
    try:
        for target in (f"/containers/{name}/attach?stream=1&stdin=1&stdout=1", "/images/load"):
            text = (
                f"POST {target} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n"
                "Transfer-Encoding: chunked\r\n\r\n5\r\nhello"
            ).encode()
            for end in range(0, len(text) + 1, 3):
                with dial(engine) as sock:
                    sock.sendall(text[:end])
        assert answers(engine)
    finally:
        engine.run("rm", "-f", name)
