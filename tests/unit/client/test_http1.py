"""The response parser: what it accepts, in whatever pieces it comes, and what it refuses."""

from __future__ import annotations

import pytest

from firkin.client import http1

CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


def parse(data: bytes, step: int = 0) -> tuple[http1.ResponseParser, bytes]:
    parser = http1.ResponseParser()
    body = b""
    step = step or len(data)
    for start in range(0, len(data), step):
        parser.feed(data[start : start + step])
        body += b"".join(parser.take())
    return parser, body


@pytest.mark.parametrize("step", [1, 2, 3, 7, 0])
@pytest.mark.parametrize(
    ("data", "body", "keep"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", b"hello", True),
        (b"HTTP/1.1 200\r\ncontent-length:0\r\n\r\n", b"", True),
        (b"HTTP/1.1 204 No Content\r\n\r\n", b"", True),
        (b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 1\r\n\r\nx", b"x", False),
        (b"HTTP/1.0 200 OK\r\nContent-Length: 1\r\n\r\nx", b"x", False),
        (CHUNKED + b"5\r\nhello\r\n6;a=b\r\n world\r\n0\r\n\r\n", b"hello world", True),
        (CHUNKED + b"0A\r\n0123456789\r\n0\r\nTrailer: x\r\n\r\n", b"0123456789", True),
        (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1", b"1", True),
    ],
)
def test_whole_answers(step: int, data: bytes, body: bytes, keep: bool) -> None:
    parser, found = parse(data, step)
    assert parser.ready and parser.complete
    assert found == body
    assert parser.keep_alive is keep
    assert parser.status in (200, 204)


@pytest.mark.parametrize("step", [1, 5, 0])
def test_an_upgrade_leaves_a_raw_stream(step: int) -> None:
    head = b"HTTP/1.1 101 UPGRADED\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    parser, body = parse(head + b"raw\r\n\r\nbytes", step)
    assert parser.upgraded and not parser.complete
    assert body == b"raw\r\n\r\nbytes"


def test_a_body_without_length_ends_with_the_connection() -> None:
    parser, body = parse(b"HTTP/1.1 200 OK\r\n\r\nabc")
    assert body == b"abc" and not parser.complete
    parser.end()
    assert parser.complete and not parser.keep_alive


@pytest.mark.parametrize(
    "data", [b"", b"HTTP/1.1 200", b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", CHUNKED]
)
def test_an_early_end_is_told(data: bytes) -> None:
    parser = http1.ResponseParser()
    parser.feed(data)
    with pytest.raises(http1.ProtocolError):
        parser.end()


def test_more_than_was_asked_for_spoils_the_connection() -> None:
    parser, body = parse(b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\n1HTTP/1.1 200 OK\r\n")
    assert body == b"1" and parser.complete and not parser.keep_alive


def test_repeated_headers_are_joined() -> None:
    parser, _ = parse(b"HTTP/1.1 204 X\r\nA: 1\r\na:  2 \r\n\r\n")
    assert parser.headers == {"a": "1, 2"}


@pytest.mark.parametrize(
    "data",
    [
        b"SSH-2.0-OpenSSH_9.2\r\n",
        b"\x15\x03\x01\x00\x02\x02",
        b"HTTP/2 200 OK\r\n\r\n",
        b"HTTP/1.1 20 OK\r\n\r\n",
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nName : x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: 1\r\n folded\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: 1\nB: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: \0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +1\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1_0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: " + b"9" * 30 + b"\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n",
        CHUNKED + b"\r\n",
        CHUNKED + b"-1\r\n",
        CHUNKED + b"0x1\r\n",
        CHUNKED + b"1\nx\r\n",
        CHUNKED + b"1\r\nxy\r\n",
        CHUNKED + b"f" * 16 + b"\r\n",
        CHUNKED + b"1;" + b"a" * http1.CHUNK_LINE_LIMIT,
        CHUNKED + b"0\r\n" + (b"a: " + b"b" * 4000 + b"\r\n") * 80,
        b"HTTP/1.1 200 OK\r\n" + b"A: 1\r\n" * 60000,
    ],
)
def test_what_is_unclear_or_endless_is_refused(data: bytes) -> None:
    with pytest.raises(http1.ProtocolError):
        parse(data)
    with pytest.raises(http1.ProtocolError):
        parse(data, 1000)
