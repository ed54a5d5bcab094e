"""TLS to an engine: who is accepted, what is refused, and a half-close that leaves output open."""

from __future__ import annotations

import contextlib
import shutil
import socket
import ssl
import struct
import subprocess
import threading
from pathlib import Path

import pytest

from firkin.client import addresses, tls, transport

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An authority, a certificate for localhost and 127.0.0.1, and one of a client."""
    path = tmp_path_factory.mktemp("keys")

    def openssl(*words: str | Path) -> None:
        subprocess.run(["openssl", *words], check=True, capture_output=True, cwd=path)

    openssl("req", "-x509", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=authority",
            "-keyout", "ca.key", "-out", "ca.pem")  # fmt: skip
    (path / "names").write_text("subjectAltName=DNS:localhost,IP:127.0.0.1")
    for name in ("server", "client"):
        openssl("req", "-newkey", "rsa:2048", "-nodes", "-subj", f"/CN={name}",
                "-keyout", f"{name}.key", "-out", f"{name}.csr")  # fmt: skip
        openssl("x509", "-req", "-in", f"{name}.csr", "-CA", "ca.pem", "-CAkey", "ca.key",
                "-CAcreateserial", "-extfile", "names", "-out", f"{name}.pem")  # fmt: skip
    return path


class Server:
    """Echoes what it got in capitals, once the client's input has ended."""

    def __init__(self, keys: Path) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.load_cert_chain(keys / "server.pem", keys / "server.key")
        self.context.load_verify_locations(keys / "ca.pem")
        self.context.verify_mode = ssl.CERT_REQUIRED
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self.serve, daemon=True).start()

    def serve(self) -> None:
        connection, _ = self.listener.accept()
        with connection:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            secure = self.context.wrap_bio(incoming, outgoing, server_side=True)
            said = b""
            try:
                self.drive(secure.do_handshake, connection, incoming, outgoing)
                while data := self.drive(lambda: self.read(secure), connection, incoming, outgoing):
                    said += data
                secure.write(said.upper())
                connection.sendall(outgoing.read())
                secure.write(b"!")
                connection.sendall(outgoing.read())
                try:
                    secure.unwrap()
                except ssl.SSLError:
                    pass
            except OSError:
                pass
            with contextlib.suppress(OSError):  # a client that was refused has gone
                connection.sendall(outgoing.read())

    @staticmethod
    def read(secure: ssl.SSLObject) -> bytes:
        try:
            return secure.read(65536)
        except ssl.SSLZeroReturnError:
            return b""

    @staticmethod
    def drive(step, connection, incoming, outgoing):  # type: ignore[no-untyped-def]
        while True:
            try:
                result = step()
                connection.sendall(outgoing.read())
                return result
            except ssl.SSLWantReadError:
                connection.sendall(outgoing.read())
                if data := connection.recv(65536):
                    incoming.write(data)
                else:
                    incoming.write_eof()


