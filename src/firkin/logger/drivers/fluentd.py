"""``fluentd``: Fluentd's and Fluent Bit's forward protocol, version 1, in forward mode.

A message is msgpack: ``[tag, [[time, record], ...], options]``. A time is an integer, or the
extension type 0 (seconds and nanoseconds, 32 bits each) with sub-second precision. With
``fluentd-request-ack`` each message carries the id of a chunk, which the server sends back.
"""

from __future__ import annotations

import base64
import os
import struct
from collections.abc import Mapping, Sequence
from typing import Any

import msgspec

from firkin.logger import logger, options, target

_KINDS = {"tcp": "tcp", "tls": "tls", "unix": "unix"}
_PORT = 24224
_DEFAULT = "tcp://127.0.0.1:24224"


class Fluentd:
    """The driver."""

    name = "fluentd"
    options = (
        frozenset(
            {
                "fluentd-address", "fluentd-async", "fluentd-async-connect",
                "fluentd-async-reconnect-interval", "fluentd-buffer-limit", "fluentd-max-retries",
                "fluentd-request-ack", "fluentd-retry-wait", "fluentd-sub-second-precision",
                "fluentd-write-timeout",
            }
        )
        | logger.ATTRIBUTE_OPTIONS
    )  # fmt: skip

    def validate(self, given: Mapping[str, str]) -> None:
        """See ``Driver.validate``."""
        _address(given)
        for name in ("fluentd-async", "fluentd-async-connect", "fluentd-request-ack",
                     "fluentd-sub-second-precision"):  # fmt: skip
            options.truth(given, name, False)
        options.size(given, "fluentd-buffer-limit", 0)
        options.count(given, "fluentd-max-retries", 0, 0)
        for name in ("fluentd-retry-wait", "fluentd-async-reconnect-interval",
                     "fluentd-write-timeout"):  # fmt: skip
            options.seconds(given, name, 0)

    def open(self, info: logger.Info, state: str = "") -> Sender:
        """See ``Driver.open``."""
        return Sender(info)


def _address(given: Mapping[str, str]) -> target.Address:
    text = given.get("fluentd-address", "") or _DEFAULT
    return target.parse(text, _KINDS, _PORT, "fluentd-address")


class Sender:
    """The logger."""

    def __init__(self, info: logger.Info) -> None:
        address = _address(info.options)
        tls = target.tls_context() if address.kind == "tls" else None
        self._target = target.Target(address, tls)
        self._tag = options.tag(info)
        self._fine = options.truth(info.options, "fluentd-sub-second-precision", False)
        self._acknowledged = options.truth(info.options, "fluentd-request-ack", False)
        self._common: dict[str, Any] = {
            "container_id": info.id,
            "container_name": f"/{info.name}",
            **options.attributes(info, tagged=False),
        }

    def write(self, entries: Sequence[logger.Entry]) -> str:
        """See ``Logger.write``."""
        events = [[self._time(entry), self._record(entry)] for entry in entries]
        if not events:
            return ""
        given: dict[str, Any] = {"size": len(events)}
        chunk = ""
        if self._acknowledged:
            chunk = given["chunk"] = base64.b64encode(os.urandom(16)).decode()
        self._target.send(msgspec.msgpack.encode([self._tag, events, given]))
        if chunk:
            self._await(chunk)
        return ""

    def _time(self, entry: logger.Entry) -> Any:
        seconds, nanoseconds = entry.clock
        if not self._fine:
            return seconds
        return msgspec.msgpack.Ext(0, struct.pack(">II", seconds & 0xFFFFFFFF, nanoseconds))

    def _record(self, entry: logger.Entry) -> dict[str, Any]:
        record = {
            **self._common,
            "source": entry.source,
            "log": entry.line.decode("utf-8", "replace"),
        }
        if entry.partial:
            record["partial_message"] = "true"
        return record

    def _await(self, chunk: str) -> None:
        answer = b""
        while True:
            answer += self._target.receive()
            try:
                found = msgspec.msgpack.decode(answer)
            except msgspec.DecodeError:
                if len(answer) > 4096:
                    raise OSError("the log target's acknowledgement is unreadable") from None
                continue
            if not isinstance(found, dict) or found.get("ack") != chunk:
                raise OSError("the log target acknowledged something else")
            return

    def close(self) -> None:
        """See ``Logger.close``."""
        self._target.close()
