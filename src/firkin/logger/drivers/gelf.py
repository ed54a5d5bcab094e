"""``gelf``: the Graylog Extended Log Format 1.1.

By UDP a message is compressed and, when it is longer than a packet, cut into at most 128 chunks,
each with the magic bytes 1E 0F, the message's id, its number and their count. By TCP a message is
not compressed and ends with a NUL.
"""

from __future__ import annotations

import gzip
import os
import zlib
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from firkin import errdefs
from firkin.logger import logger, options, target

_KINDS = {"udp": "udp", "tcp": "tcp"}
_PORT = 12201
_CHUNK = 1420 - 12
_MOST_CHUNKS = 128
_ERROR, _INFO = 3, 6


class Gelf:
    """The driver."""

    name = "gelf"
    options = (
        frozenset(
            {
                "gelf-address", "gelf-compression-level", "gelf-compression-type",
                "gelf-tcp-max-reconnect", "gelf-tcp-reconnect-delay",
            }
        )
        | logger.ATTRIBUTE_OPTIONS
    )  # fmt: skip

    def validate(self, given: Mapping[str, str]) -> None:
        """See ``Driver.validate``."""
        if not given.get("gelf-address"):
            raise errdefs.InvalidParameter(
                "gelf: gelf-address is a required parameter: for example udp://HOST:12201"
            )
        address = _address(given)
        kind = given.get("gelf-compression-type", "")
        if kind not in ("", "gzip", "zlib", "none"):
            raise errdefs.InvalidParameter(
                f"gelf: unknown compression type {kind[:40]!r}: use gzip, zlib or none"
            )
        level = given.get("gelf-compression-level", "")
        if level and level not in ("-1", *map(str, range(10))):
            raise errdefs.InvalidParameter(
                f"gelf: unknown compression level {level[:40]!r}: use -1 to 9"
            )
        if address.kind == "tcp" and (kind or level):
            raise errdefs.InvalidParameter("gelf: compression is for UDP only: leave it out")
        if address.kind == "udp" and any(name.startswith("gelf-tcp-") for name in given):
            raise errdefs.InvalidParameter("gelf: gelf-tcp-... options need a tcp:// address")
        options.count(given, "gelf-tcp-max-reconnect", 3, 0)
        options.seconds(given, "gelf-tcp-reconnect-delay", 1)

    def open(self, info: logger.Info, state: str = "") -> Sender:
        """See ``Driver.open``."""
        return Sender(info)


def _address(given: Mapping[str, str]) -> target.Address:
    return target.parse(given.get("gelf-address", ""), _KINDS, _PORT, "gelf-address")


class Sender:
    """The logger."""

    def __init__(self, info: logger.Info) -> None:
        address = _address(info.options)
        self._datagrams = address.kind == "udp"
        self._target = target.Target(address)
        self._compression = info.options.get("gelf-compression-type") or "gzip"
        self._level = int(info.options.get("gelf-compression-level") or 1)
        self._common: dict[str, Any] = {
            "version": "1.1",
            "host": info.hostname,
            "_container_id": info.id,
            "_container_name": info.name,
            "_image_id": info.image_id,
            "_image_name": info.image,
            "_command": " ".join(info.args),
            "_tag": options.tag(info),
            "_created": _rfc3339(info.created),
        }
        for name, value in options.attributes(info, tagged=False).items():
            self._common[f"_{name}"] = value

    def write(self, entries: Sequence[logger.Entry]) -> str:
        """See ``Logger.write``."""
        for entry in entries:
            seconds, nanoseconds = entry.clock
            text = msgspec.json.encode(
                {
                    **self._common,
                    "short_message": entry.line.decode("utf-8", "replace"),
                    "timestamp": seconds + round(nanoseconds / 1e9, 6),
                    "level": _ERROR if entry.stream == 2 else _INFO,
                }
            )
            if self._datagrams:
                for packet in packets(self._compressed(text)):
                    self._target.send(packet)
            else:
                self._target.send(text + b"\0")
        return ""

    def _compressed(self, text: bytes) -> bytes:
        if self._compression == "none":
            return text
        if self._compression == "zlib":
            return zlib.compress(text, self._level)
        return gzip.compress(text, max(self._level, 0), mtime=0)

    def close(self) -> None:
        """See ``Logger.close``."""
        self._target.close()


def packets(data: bytes) -> list[bytes]:
    """The datagrams of one message; none when it is too long for 128."""
    if len(data) <= _CHUNK + 12:
        return [data]
    pieces = [data[start : start + _CHUNK] for start in range(0, len(data), _CHUNK)]
    if len(pieces) > _MOST_CHUNKS:
        return []
    head = b"\x1e\x0f" + os.urandom(8)
    return [head + bytes((n, len(pieces))) + piece for n, piece in enumerate(pieces)]


def _rfc3339(nanoseconds: int) -> str:
    import datetime

    whole, fraction = divmod(nanoseconds, 1_000_000_000)
    stamp = datetime.datetime.fromtimestamp(whole, datetime.UTC)
    return stamp.strftime("%Y-%m-%dT%H:%M:%S") + f".{fraction:09d}Z"
