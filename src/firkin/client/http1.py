"""The client's half of HTTP/1.1 message parsing, without any I/O.

An HTTP library would be the natural choice, but each costs more than everything else that a
command imports (httptools 8 ms, h11 16, http.client 30), and the client's whole budget is a few
tens of milliseconds. What is left to do for a client that makes one request at a time is little:
a status line, headers, and a body with one of four ends (RFC 9112, section 6.3)::

    upgraded     the raw stream of a hijacked connection; HTTP is over
    chunked      the chunk of length zero and the trailer after it
    counted      Content-Length bytes
    to the end   whatever comes until the engine closes; not reusable

Everything that two readers could understand differently is refused, never guessed: folded headers,
blanks before a colon, two lengths, a transfer coding other than ``chunked``. Headers, trailers and
chunk sizes have limits, so an endless one ends as an error. The body is handed on as it comes.
"""

from __future__ import annotations

HEADER_LIMIT = 256 * 1024
"""No header block of an engine comes near this; more is an endless one, and refused."""
CHUNK_LINE_LIMIT = 4096
_LENGTH_DIGITS = 18
_TOKEN = frozenset(b"!#$%&'*+-.^_`|~0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz")
_HEX = frozenset(b"0123456789abcdefABCDEF")

# Where the parser is; what each one waits for.
_HEAD, _COUNTED, _SIZE, _CHUNK, _CHUNK_END, _TRAILER, _RAW, _DONE = range(8)


class ProtocolError(Exception):
    """The other end does not speak HTTP as agreed, or went away in the middle of a message."""


