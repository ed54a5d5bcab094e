"""Bytes on their way out: a blob, or a range of it, as a response's body.

A file goes from the page cache to the socket by sendfile(2), in a thread because the disk may be
slow, and only while the socket takes bytes: a slow client holds no thread for long. TLS connections
and storages without files get the bytes in pieces through the event loop.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import io
import logging
import os
import re
import select

from aiohttp import web

from firkin import errdefs
from firkin.registry import errors
from firkin.registry.storage import storage

log = logging.getLogger(__name__)

PIECE = 1 << 20
STALL = 120.0
"""Seconds that a client may take nothing before it is given up."""

_TURN = 16 << 20  # bytes that one turn of a thread sends at most, so that turns are fair
_WAIT = 10  # milliseconds that a thread waits for a socket: a fast client is ready again by then
_RANGE = re.compile(r"bytes=([0-9]{0,19})-([0-9]{0,19})")


class Interval:
    """The bytes of a blob that a request asks for."""

    def __init__(self, start: int, length: int, *, partial: bool) -> None:
        self.start = start
        self.length = length
        self.partial = partial


def interval(header: str | None, size: int) -> Interval:
    """What a ``Range`` header means for a blob of ``size`` bytes.

    As RFC 9110 allows, several ranges and units other than bytes are answered with everything.
    Raises ``RANGE_INVALID`` for a range that begins behind the end.
    """
    everything = Interval(0, size, partial=False)
    match = _RANGE.fullmatch(header.replace(" ", "")) if header else None
    if match is None:
        return everything
    first, last = match.groups()
    if not first and not last:
        return everything
    if not first:
        length = min(int(last), size)
        start = size - length
    else:
        start = int(first)
        end = min(int(last), size - 1) if last else size - 1
        if last and int(last) < start:
            return everything
        length = end - start + 1
    if length <= 0 or start >= size:
        raise errors.Failure(
            "RANGE_INVALID",
            f"the range {header} is outside of the blob's {size} bytes",
            headers={"Content-Range": f"bytes */{size}"},
        )
    return Interval(start, length, partial=True)


async def send(
    request: web.BaseRequest, response: web.StreamResponse, reader: storage.Reader,
    part: Interval, pool: concurrent.futures.Executor,
) -> web.StreamResponse:  # fmt: skip
    """Send ``part`` of what ``reader`` gives from ``part.start`` on, and close the reader.

    The response has its headers, with the length, already. Whatever goes wrong after them breaks
    the connection: the client must not take what it got for the whole blob.
    """
    loop = asyncio.get_running_loop()
    try:
        writer = await response.prepare(request)
        assert writer is not None
        transport = request.transport
        if isinstance(reader, io.FileIO) and transport and not request.secure:
            writer.send_headers()
            await _sendfile(transport, reader, part, pool)
        else:
            left = part.length
            while left:
                piece = await loop.run_in_executor(pool, reader.read, min(PIECE, left))
                if not piece:
                    raise errdefs.System(f"a blob ended {left} bytes early")
                left -= len(piece)
                async with asyncio.timeout(STALL):
                    await response.write(piece)
        await response.write_eof()
    except (ConnectionError, TimeoutError):
        _break_off(request)
    except Exception:
        log.exception("%s %s broke off", request.method, request.path)
        _break_off(request)
    finally:
        await loop.run_in_executor(pool, reader.close)
    return response


def _break_off(request: web.BaseRequest) -> None:
    if request.transport is not None:
        request.transport.abort()


async def _sendfile(
    transport: asyncio.Transport, file: io.FileIO, part: Interval,
    pool: concurrent.futures.Executor,
) -> None:  # fmt: skip
    loop = asyncio.get_running_loop()
    # The socket's own number belongs to the event loop, which may close it under us.
    out = os.dup(transport.get_extra_info("socket").fileno())
    try:
        while transport.get_write_buffer_size():  # the headers go first
            if transport.is_closing():
                raise ConnectionResetError("the client left")
            await _writable(loop, out)
            await asyncio.sleep(0)
        offset, end = part.start, part.start + part.length
        while offset < end:
            sent = await loop.run_in_executor(pool, _turn, out, file.fileno(), offset, end)
            offset += sent
            if offset < end:
                await _writable(loop, out)
    finally:
        os.close(out)


def _turn(out: int, file: int, offset: int, end: int) -> int:
    """Send as much as the socket takes now; returns how much."""
    first = offset
    stop = min(end, offset + _TURN)
    ready = select.poll()
    ready.register(out, select.POLLOUT)
    while offset < stop:
        try:
            sent = os.sendfile(out, file, offset, stop - offset)
        except BlockingIOError:
            if not ready.poll(_WAIT):
                break
            continue
        if not sent:
            raise errdefs.System(f"a blob ended {end - offset} bytes early")
        offset += sent
    return offset - first


async def _writable(loop: asyncio.AbstractEventLoop, fd: int) -> None:
    ready = loop.create_future()

    def wake() -> None:
        if not ready.done():
            ready.set_result(None)

    loop.add_writer(fd, wake)
    try:
        async with asyncio.timeout(STALL):
            await ready
    finally:
        loop.remove_writer(fd)
