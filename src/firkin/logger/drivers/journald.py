"""``journald``: the systemd journal, by its native protocol.

A datagram is one entry: lines of ``NAME=VALUE``; a value with a newline is written as the name, a
newline, the length (64 bits, little endian), the value and a newline. See systemd's
``JOURNAL_NATIVE_PROTOCOL``.
"""

from __future__ import annotations

import os
import re
import struct
from collections.abc import Mapping, Sequence

from firkin import errdefs
from firkin.logger import logger, options, target

SOCKET = "/run/systemd/journal/socket"
_ERROR, _INFO = b"3", b"6"
_NOT_NAME = re.compile(r"[^A-Z0-9_]")


class Journald:
    """The driver, for the journal at ``path``."""

    name = "journald"
    options = logger.ATTRIBUTE_OPTIONS

    def __init__(self, path: str = SOCKET) -> None:
        self._path = path

    def validate(self, given: Mapping[str, str]) -> None:
        """See ``Driver.validate``."""
        if not os.path.exists(self._path):
            raise errdefs.InvalidParameter(
                f"journald is not enabled on this host: there is no {self._path}: use another "
                "log driver"
            )

    def open(self, info: logger.Info, state: str = "") -> Sender:
        """See ``Driver.open``."""
        return Sender(info, self._path)


class Sender:
    """The logger."""

    def __init__(self, info: logger.Info, path: str) -> None:
        self._target = target.Target(target.Address("unixgram", path))
        tag = options.tag(info)
        fields = {
            "CONTAINER_ID": info.id[:12],
            "CONTAINER_ID_FULL": info.id,
            "CONTAINER_NAME": info.name,
            "CONTAINER_TAG": tag,
            "IMAGE_NAME": info.image,
            "SYSLOG_IDENTIFIER": tag,
        }
        for name, value in options.attributes(info, tagged=False).items():
            fields[_NOT_NAME.sub("_", name.upper()).lstrip("_") or "X"] = value
        self._common = b"".join(_field(name, value.encode()) for name, value in fields.items())

    def write(self, entries: Sequence[logger.Entry]) -> str:
        """See ``Logger.write``."""
        for entry in entries:
            data = self._common + _field("MESSAGE", entry.line)
            data += _field("PRIORITY", _ERROR if entry.stream == 2 else _INFO)
            data += _field("SYSLOG_TIMESTAMP", entry.time)
            if entry.partial:
                data += _field("CONTAINER_PARTIAL_MESSAGE", b"true")
            self._target.send(data)
        return ""

    def close(self) -> None:
        """See ``Logger.close``."""
        self._target.close()


def _field(name: str, value: bytes) -> bytes:
    if b"\n" in value:
        return name.encode() + b"\n" + struct.pack("<Q", len(value)) + value + b"\n"
    return name.encode() + b"=" + value + b"\n"
