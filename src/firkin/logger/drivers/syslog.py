"""``syslog``: to a syslog server by UDP, TCP, TLS or a local socket.

Formats: the traditional one, ``rfc3164`` (with the host's name), ``rfc5424`` and ``rfc5424micro``
(whose time has microseconds). Over TLS, RFC 5424 messages are preceded by their length (RFC 5425),
everywhere else each ends with a newline.
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Mapping, Sequence

from firkin import errdefs
from firkin.logger import logger, options, target

_KINDS = {"udp": "udp", "tcp": "tcp", "tcp+tls": "tls", "unix": "unix", "unixgram": "unixgram"}
_FACILITIES = (
    "kern", "user", "mail", "daemon", "auth", "syslog", "lpr", "news", "uucp", "cron", "authpriv",
    "ftp", "", "", "", "", "local0", "local1", "local2", "local3", "local4", "local5", "local6",
    "local7",
)  # fmt: skip
_FORMATS = ("", "rfc3164", "rfc5424", "rfc5424micro")
_LOCAL = ("/dev/log", "/var/run/syslog", "/var/run/log")
_PORT, _TLS_PORT = 514, 6514
_MONTHS = "JanFebMarAprMayJunJulAugSepOctNovDec"
_ERROR, _INFO = 3, 6


class Syslog:
    """The driver."""

    name = "syslog"
    options = (
        frozenset(
            {
                "syslog-address", "syslog-facility", "syslog-format", "syslog-tls-ca-cert",
                "syslog-tls-cert", "syslog-tls-key", "syslog-tls-skip-verify",
            }
        )
        | logger.ATTRIBUTE_OPTIONS
    )  # fmt: skip

    def validate(self, given: Mapping[str, str]) -> None:
        """See ``Driver.validate``."""
        address = _address(given)
        _facility(given)
        if given.get("syslog-format", "") not in _FORMATS:
            raise errdefs.InvalidParameter(
                f"log option syslog-format={given['syslog-format'][:40]}: use rfc3164, rfc5424 or "
                "rfc5424micro"
            )
        options.truth(given, "syslog-tls-skip-verify", False)
        if address is not None and address.kind == "tls":
            _tls(given)

    def open(self, info: logger.Info, state: str = "") -> Sender:
        """See ``Driver.open``."""
        return Sender(info)


def _address(given: Mapping[str, str]) -> target.Address | None:
    text = given.get("syslog-address", "")
    port = _TLS_PORT if text.startswith("tcp+tls://") else _PORT
    return target.parse(text, _KINDS, port, "syslog-address") if text else None


def _facility(given: Mapping[str, str]) -> int:
    text = given.get("syslog-facility", "") or "daemon"
    if text in _FACILITIES:
        return _FACILITIES.index(text)
    if text.isascii() and text.isdigit() and int(text) < len(_FACILITIES):
        return int(text)
    raise errdefs.InvalidParameter(
        f"log option syslog-facility={text[:40]}: use a name such as daemon or local0, or 0 to 23"
    )


def _tls(given: Mapping[str, str]) -> ssl.SSLContext:
    return target.tls_context(
        ca=given.get("syslog-tls-ca-cert", ""),
        cert=given.get("syslog-tls-cert", ""),
        key=given.get("syslog-tls-key", ""),
        verify=not options.truth(given, "syslog-tls-skip-verify", False),
    )


class Sender:
    """The logger."""

    def __init__(self, info: logger.Info) -> None:
        given = info.options
        address = _address(given)
        if address is None:
            path = next((path for path in _LOCAL if os.path.exists(path)), _LOCAL[0])
            address = target.Address("unixgram", path)
        tls = address.kind == "tls"
        self._target = target.Target(address, _tls(given) if tls else None)
        self._format = given.get("syslog-format", "")
        self._counted = tls and self._format.startswith("rfc5424")
        self._facility = _facility(given) << 3
        self._host = info.hostname
        self._tag = options.tag(info)
        self._pid = os.getpid()

    def write(self, entries: Sequence[logger.Entry]) -> str:
        """See ``Logger.write``."""
        for entry in entries:
            data = self._head(entry).encode() + entry.line
            self._target.send(b"%d %b" % (len(data), data) if self._counted else data + b"\n")
        return ""

    def _head(self, entry: logger.Entry) -> str:
        priority = self._facility | (_ERROR if entry.stream == 2 else _INFO)
        stamp = entry.time.decode()
        if self._format.startswith("rfc5424"):
            when = stamp[:26] + "Z" if self._format == "rfc5424micro" else stamp[:19] + "Z"
            return f"<{priority}>1 {when} {self._host} {self._tag} {self._pid} {self._tag} - "
        first = int(stamp[5:7]) * 3
        month = _MONTHS[first - 3 : first]
        when = f"{month} {int(stamp[8:10]):2d} {stamp[11:19]}"
        host = f"{self._host} " if self._format == "rfc3164" else ""
        return f"<{priority}>{when} {host}{self._tag}[{self._pid}]: "

    def close(self) -> None:
        """See ``Logger.close``."""
        self._target.close()
