"""HTTP/1.1 over one stream: a request out, a response in pieces, or the raw stream after it.

``http1`` parses; here is the I/O. A ``Response`` reads its body only when asked, so a log followed
for days takes no memory.
"""

from __future__ import annotations

from firkin.client import http1, jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import Any

    from firkin.client import transport

RECEIVE = 65536
SHUT_WRITE, SHUT_BOTH = 1, 2  # As in socket, which costs 3 ms to import.

ProtocolError = http1.ProtocolError


class Stream:
    """The raw two-way stream that an attach or exec becomes after its HTTP exchange."""

    def __init__(
        self, sock: transport.Channel, early: bytes = b"", multiplexed: bool = False
    ) -> None:
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
            self._sock.shutdown(SHUT_WRITE)
        except OSError:
            pass  # The other end closed first: it knows.

    def shut_down(self) -> None:
        """End the stream both ways; wakes a thread that waits in ``receive``."""
        try:
            self._sock.shutdown(SHUT_BOTH)
        except OSError:
            pass

    def close(self) -> None:
        self._sock.close()


class Response:
    """One response. ``headers`` has lower-case names; ``chunks`` yields the body as it comes."""

    def __init__(self, sock: transport.Channel, *, body: bool = True) -> None:
        """``body`` is false for the answer to HEAD, which has none whatever its header says."""
        self._sock = sock
        self._parser = http1.ResponseParser(body=body)
        self._chunks: list[bytes] = []
        while not self._parser.ready:
            self._receive()
        self.status = self._parser.status
        self.headers = self._parser.headers

    @property
    def complete(self) -> bool:
        """True once the whole body is here."""
        return self._parser.complete

    def _receive(self) -> bool:
        """Read once more; false at the end of the stream, which for some bodies is their end."""
        data = self._sock.recv(RECEIVE)
        if data:
            self._parser.feed(data)
            self._chunks += self._parser.take()
        else:
            self._parser.end()
        return bool(data)

    @property
    def reusable(self) -> bool:
        """True when the connection can carry another request."""
        return self._parser.complete and self._parser.keep_alive

    def chunks(self) -> Iterator[bytes]:
        """The body, piece by piece, each as soon as it is there."""
        while True:
            while self._chunks:
                yield self._chunks.pop(0)
            if self._parser.complete or not self._receive():
                return

    def read(self) -> bytes:
        """The whole body. Only for answers known to be small."""
        return b"".join(self.chunks())

    def json(self) -> Any:
        """The whole body as JSON; ``None`` when it is empty."""
        body = self.read()
        if not body.strip():
            return None
        try:
            return jsontext.loads(body)
        except ValueError as error:
            raise ProtocolError(f"the engine's answer is not JSON: {error}") from error

    def json_values(self) -> Iterator[Any]:
        """The body as a stream of JSON values, one to a line, each as soon as its line ends."""
        for line in self.lines():
            if line.strip():
                try:
                    yield jsontext.loads(line)
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
    sock: transport.Channel,
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
