"""Slow, hostile and half-open clients of the TLS door: before, during and after the handshake."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import keys
import rig
import unixhttp
from rig import Engine

pytestmark = pytest.mark.root

MEGABYTE = 1 << 20


class Door:
    """An engine with a TLS door, and what a client of it needs."""

    def __init__(self, engine: Engine, pki: Path) -> None:
        self.engine = engine
        lines = (engine.directory / "log").read_text().splitlines()
        line = next(line for line in reversed(lines) if "listen on tcp://127.0.0.1:" in line)
        self.port = int(line.rpartition(":")[2])
        self.context = ssl.create_default_context(cafile=str(pki / "ca.pem"))
        self.context.load_cert_chain(pki / "client.pem", pki / "client.key")

    def dial(self, timeout: float = 60) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=timeout)

    def secure(self, timeout: float = 60) -> ssl.SSLSocket:
        return self.context.wrap_socket(self.dial(timeout), server_hostname="localhost")

    def numbers(self) -> dict[str, int]:
        found: dict[str, int] = unixhttp.ask(self.engine.socket, "GET", "/debug/vars")[1]
        return found

    def answers(self) -> bool:
        with self.secure() as sock:
            sock.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return b"".join(iter(lambda: sock.recv(4096), b"")).endswith(b"OK")


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Door]:
    pki = keys.authority(tmp_path_factory.mktemp("pki"), "server", "client")
    engine = Engine(tmp_path_factory.mktemp("engine"), f"fkx{os.getpid()}")
    try:
        engine.start(
            "--debug", "--log-level", "info", "-H", "tcp://127.0.0.1:0", "--tlsverify",
            "--tlscacert", str(pki / "ca.pem"), "--tlscert", str(pki / "server.pem"),
            "--tlskey", str(pki / "server.key"),
        )  # fmt: skip
        engine.add_busybox()
        yield Door(engine, pki)
    finally:
        if engine.process and engine.process.poll() is None:
            if ids := engine.out("ps", "-aq").split():
                engine.run("rm", "-f", *ids)
            engine.end()
        rig.clear(engine)


@pytest.fixture
def door(started: Door) -> Iterator[Door]:
    """The door; afterwards the engine has no more tasks and files than before."""
    started.answers()
    before = started.numbers()

    def settled() -> bool:
        after = started.numbers()
        return all(after[name] <= before[name] + 8 for name in ("tasks", "descriptors"))

    yield started
    assert rig.settled(settled, 90), (before, started.numbers())


def test_handshakes_that_never_come(door: Door) -> None:
    """Idle, with a beginning only, and with something else."""
    hello = door_hello(door)
    before = door.numbers()["memory_resident"]
    with contextlib.ExitStack() as stack:
        for number in range(600):
            sock = stack.enter_context(door.dial())
            with contextlib.suppress(OSError):
                sock.sendall((b"", hello[: len(hello) // 2], b"GET / HTTP/1.1\r\n\r\n")[number % 3])
        assert door.answers()
        assert door.numbers()["memory_resident"] - before < 100 * MEGABYTE
    assert door.answers()


def door_hello(door: Door) -> bytes:
    """What a client says first."""
    incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
    tls = door.context.wrap_bio(incoming, outgoing, server_hostname="localhost")
    with contextlib.suppress(ssl.SSLWantReadError):
        tls.do_handshake()
    return outgoing.read()


def test_garbage_without_end(door: Door) -> None:
    before = door.numbers()["memory_resident"]
    for piece in (b"\0" * 65536, b"\x16\x03\x01\xff\xff" + b"x" * 65531, os.urandom(65536)):
        with door.dial() as sock:
            sent = 0
            with contextlib.suppress(OSError):
                while sent < 64 * MEGABYTE:
                    sent += sock.send(piece)
            assert sent < 64 * MEGABYTE
    assert door.numbers()["memory_resident"] - before < 50 * MEGABYTE
    assert door.answers()


def test_headers_without_end(door: Door) -> None:
    before = door.numbers()["memory_resident"]
    with door.secure() as sock:
        sock.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\n")
        sent = 0
        with contextlib.suppress(OSError):
            while sent < 64 * MEGABYTE:
                sent += sock.send(b"X-Filler: " + b"x" * 16000 + b"\r\n")
        assert sent < 16 * MEGABYTE
    assert door.numbers()["memory_resident"] - before < 50 * MEGABYTE
    assert door.answers()


def test_readers_that_never_read(door: Door) -> None:
    name = door.engine.out("run", "-d", "--network=none", "busybox", "yes", "for nobody")
    before = door.numbers()["memory_resident"]
    try:
        with contextlib.ExitStack() as stack:
            for target in (
                f"POST /containers/{name}/attach?logs=1&stream=1&stdout=1",
                f"GET /containers/{name}/logs?follow=1&stdout=1",
                "GET /events?since=1",
            ):
                for _ in range(5):
                    sock = stack.enter_context(door.secure())
                    sock.sendall(f"{target} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
            for _ in range(10):
                assert door.answers()
                time.sleep(0.1)
            assert door.numbers()["memory_resident"] - before < 80 * MEGABYTE
    finally:
        door.engine.run("rm", "-f", name)


def test_half_of_everything(door: Door) -> None:
    """Clients that go in the middle of a handshake, a request or a stream, with and without a
    word of farewell."""
    name = door.engine.out("run", "-d", "-i", "--network=none", "busybox", "cat")
    hello = door_hello(door)
    try:
        for end in range(0, len(hello), 25):
            with door.dial() as sock:
                sock.sendall(hello[:end])
        text = (
            f"POST /containers/{name}/attach?stream=1&stdin=1&stdout=1 HTTP/1.1\r\nHost: x\r\n"
            "Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: 5\r\n\r\nhello"
        ).encode()
        for end in range(0, len(text) + 1, 9):
            secure = door.secure()
            secure.sendall(text[:end])
            if end % 2:
                with contextlib.suppress(OSError):
                    secure.unwrap()
            secure.close()
        assert door.answers()
    finally:
        door.engine.run("rm", "-f", name)
