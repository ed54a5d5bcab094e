"""The lines of a container's log file, without I/O.

conmon writes the CRI log format: ``TIME STREAM TAG DATA``. TIME is RFC 3339 with nanoseconds and a
zone offset (conmon runs in UTC here, so it is always 35 bytes), STREAM is stdout or stderr, TAG is
``F`` for data that ended with a newline and ``P`` for a part of a line, whose own newline is the
log's and not the container's.
"""

from __future__ import annotations

import datetime
from collections.abc import Iterator
from typing import NamedTuple

import msgspec

_TIME_END = 35
_TAG = 43
DATA = 45
"""Where a record's data begin, in bytes."""


class Line(NamedTuple):
    """One record: ``time`` as 30 bytes of UTC RFC 3339, ``stream`` 1 or 2, ``data`` with its own
    newline if it had one."""

    time: bytes
    stream: int
    data: bytes


def parse(raw: bytes) -> Line | None:
    """Parse one line of the file, newline included; ``None`` for what conmon did not write."""
    if len(raw) < DATA or raw[_TIME_END] != 32 or raw[10] != 84:
        return None
    full = raw[_TAG] == 70
    return Line(
        raw[:29] + b"Z",
        2 if raw[39] == 101 else 1,  # stdErr, stdOut: the fourth letter tells
        raw[DATA:] if full else raw[DATA:-1],
    )


class _Record(msgspec.Struct):
    log: str
    stream: str = "stdout"
    time: str = ""


_record = msgspec.json.Decoder(_Record).decode


def parse_json(raw: bytes) -> Line | None:
    """Parse one line of a ``json-file`` log; ``None`` for what is none."""
    try:
        found = _record(raw)
    except msgspec.DecodeError:
        return None
    return Line(found.time.encode(), 2 if found.stream == "stderr" else 1, found.log.encode())


def split(buffer: bytes) -> tuple[list[bytes], bytes]:
    """Cut ``buffer`` into complete lines and the rest of an incomplete one."""
    end = buffer.rfind(b"\n") + 1
    return buffer[:end].splitlines(keepends=True) if b"\r" not in buffer else list(
        _lines(buffer[:end])
    ), buffer[end:]


def _lines(data: bytes) -> Iterator[bytes]:
    start = 0
    while (end := data.find(b"\n", start) + 1) > 0:
        yield data[start:end]
        start = end


def time_key(seconds: float) -> bytes:
    """``seconds`` since the epoch in the form of :attr:`Line.time`, to compare with it."""
    whole, fraction = divmod(seconds, 1)
    stamp = datetime.datetime.fromtimestamp(max(whole, 0), datetime.UTC)
    return stamp.strftime("%Y-%m-%dT%H:%M:%S").encode() + b".%09dZ" % int(fraction * 1e9)


def nano_key(nanoseconds: int) -> bytes:
    """The same from whole nanoseconds."""
    whole, fraction = divmod(max(nanoseconds, 0), 1_000_000_000)
    stamp = datetime.datetime.fromtimestamp(min(whole, 253402300799), datetime.UTC)
    return stamp.strftime("%Y-%m-%dT%H:%M:%S").encode() + b".%09dZ" % fraction
