"""The API by TCP and TLS: who comes in, streams with half-close, certificates that change."""

from __future__ import annotations

import hashlib
import os
import random
import shutil
import signal
import socket
import ssl
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

import keys
import rig
from rig import Engine

pytestmark = pytest.mark.root


class Secure:
    """An engine that serves TLS, and the certificates of its clients."""

    def __init__(self, engine: Engine, pki: Path) -> None:
        self.engine = engine
        self.pki = pki
        self.port = port(engine)
        self.home = pki / "home"
        self.home.mkdir()
        for source, target in (("ca.pem", "ca"), ("client.pem", "cert"), ("client.key", "key")):
            shutil.copy(pki / source, self.home / f"{target}.pem")

    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "DOCKER_HOST": f"tcp://127.0.0.1:{self.port}",
            "DOCKER_TLS_VERIFY": "1",
            "DOCKER_CERT_PATH": str(self.home),
            "DOCKER_CONFIG": "/nonexistent",
        }

    def run(self, client: str, *words: str, stdin: bytes = b"") -> bytes:
        program = str(rig.BIN / "firkin") if client == "firkin" else client
        done = subprocess.run(
            [program, *words], env=self.environment(), input=stdin, capture_output=True, timeout=120
        )
        assert done.returncode == 0, (words, done.stderr)
        return done.stdout

    def context(self, *, certificate: str | None = "client") -> ssl.SSLContext:
        context = ssl.create_default_context(cafile=str(self.pki / "ca.pem"))
        if certificate:
            context.load_cert_chain(
                self.pki / f"{certificate}.pem", self.pki / f"{certificate}.key"
            )
        return context

    def ping(self, context: ssl.SSLContext) -> bytes:
        with (
            socket.create_connection(("127.0.0.1", self.port), timeout=30) as sock,
            context.wrap_socket(sock, server_hostname="localhost") as secure,
        ):
            secure.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
            return b"".join(iter(lambda: secure.recv(65536), b""))


def port(engine: Engine) -> int:
    """The port that the engine says it listens on."""
    lines = (engine.directory / "log").read_text().splitlines()
    line = [line for line in lines if "listen on tcp://127.0.0.1:" in line][-1]
    return int(line.rpartition(":")[2])


def words(pki: Path) -> list[str]:
    return ["-H", "tcp://127.0.0.1:0", "--tlsverify", "--tlscacert", str(pki / "ca.pem"),
            "--tlscert", str(pki / "server.pem"), "--tlskey", str(pki / "server.key")]  # fmt: skip


@pytest.fixture(scope="module")
def secure(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Secure]:
    pki = keys.authority(tmp_path_factory.mktemp("pki"), "server", "client")
    engine = Engine(tmp_path_factory.mktemp("engine"), f"fkt{os.getpid()}")
    try:
        engine.start(*words(pki))
        engine.add_busybox()
        yield Secure(engine, pki)
    finally:
        if engine.process and engine.process.poll() is None:
            if ids := engine.out("ps", "-aq").split():
                engine.run("rm", "-f", *ids)
            engine.end()
        rig.clear(engine)


@pytest.fixture(params=["firkin", "docker"])
def client(request: pytest.FixtureRequest) -> str:
    name: str = request.param
    if name == "docker" and shutil.which("docker") is None:
        pytest.skip("the official client is not installed")
    return name


def test_streams_both_ways(secure: Secure, client: str) -> None:
    data = random.Random(1).randbytes(30 << 20)
    said = secure.run(client, "run", "--rm", "-i", "--network=none", "busybox", "cat", stdin=data)
    assert hashlib.sha256(said).digest() == hashlib.sha256(data).digest()
    name = (
        secure.run(client, "run", "-d", "--network=none", "busybox", "sleep", "60").decode().strip()
    )
    try:
        said = secure.run(client, "exec", "-i", name, "md5sum", stdin=data)
        assert said.split()[0].decode() == hashlib.md5(data).hexdigest()
    finally:
        secure.run(client, "rm", "-f", name)


def test_logs_that_go_on(secure: Secure, client: str) -> None:
    script = "for i in 1 2 3 4 5 6 7 8 9; do echo $i; sleep 0.05; done"
    name = secure.run(client, "run", "-d", "--network=none", "busybox", "sh", "-c", script)
    said = secure.run(client, "logs", "-f", name.decode().strip())
    assert said.split() == [b"%d" % i for i in range(1, 10)]
    secure.run(client, "rm", "-f", name.decode().strip())


def test_images_up_and_down(secure: Secure, client: str) -> None:
    saved = secure.run(client, "save", "busybox")
    assert b"busybox:latest" in secure.run(client, "load", stdin=saved)