class ResponseParser:
    """Takes the bytes of one response with ``feed``; the body comes back from ``take``.

    ``ready`` once the final header is there; ``complete`` once the body is. Interim answers (100)
    are passed over. After an upgrade nothing is ever complete: all bytes are the stream's.
    """

    def __init__(self, *, body: bool = True) -> None:
        """``body`` is false for the answer to HEAD, which has none."""
        self._bodiless = not body
        self.status = 0
        self.headers: dict[str, str] = {}
        self.ready = False
        self.complete = False
        self.upgraded = False
        self.keep_alive = False
        self.counted = False
        self._body: list[bytes] = []
        self._buffer = b""
        self._state = _HEAD
        self._left = 0
        self._trailer = 0

    def take(self) -> list[bytes]:
        """The pieces of the body that came since the last call."""
        pieces, self._body = self._body, []
        return pieces

    def feed(self, data: bytes) -> None:
        """Go on with ``data``. Raises ``ProtocolError``; the response is of no use after that."""
        if self._state == _RAW:
            self._body.append(data)
            return
        buffer = self._buffer + data if self._buffer else data
        position = 0
        while position < len(buffer) and self._state != _DONE:
            if self._state == _RAW:
                self._body.append(buffer[position:])
                position = len(buffer)
            elif self._state in (_COUNTED, _CHUNK):
                piece = buffer[position : position + self._left]
                self._body.append(piece)
                position += len(piece)
                self._left -= len(piece)
                if not self._left:
                    self._finish() if self._state == _COUNTED else self._enter(_CHUNK_END)
            elif (after := self._line_of(buffer, position)) == position:
                break
            else:
                position = after
        if self._state == _DONE and position < len(buffer):
            self.keep_alive = False  # It says more than it was asked: not to be trusted again.
        self._buffer = buffer[position:]

    def end(self) -> None:
        """The engine closed the connection: the end of some bodies, and too early for others."""
        if self.complete or self.upgraded:
            return
        if not self.ready:
            raise ProtocolError("the engine closed the connection before it answered")
        if self._state != _RAW:
            raise ProtocolError("the connection broke in the middle of the engine's answer")
        self.complete = True

    def _enter(self, state: int) -> None:
        self._state = state

    def _finish(self) -> None:
        self._state = _DONE
        self.complete = True

    def _line_of(self, buffer: bytes, position: int) -> int:
        """Read a header, a chunk's size, its end or a trailer; where to go on, or ``position``."""
        if self._state == _HEAD:
            return self._read_head(buffer, position)
        end = buffer.find(b"\n", position, position + CHUNK_LINE_LIMIT)
        if end < 0:
            if len(buffer) - position >= CHUNK_LINE_LIMIT:
                raise ProtocolError("a chunk of the engine's answer has an endless header")
            return position
        line = buffer[position:end]
        if not line.endswith(b"\r"):
            raise ProtocolError("a chunk of the engine's answer is not ended as it should be")
        line = line[:-1]
        if self._state == _SIZE:
            self._begin_chunk(line)
        elif self._state == _CHUNK_END:
            if line:
                raise ProtocolError("a chunk of the engine's answer is longer than it said")
            self._state = _SIZE
        elif line:
            self._trailer += len(line)
            if self._trailer > HEADER_LIMIT:
                raise ProtocolError("the engine's answer has an endless trailer")
        else:
            self._finish()
        return end + 1

    def _begin_chunk(self, line: bytes) -> None:
        digits = line.partition(b";")[0].rstrip(b" \t")
        if not digits or len(digits) > 15 or not _HEX.issuperset(digits):
            raise ProtocolError(f"the engine sent a chunk without a length: {line[:40]!r}")
        self._left = int(digits, 16)
        self._state = _CHUNK if self._left else _TRAILER

    def _read_head(self, buffer: bytes, position: int) -> int:
        end = buffer.find(b"\r\n\r\n", position)
        if end < 0:
            if len(buffer) - position > HEADER_LIMIT:
                raise ProtocolError("the engine's answer has an endless header")
            if not b"HTTP/1.".startswith(buffer[position : position + 7]):
                raise _not_http(buffer[position:])
            return position
        if end - position > HEADER_LIMIT:
            raise ProtocolError("the engine's answer has an endless header")
        first, *lines = buffer[position:end].split(b"\r\n")
        minor = self._read_status(first)
        self.headers = _headers(lines)
        if 100 <= self.status < 200 and self.status != 101:
            return end + 4  # "100 Continue": the answer follows
        self.ready = True
        connection = self.headers.get("connection", "").lower()
        tokens = [token.strip() for token in connection.split(",")]
        self.keep_alive = "close" not in tokens and (minor > 0 or "keep-alive" in tokens)
        self._begin_body()
        return end + 4

    def _read_status(self, line: bytes) -> int:
        """Take the status line; the minor version of HTTP."""
        version, _, rest = line.partition(b" ")
        code = rest[:3]
        if (
            version not in (b"HTTP/1.1", b"HTTP/1.0")
            or not (len(code) == 3 and code.isdigit() and code[0] != 0x30)
            or rest[3:4] not in (b"", b" ")
        ):
            raise _not_http(line)
        self.status = int(code)
        return version[-1] - 0x30

    def _begin_body(self) -> None:
        length = self.headers.get("content-length")
        coding = self.headers.get("transfer-encoding")
        if self.status == 101:
            self._state, self.upgraded = _RAW, True
        elif self.status in (204, 304) or self._bodiless:
            self._finish()
        elif coding is not None:
            if coding.strip().lower() != "chunked" or length is not None:
                raise ProtocolError(f"the engine's answer has an unclear end: {coding[:40]!r}")
            self._state, self.counted = _SIZE, True
        elif length is not None:
            if not (length.isascii() and length.isdigit() and len(length) <= _LENGTH_DIGITS):
                raise ProtocolError(f"the engine's answer has an impossible length: {length[:40]}")
            self._state, self._left, self.counted = _COUNTED, int(length), True
            if not self._left:
                self._finish()
        else:
            self._state, self.keep_alive = _RAW, False


def _headers(lines: list[bytes]) -> dict[str, str]:
    """Header lines by lower-case name; repeated ones are joined, as lists are, by commas."""
    found: dict[str, str] = {}
    for line in lines:
        name, colon, value = line.partition(b":")
        if not colon or not name or not _TOKEN.issuperset(name) or b"\n" in value or b"\0" in value:
            raise ProtocolError(f"the answer is not HTTP: a header line reads {line[:80]!r}")
        key = name.decode("ascii").lower()
        text = value.strip(b" \t").decode("latin-1")
        if key in found:
            if key == "content-length" and found[key] != text:
                raise ProtocolError("the engine's answer has two different lengths")
            if key != "content-length":
                text = f"{found[key]}, {text}"
        found[key] = text
    return found


def _not_http(data: bytes) -> ProtocolError:
    return ProtocolError(
        f"the answer is not HTTP: it begins with {data[:40]!r}"
        " (does the engine expect TLS, or is this another kind of server?)"
    )
