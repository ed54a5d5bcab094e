"""HTTP/1.1 over one stream: a request out, a response in pieces, or the raw stream after it.

The parser is llhttp, by way of ``httptools``: of the well-kept parsers it is the one that imports
fastest (about 8 ms less than h11, 30 ms less than ``http.client``), and the client's whole budget
is a few tens of milliseconds. It also bounds and checks what the engine sends.

A ``Response`` reads its body only when asked, so a log followed for days takes no memory.
"""

from __future__ import annotations

import json
import socket

import httptools

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

RECEIVE = 65536
HEADER_LIMIT = 256 * 1024
"""No header block of an engine comes near this; more is an endless one, and refused."""


class ProtocolError(Exception):
    """The other end does not speak HTTP as agreed, or went away in the middle of a message."""


class Stream:
    """The raw two-way stream that an attach or exec becomes after its HTTP exchange."""

    def __init__(self, sock: socket.socket, early: bytes = b"", multiplexed: bool = False) -> None:
        self._sock = sock
        self._early = early
        self.multiplexed = multiplexed

    def fileno(self) -> int:
        return self._sock.fileno()

    @property
    def pending(self) -> bool:
        """True when ``receive`` can answer without waiting for the socket."""
        return bool(self._early)

    def receive(self, limit: int = RECEIVE) -> bytes:
        """The next bytes; empty at the end of the stream."""
        if self._early:
            data, self._early = self._early[:limit], self._early[limit:]
            return data
        return self._sock.recv(limit)

    def send(self, data: bytes) -> None:
        self._sock.sendall(data)

    def close_write(self) -> None:
        """Tell the engine that no more input comes; output still flows."""
        try:
            self._sock.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # The other end closed first: it knows.

    def shut_down(self) -> None:
        """End the stream both ways; wakes a thread that waits in ``receive``."""
        try:
            self._sock.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def close(self) -> None:
        self._sock.close()


class Response:
    """One response. ``headers`` has lower-case names; ``chunks`` yields the body as it comes."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._parser = httptools.HttpResponseParser(self)
        self._chunks: list[bytes] = []
        self._header_bytes = 0
        self._headers_done = False
        self._upgraded = False
        self._keep_alive = False
        self.complete = False
        self.status = 0
        self.headers: dict[str, str] = {}
        while not self._headers_done:
            self._feed(self._receive())
            if 100 <= self.status < 200 and self.status != 101:
                self._headers_done = self.complete = False  # "100 Continue": the answer follows
                self.headers.clear()
                self.status = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        self._header_bytes += len(name) + len(value)
        if self._header_bytes > HEADER_LIMIT:
            raise ProtocolError("the engine's answer has an endless header")
        self.headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        self.status = self._parser.get_status_code()
        self._headers_done = True

    def on_body(self, data: bytes) -> None:
        self._chunks.append(data)

    def on_message_complete(self) -> None:
        self._keep_alive = self._parser.should_keep_alive()
        self.complete = True

    def _receive(self) -> bytes:
        data = self._sock.recv(RECEIVE)
        if not data:
            raise ConnectionResetError("the engine closed the connection before it answered")
        return data

    def _feed(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            self._upgraded = True
            if rest := data[upgrade.args[0] :]:
                self._chunks.append(rest)
        except httptools.HttpParserError as error:
            inner = error.__context__
            if isinstance(inner, ProtocolError):
                raise inner from None
            raise ProtocolError(f"the answer is not HTTP: {error}") from error

    @property
    def reusable(self) -> bool:
        """True when the connection can carry another request."""
        return self.complete and not self._upgraded and self._keep_alive

    def chunks(self) -> Iterator[bytes]:
        """The body, piece by piece, each as soon as it is there."""
        counted = (
            "content-length" in self.headers
            or "chunked" in self.headers.get("transfer-encoding", "").lower()
        )
        while True:
            while self._chunks:
                yield self._chunks.pop(0)
            if self.complete:
                return
            data = self._sock.recv(RECEIVE)
            if not data:
                if counted:
                    raise ProtocolError("the connection broke in the middle of the engine's answer")
                self.complete = True
                return
            self._feed(data)

    def read(self) -> bytes:
        """The whole body. Only for answers known to be small."""
        return b"".join(self.chunks())

    def json(self) -> Any:
        """The whole body as JSON; ``None`` when it is empty."""
        body = self.read()
        if not body.strip():
            return None
        try:
            return json.loads(body)
        except ValueError as error:
            raise ProtocolError(f"the engine's answer is not JSON: {error}") from error

    def json_values(self) -> Iterator[Any]:
        """The body as a stream of JSON values, one to a line, each as soon as its line ends."""
        for line in self.lines():
            if line.strip():
                try:
                    yield json.loads(line)
                except ValueError as error:
                    raise ProtocolError(f"the engine's answer is not JSON: {error}") from error

    def lines(self) -> Iterator[bytes]:
        """The body by lines, without their ends."""
        rest = b""
        for chunk in self.chunks():
            *whole, rest = (rest + chunk).split(b"\n")
            yield from whole
        if rest:
            yield rest

    def take_stream(self) -> Stream:
        """Give up HTTP: what follows the header is a raw stream. The response is spent."""
        early = b"".join(self._chunks)
        self._chunks.clear()
        multiplexed = "multiplexed-stream" in self.headers.get("content-type", "")
        return Stream(self._sock, early, multiplexed)

    def close(self) -> None:
        """Drop the connection, read or not."""
        self._sock.close()


def send_request(
    sock: socket.socket,
    method: str,
    target: str,
    host: str,
    headers: dict[str, str],
    body: bytes | Iterable[bytes] | None,
) -> None:
    """Write one request. ``bytes`` go with their length, any other iterable in chunks.

    The engine may answer and hang up before it has read a long body (an archive it rejects):
    then the broken pipe is not an error, for its answer is already there to be read.
    """
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if isinstance(body, bytes):
        lines.append(f"Content-Length: {len(body)}")
    elif body is not None:
        lines.append("Transfer-Encoding: chunked")
    elif method in ("POST", "PUT"):
        lines.append("Content-Length: 0")
    for line in lines:
        if "\r" in line or "\n" in line:
            raise ProtocolError(f"a request line may not contain a line break: {line!r}")
    head = "\r\n".join(lines).encode() + b"\r\n\r\n"
    if body is None or isinstance(body, bytes):
        sock.sendall(head + (body or b""))
        return
    sock.sendall(head)
    try:
        for piece in body:
            if piece:
                sock.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        sock.sendall(b"0\r\n\r\n")
    except (BrokenPipeError, ConnectionResetError):
        pass