def test_nobody_without_a_certificate(secure: Secure, tmp_path: Path) -> None:
    others = keys.authority(tmp_path, "client")
    stranger = secure.context(certificate=None)
    stranger.load_cert_chain(others / "client.pem", others / "client.key")
    for context in (secure.context(certificate=None), stranger):
        with pytest.raises((ssl.SSLError, ConnectionError)):
            answer = secure.ping(context)
            raise AssertionError(answer)
    with socket.create_connection(("127.0.0.1", secure.port), timeout=30) as plain:
        plain.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
        try:
            assert b"OK" not in plain.recv(65536)
        except ConnectionError:
            pass
    old = secure.context()
    old.minimum_version = ssl.TLSVersion.MINIMUM_SUPPORTED
    old.maximum_version = ssl.TLSVersion.TLSv1_1
    old.set_ciphers("ALL:@SECLEVEL=0")
    with pytest.raises((ssl.SSLError, ConnectionError)):
        secure.ping(old)
    assert secure.ping(secure.context()).startswith(b"HTTP/1.1 200 OK\r\n")


def test_new_certificates_on_sighup(secure: Secure, tmp_path: Path) -> None:
    engine, pki = secure.engine, secure.pki
    assert engine.process
    old = {name: (pki / name).read_bytes() for name in ("ca.pem", "server.pem", "server.key")}
    before = secure.context()
    program = str(rig.BIN / "firkin")
    attached = subprocess.Popen(
        [program, "run", "--rm", "-i", "--network=none", "busybox", "cat"],
        env=secure.environment(), stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert attached.stdin and attached.stdout
    attached.stdin.write(b"before\n")
    attached.stdin.flush()
    assert attached.stdout.readline() == b"before\n"
    others = keys.authority(tmp_path, "server", "client")
    try:
        for name in old:
            shutil.copy(others / name, pki / name)
        engine.process.send_signal(signal.SIGHUP)
        after = ssl.create_default_context(cafile=str(others / "ca.pem"))
        after.load_cert_chain(others / "client.pem", others / "client.key")
        deadline = time.monotonic() + 30
        while True:
            try:
                assert secure.ping(after).startswith(b"HTTP/1.1 200 OK\r\n")
                break
            except (ssl.SSLError, ConnectionError):
                assert time.monotonic() < deadline
                time.sleep(0.05)
        with pytest.raises((ssl.SSLError, ConnectionError)):
            secure.ping(before)
        said, _ = attached.communicate(b"after\n", timeout=60)
        assert (said, attached.returncode) == (b"after\n", 0)
        (pki / "server.pem").write_text("damaged")
        engine.process.send_signal(signal.SIGHUP)
        deadline = time.monotonic() + 30
        while "what was there stays" not in (engine.directory / "log").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert secure.ping(after).startswith(b"HTTP/1.1 200 OK\r\n")
    finally:
        for name, text in old.items():
            (pki / name).write_bytes(text)
        engine.process.send_signal(signal.SIGHUP)


@pytest.mark.parametrize(
    ("more", "message"),
    [
        ([], "without TLS everybody who can reach it is root on this machine"),
        (["--tls"], "with --tls alone everybody who can reach it is root on this machine"),
        (["--tlsverify", "--tlscert", "/nonexistent"], "/nonexistent"),
    ],
)
def test_what_is_not_served(tmp_path: Path, more: list[str], message: str) -> None:
    done = subprocess.run(
        [rig.BIN / "firkind", "--data-root", tmp_path / "data", "--exec-root", tmp_path / "exec",
         "--config-file", "/dev/null", "-H", "tcp://127.0.0.1:0", *more],
        capture_output=True, timeout=60,
    )  # fmt: skip
    assert done.returncode == 1
    assert message in done.stderr.decode()


def test_plain_tcp_when_asked_for_by_name(tmp_path: Path) -> None:
    engine = Engine(tmp_path, f"fku{os.getpid()}")
    try:
        engine.start("-H", "tcp://127.0.0.1:0", "--tls=false")
        assert "is root on this machine" in (tmp_path / "log").read_text()
        host = f"tcp://127.0.0.1:{port(engine)}"
        engine.add_busybox()
        for program in ("docker", str(rig.BIN / "firkin")):
            if shutil.which(program):
                done = subprocess.run(
                    [program, "-H", host, "run", "--rm", "-i", "--network=none", "busybox", "cat"],
                    env={"PATH": os.environ["PATH"], "DOCKER_CONFIG": "/nonexistent"},
                    input=b"y" * 3_000_000, capture_output=True, timeout=120,
                )  # fmt: skip
                assert done.stdout == b"y" * 3_000_000, done.stderr
    finally:
        if engine.process and engine.process.poll() is None:
            engine.end()
        rig.clear(engine)