def identity(keys: Path, **changes: object) -> tls.Identity:
    words = {
        "ca": str(keys / "ca.pem"), "certificate": str(keys / "client.pem"),
        "key": str(keys / "client.key"),
    }  # fmt: skip
    return tls.Identity(**{**words, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
def test_a_half_close_leaves_the_other_direction_open(keys: Path, host: str) -> None:
    server = Server(keys)
    way = addresses.parse(f"tcp://{host}:{server.port}", identity(keys))
    channel = way.connect()
    big = b"abc" * 100_000
    channel.sendall(big)
    channel.shutdown(socket.SHUT_WR)
    received = b""
    while data := channel.recv(65536):
        received += data
    assert received == big.upper() + b"!"
    assert channel.recv(10) == b""
    channel.close()


class Talker(Server):
    """Says much at once, waits for the end of the input, and says the rest."""

    first = bytes(range(256)) * 1000

    def serve(self) -> None:
        connection, _ = self.listener.accept()
        with connection:
            incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
            secure = self.context.wrap_bio(incoming, outgoing, server_side=True)
            self.drive(secure.do_handshake, connection, incoming, outgoing)
            for start in range(0, len(self.first), 10_000):
                secure.write(self.first[start : start + 10_000])
            connection.sendall(outgoing.read())
            assert self.drive(lambda: self.read(secure), connection, incoming, outgoing) == b""
            secure.write(b"the rest")
            connection.sendall(outgoing.read())


def test_output_that_is_there_already_survives_a_half_close(keys: Path) -> None:
    server = Talker(keys)
    channel = addresses.parse(f"tcp://127.0.0.1:{server.port}", identity(keys)).connect()
    received = channel.recv(10)  # the rest of that record waits, and more records behind it
    channel.shutdown(socket.SHUT_WR)
    while data := channel.recv(65536):
        received += data
    assert received == server.first + b"the rest"
    channel.close()


def test_without_verification_any_certificate_will_do(keys: Path) -> None:
    server = Server(keys)
    address = f"tcp://127.0.0.1:{server.port}"
    channel = addresses.parse(address, identity(keys, ca="", verify=False)).connect()
    channel.sendall(b"x")
    channel.shutdown(socket.SHUT_WR)
    assert channel.recv(10) == b"X"
    channel.close()


def test_an_unknown_authority_is_refused(keys: Path) -> None:
    server = Server(keys)
    with pytest.raises(OSError, match="certificate is not acceptable"):
        addresses.parse(f"tcp://127.0.0.1:{server.port}", identity(keys, ca="")).connect()


def test_a_client_without_certificate_gets_nowhere(keys: Path) -> None:
    server = Server(keys)
    way = addresses.parse(f"tcp://127.0.0.1:{server.port}", identity(keys, certificate="", key=""))
    with pytest.raises(OSError, match=r"certificate required|handshake failure|closed"):
        channel = way.connect()
        channel.recv(1)


def test_the_alert_counts_more_than_the_reset_that_follows_it(keys: Path) -> None:
    """The client has sent already when it is turned away, so the connection is reset."""
    listener = socket.create_server(("127.0.0.1", 0))
    sent, gone = threading.Event(), threading.Event()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(keys / "server.pem", keys / "server.key")
    context.load_verify_locations(keys / "ca.pem")
    context.verify_mode = ssl.CERT_REQUIRED

    def alert() -> None:
        connection, _ = listener.accept()
        incoming, outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        secure = context.wrap_bio(incoming, outgoing, server_side=True)
        while True:
            try:
                secure.do_handshake()
            except ssl.SSLWantReadError:
                connection.sendall(outgoing.read())
                incoming.write(connection.recv(65536))
            except ssl.SSLError:
                connection.sendall(outgoing.read())
                break
        sent.wait()
        reset = struct.pack("ii", 1, 0)
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
        connection.close()
        gone.set()

    threading.Thread(target=alert, daemon=True).start()
    port = listener.getsockname()[1]
    way = addresses.parse(f"tcp://127.0.0.1:{port}", identity(keys, certificate="", key=""))
    channel = way.connect()
    channel.sendall(b"request")
    sent.set()
    assert gone.wait(20)
    with pytest.raises(OSError, match="certificate required"):
        for _ in range(100):
            channel.sendall(b"more")
    channel.close()
    listener.close()


def test_a_key_of_another_certificate(keys: Path) -> None:
    with pytest.raises(OSError, match="the key is not that of the certificate"):
        identity(keys, key=str(keys / "server.key")).context()


def test_an_engine_without_tls_is_told_apart(keys: Path) -> None:
    listener = socket.create_server(("127.0.0.1", 0))

    def answer() -> None:
        connection, _ = listener.accept()
        connection.recv(100)
        connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        connection.close()

    threading.Thread(target=answer, daemon=True).start()
    with pytest.raises(OSError, match=r"^TLS: "):
        addresses.parse(f"tcp://127.0.0.1:{listener.getsockname()[1]}", identity(keys)).connect()
    listener.close()


@pytest.mark.parametrize(
    "changes",
    [{"ca": "/nonexistent"}, {"certificate": "/nonexistent"}, {"key": "/nonexistent"}, {"key": ""}],
)
def test_a_missing_file_is_named(keys: Path, changes: dict[str, str]) -> None:
    with pytest.raises(OSError, match=r"/nonexistent|''"):
        identity(keys, **changes).context()


def test_addresses() -> None:
    who = tls.Identity(verify=False)
    assert addresses.parse("tcp://h", who).address == "tcp://h:2376"
    assert addresses.parse("https://h:1", who).address == "tcp://h:1"
    with pytest.raises(transport.BadAddress):
        addresses.parse("https://h:1")
