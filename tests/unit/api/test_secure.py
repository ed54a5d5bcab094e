"""TLS as a layer: scripts of what a client sends, and of what both ends get."""

from __future__ import annotations

import asyncio
import shutil
import ssl
from pathlib import Path
from typing import Any

import pytest

import keys
from firkin import errdefs
from firkin.api import secure
from firkin.engine import config

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="needs openssl")


@pytest.fixture(scope="module")
def pki(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return keys.authority(tmp_path_factory.mktemp("pki"), "server", "client")


def settings(pki: Path, **more: Any) -> config.Config:
    return config.Config(
        tlsverify=True,
        tlscacert=str(pki / "ca.pem"),
        tlscert=str(pki / "server.pem"),
        tlskey=str(pki / "server.key"),
        **more,
    )


class Wire(asyncio.Transport):
    """A transport that keeps what is written to it."""

    def __init__(self) -> None:
        super().__init__()
        self.sent = bytearray()
        self.closed = ""
        self.reading = True

    def write(self, data: Any) -> None:
        assert not self.closed
        self.sent += data

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True

    def close(self) -> None:
        self.closed = self.closed or "close"

    def abort(self) -> None:
        self.closed = "abort"

    def is_closing(self) -> bool:
        return bool(self.closed)


class Upper(asyncio.Protocol):
    """What is above the layer; remembers what happens to it."""

    def __init__(self) -> None:
        self.log: list[str] = []
        self.data = b""
        self.keep = True
        self.transport: asyncio.Transport = Wire()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.data += data

    def eof_received(self) -> bool:
        self.log.append("eof")
        return self.keep

    def pause_writing(self) -> None:
        self.log.append("pause")

    def resume_writing(self) -> None:
        self.log.append("resume")

    def connection_lost(self, error: Exception | None) -> None:
        self.log.append("lost")


class Both:
    """A layer and a client that talks to it."""

    def __init__(self, pki: Path, *, certificate: bool = True, version: str = "TLSv1_3") -> None:
        self.upper = Upper()
        self.wire = Wire()
        self.layer = secure.Layer(secure.Certificates(settings(pki)).context, lambda: self.upper)
        self.layer.connection_made(self.wire)
        context = ssl.create_default_context(cafile=str(pki / "ca.pem"))
        context.maximum_version = ssl.TLSVersion[version]
        if certificate:
            context.load_cert_chain(pki / "client.pem", pki / "client.key")
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.client = context.wrap_bio(self._in, self._out, server_hostname="localhost")

    def carry(self) -> None:
        """Bring what each side has sent to the other."""
        while True:
            there, back = self._out.read(), bytes(self.wire.sent)
            self.wire.sent.clear()
            if not (there or back):
                return
            if there:
                self.layer.data_received(there)
            self._in.write(back)

    def open(self) -> Both:
        for _ in range(4):
            try:
                self.client.do_handshake()
            except ssl.SSLWantReadError:
                self.carry()
        self.carry()
        return self

    def read(self) -> bytes:
        self.carry()
        data = b""
        try:
            while part := self.client.read(1 << 20):
                data += part
        except ssl.SSLWantReadError:
            pass
        return data

    def end_input(self) -> None:
        with pytest.raises(ssl.SSLWantReadError):
            self.client.unwrap()
        self.carry()


@pytest.mark.parametrize("version", ["TLSv1_2", "TLSv1_3"])
async def test_a_client_that_ends_its_input_still_gets_output(pki: Path, version: str) -> None:
    both = Both(pki, version=version).open()
    both.client.write(b"the input")
    both.end_input()
    await asyncio.sleep(0)
    assert (both.upper.data, both.upper.log) == (b"the input", ["eof"])
    both.upper.transport.write(b"x" * 300_000)
    both.upper.transport.writelines([b"the ", b"end"])
    assert both.read() == b"x" * 300_000 + b"the end"
    assert not both.wire.closed
    both.upper.transport.close()
    assert both.wire.closed == "close"
    both.carry()
    with pytest.raises(ssl.SSLZeroReturnError):  # its close_notify
        both.client.read(100)


async def test_a_protocol_that_wants_no_half_close(pki: Path) -> None:
    both = Both(pki).open()
    both.upper.keep = False
    both.end_input()
    await asyncio.sleep(0)
    assert both.wire.closed == "close"
    both.upper.transport.write(b"too late")


async def test_the_end_of_tcp_is_the_end(pki: Path) -> None:
    both = Both(pki).open()
    assert both.layer.eof_received() is False
    both.layer.connection_lost(None)
    assert both.upper.log == ["lost"]
    both.upper.transport.write(b"to nobody")
    both.layer.data_received(b"from nobody")


async def test_reading_is_paused(pki: Path) -> None:
    both = Both(pki).open()
    both.upper.transport.pause_reading()
    assert not both.wire.reading and not both.upper.transport.is_reading()
    both.client.write(b"a" * 50_000)
    both.end_input()
    await asyncio.sleep(0)
    assert (both.upper.data, both.upper.log) == (b"", [])
    both.upper.transport.resume_reading()
    assert both.wire.reading
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert (both.upper.data, both.upper.log) == (b"a" * 50_000, ["eof"])


async def test_back_pressure_is_passed_on(pki: Path) -> None:
    both = Both(pki).open()
    both.layer.pause_writing()
    both.layer.resume_writing()
    assert both.upper.log == ["pause", "resume"]


async def test_who_is_there(pki: Path) -> None:
    both = Both(pki).open()
    certificate = both.upper.transport.get_extra_info("peercert")
    assert certificate["subject"] == ((("commonName", "client"),),)
    assert both.client.selected_alpn_protocol() is None


async def test_no_certificate_no_protocol(pki: Path) -> None:
    both = Both(pki, certificate=False)
    both.open()
    assert both.layer.inner is None
    assert both.wire.closed == "close"


@pytest.mark.parametrize("junk", [b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\xff\xff" + b"\0" * 99])
async def test_what_is_no_tls(pki: Path, junk: bytes) -> None:
    both = Both(pki)
    both.layer.data_received(junk)
    both.layer.data_received(b"\0" * 70_000)
    assert both.layer.inner is None
    assert both.wire.closed


async def test_damaged_records(pki: Path) -> None:
    both = Both(pki).open()
    both.layer.data_received(b"\x17\x03\x03\x00\x20" + b"\0" * 32)
    assert (both.wire.closed, both.upper.data) == ("abort", b"")


async def test_a_handshake_that_takes_too_long(pki: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(secure, "HANDSHAKE", 0.01)
    both = Both(pki)
    await asyncio.sleep(0.05)
    assert both.wire.closed == "abort"


def test_files_that_cannot_be_used(pki: Path, tmp_path: Path) -> None:
    made = secure.Certificates(settings(pki))
    before = made.context
    (tmp_path / "bad.pem").write_text("nonsense")
    for wrong, flag in (
        ({"tlscert": "/nonexistent"}, "--tlscert"),
        ({"tlscert": str(tmp_path / "bad.pem")}, "--tlscert"),
        ({"tlskey": str(pki / "client.key")}, "--tlskey"),
        ({"tlscacert": str(tmp_path / "bad.pem")}, "--tlscacert"),
    ):
        broken = settings(pki)
        for name, value in wrong.items():
            setattr(broken, name, value)
        with pytest.raises(errdefs.InvalidParameter, match=flag):
            made.reload(broken)
    assert made.context is before
    made.reload(settings(pki))
    assert made.context is not before
