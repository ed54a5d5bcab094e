"""What a log driver is.

The life of a logger::

    driver.validate(options)              when a container is created
    driver.open(info, state) ──▶ logger   when it starts, and when the engine finds it running
        logger.write(entries) ...         as the container writes; again after a failure
        logger.close()                    when it has ended and all is written

All of these may block: each logger has a thread of its own, and its methods are never called at the
same time. ``write`` takes all the entries or raises (``OSError`` or a ``FirkinError``); it is then
called with the same entries again, after a pause, on a logger that was opened anew. Entries may so
come twice, unless the driver makes use of *state*: what ``write`` returns is kept on disk together
with the position in the spool, and handed to the next ``open``.

Another package becomes a driver by the entry point group ``firkin.log_drivers`` (see
``firkin.extensions``); the suite in ``firkin.conformance.logs`` tells whether it does as it should.
"""

from __future__ import annotations

import calendar
import functools
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol

import msgspec

COMMON_OPTIONS = frozenset({"mode", "max-buffer-size"})
"""Options of every driver, which the engine itself acts on."""
CACHE_OPTIONS = frozenset({"cache-disabled", "cache-max-size", "cache-max-file", "cache-compress"})
"""Options of drivers that can't be read: about the copy that ``logs`` shows."""
ATTRIBUTE_OPTIONS = frozenset({"labels", "labels-regex", "env", "env-regex", "tag"})
"""Options that choose what is told of the container: see ``firkin.logger.options``."""


@functools.lru_cache(64)
def _seconds(stamp: bytes) -> int:
    return calendar.timegm(time.strptime(stamp.decode("ascii"), "%Y-%m-%dT%H:%M:%S"))


class Entry(NamedTuple):
    """A line, or a part of one that is longer than 16 KiB.

    ``time`` is RFC 3339 in UTC with nine digits of fraction (30 bytes), ``stream`` is 1 for
    standard output and 2 for standard error, ``line`` has no newline at its end. ``partial``: the
    rest of the line follows in further entries of the stream.
    """

    time: bytes
    stream: int
    line: bytes
    partial: bool = False

    @property
    def clock(self) -> tuple[int, int]:
        """When it was written: seconds since the epoch, and nanoseconds."""
        return _seconds(self.time[:19]), int(self.time[20:29])

    @property
    def source(self) -> str:
        """``stdout`` or ``stderr``."""
        return "stderr" if self.stream == 2 else "stdout"


class Info(msgspec.Struct, frozen=True, kw_only=True):
    """The container whose log it is, and the options given for it.

    ``directory`` is the container's own, for drivers that keep files; ``created`` is in nanoseconds
    since the epoch; ``args`` is the command; ``hostname`` is the host's.
    """

    id: str
    name: str
    image_id: str
    image: str
    created: int
    args: tuple[str, ...]
    hostname: str
    directory: str
    options: Mapping[str, str]
    labels: Mapping[str, str]
    env: Sequence[str]


class Logger(Protocol):
    """Takes the log of one container."""

    def write(self, entries: Sequence[Entry]) -> str:
        """Deliver all of ``entries``; returns the state to keep ("" for none)."""
        ...

    def close(self) -> None:
        """The end. Never raises."""
        ...


class Driver(Protocol):
    """Makes loggers. ``options`` are the names of the driver's own options."""

    name: str
    options: frozenset[str]

    def validate(self, options: Mapping[str, str]) -> None:
        """Raise ``InvalidParameter`` for values that can't be. Names are checked before."""
        ...

    def open(self, info: Info, state: str = "") -> Logger:
        """Connect, or whatever it takes. Raises ``OSError`` or ``Unavailable``."""
        ...
