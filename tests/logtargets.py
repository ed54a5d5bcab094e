"""Log targets for tests: they listen, and keep what they get."""

from __future__ import annotations

import contextlib
import gzip
import json
import re
import select
import socket
import ssl
import struct
import subprocess
import threading
import time
import zlib
from pathlib import Path
from typing import Any

import msgspec


class Target:
    """Receives streams or datagrams in a thread; ``data`` is all of a stream, ``packets`` each
    datagram."""

    def __init__(self, sock: socket.socket, tls: ssl.SSLContext | None = None) -> None:
        self.socket = sock
        self.data = b""
        self.packets: list[bytes] = []
        self.connections: list[socket.socket] = []
        self._tls = tls
        stream = sock.type == socket.SOCK_STREAM
        self._thread = threading.Thread(
            target=self._accept if stream else self._receive, daemon=True
        )
        self._thread.start()

    @classmethod
    def tcp(cls, tls: ssl.SSLContext | None = None, port: int = 0) -> Target:
        return cls(socket.create_server(("127.0.0.1", port)), tls)

    @classmethod
    def udp(cls) -> Target:
        sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        sock.bind(("127.0.0.1", 0))
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
        return cls(sock)

    @classmethod
    def unix(cls, path: Path, kind: int = socket.SOCK_DGRAM) -> Target:
        path.unlink(missing_ok=True)
        sock = socket.socket(socket.AF_UNIX, kind)
        sock.bind(str(path))
        if kind == socket.SOCK_STREAM:
            sock.listen()
        return cls(sock)

    @property
    def port(self) -> int:
        return int(self.socket.getsockname()[1])

    def _receive(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                self.packets.append(self.socket.recv(1 << 18))

    def _accept(self) -> None:
        """Serve all connections in the order in which they were made: what one has sent before
        the next was made comes first."""
        with contextlib.suppress(OSError, ValueError):
            while True:
                ready, _, _ = select.select([*self.connections, self.socket], [], [])
                for made in [one for one in self.connections if one in ready]:
                    self._read(made)
                if self.socket in ready:
                    made, _ = self.socket.accept()
                    if self._tls is not None:
                        made.settimeout(20)
                        try:
                            made = self._tls.wrap_socket(made, server_side=True)
                        except OSError:
                            made.close()
                            continue
                    made.setblocking(False)
                    self.connections.append(made)
                    self._read(made)

    def _read(self, made: socket.socket) -> None:
        try:
            while data := made.recv(65536):
                self.data += data
                self.received(made)
        except (BlockingIOError, ssl.SSLWantReadError):
            return
        except OSError:
            pass
        self.connections.remove(made)
        made.close()

    def received(self, made: socket.socket) -> None:
        """More of ``data`` is there."""

    def settle(self) -> None:
        """Wait until nothing has come for a moment."""
        before = None
        while before != (len(self.data), len(self.packets)):
            before = (len(self.data), len(self.packets))
            time.sleep(0.25)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self.socket.shutdown(socket.SHUT_RDWR)
        self.socket.close()
        self._thread.join(5)
        for made in self.connections:
            with contextlib.suppress(OSError):
                made.shutdown(socket.SHUT_RDWR)
            made.close()


class Fluentd(Target):
    """Acknowledges chunks."""

    def __init__(self, *words: Any) -> None:
        self._acknowledged = 0
        super().__init__(*words)

    def received(self, made: socket.socket) -> None:
        messages = self.messages()
        for message in messages[self._acknowledged :]:
            if chunk := message[2].get("chunk"):
                made.sendall(msgspec.msgpack.encode({"ack": chunk}))
        self._acknowledged = len(messages)

    def messages(self) -> list[Any]:
        """[tag, events, options] of all whole messages."""
        found, rest = [], self.data
        while rest:
            for end in _ends(rest):
                with contextlib.suppress(msgspec.DecodeError):
                    found.append(msgspec.msgpack.decode(rest[:end]))
                    rest = rest[end:]
                    break
            else:
                break
        return found

    def events(self) -> list[tuple[Any, Any]]:
        return [(event[0], event[1]) for message in self.messages() for event in message[1]]


def _ends(data: bytes) -> list[int]:
    """Where a message may end: where the next one begins (fixarray of three), or at the end."""
    return [m.start() for m in re.finditer(b"\x93[\xa0-\xbf]", data) if m.start()] + [len(data)]


def gelf_messages(packets: list[bytes]) -> list[dict[str, Any]]:
    """The messages of datagrams, put together and decompressed."""
    found, chunks = [], {}
    for packet in packets:
        if packet[:2] == b"\x1e\x0f":
            parts = chunks.setdefault(packet[2:10], {})
            parts[packet[10]] = packet[12:]
            if len(parts) < packet[11]:
                continue
            packet = b"".join(parts[n] for n in sorted(parts))
        if packet[:2] == b"\x1f\x8b":
            packet = gzip.decompress(packet)
        elif packet[:1] == b"\x78":
            packet = zlib.decompress(packet)
        found.append(json.loads(packet))
    return found


def journal_fields(packet: bytes) -> dict[str, bytes]:
    """One entry of the journal's native protocol."""
    fields = {}
    while packet:
        line, _, rest = packet.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if equals:
            fields[name.decode()] = value
            packet = rest
            continue
        (size,) = struct.unpack("<Q", rest[:8])
        fields[name.decode()] = rest[8 : 8 + size]
        packet = rest[8 + size + 1 :]
    return fields


def certificate(directory: Path) -> tuple[Path, Path]:
    """A certificate for localhost and its key."""
    cert, key = directory / "cert.pem", directory / "key.pem"
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1",
         "-nodes", "-keyout", key, "-out", cert, "-days", "2", "-subj", "/CN=localhost",
         "-addext", "subjectAltName=DNS:localhost,IP:127.0.0.1"],
        check=True, capture_output=True,
    )  # fmt: skip
    return cert, key
