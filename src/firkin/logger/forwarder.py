"""Bringing the entries of one container's spool to its driver's logger.

A pass reads a piece of the spool from where the last one ended, hands its entries to the logger and
puts down how far that was. A pass that fails is tried again after a pause that doubles up to half
a minute; the spool keeps the entries meanwhile. With ``mode=non-blocking`` no more than
``max-buffer-size`` bytes of them are kept: beyond that the oldest are given up. Failures, losses
and recoveries are reported once each.

Passes run in a thread of the forwarder's own, and nothing else touches the position.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from typing import TypeVar

from firkin import errdefs
from firkin.linux import worker
from firkin.logger import logger, options, spool
from firkin.wire import logline

log = logging.getLogger(__name__)

_PIECE = 1 << 19
_LONGEST_LINE = 16384
_GATHER = 0.05  # seconds: what comes within goes in one pass
_IDLE = 5.0  # seconds between looks when nothing tells of a change
_FIRST_PAUSE, _LONGEST_PAUSE = 0.25, 30.0
_BUFFER = 1 << 20

Report = Callable[[str, dict[str, str]], None]
T = TypeVar("T")


class Forwarder:
    """The forwarder of one container. ``report(what, details)`` is called from the event loop."""

    def __init__(
        self,
        store: spool.Spool,
        driver: logger.Driver,
        info: logger.Info,
        limits: spool.Limits,
        report: Report,
        *,
        keeps: bool,
    ) -> None:
        """``keeps``: segments stay after they were forwarded, as far as ``limits`` allow."""
        self._store = store
        self._driver = driver
        self._info = info
        self._limits = limits
        self._report = report
        self._keeps = keeps
        self._worker = worker.Worker(f"log {info.id[:12]}")
        self._logger: logger.Logger | None = None
        self._position = store.position()
        self._wake = asyncio.Event()
        self._settling: list[asyncio.Future[None]] = []
        self._ending = False
        self._hurry = asyncio.Event()
        self._failing = False
        self._over = False
        self._buffer = 0
        if info.options.get("mode") == "non-blocking":
            self._buffer = options.size(info.options, "max-buffer-size", _BUFFER)

    async def open(self) -> None:
        """Open the logger now, to see whether it can be. Raises ``Unavailable``."""
        try:
            await self._worker.run(self._opened)
        except Exception as error:  # the driver may be another package's
            self._worker.submit(self._closed)
            self._worker.close()
            raise errdefs.Unavailable(
                f"failed to initialize logging driver: {self._driver.name}: {error}"
            ) from error

    def wake(self) -> None:
        """There may be something new."""
        self._wake.set()

    def end(self) -> None:
        """The container has ended: :meth:`run` returns when all is forwarded."""
        self._ending = True
        self._hurry.set()
        self._wake.set()

    @property
    def failing(self) -> bool:
        """Whether the last attempt to deliver has failed."""
        return self._failing

    async def idle(self) -> None:
        """Wait until the thread does nothing any more, after :meth:`run` was cancelled."""
        await self._worker.ended()

    async def look(self, at: Callable[[spool.Position], T]) -> T | None:
        """``at(position)`` between two passes: what is before the position, and only that, is
        delivered. ``None`` when the forwarder has come to its end."""
        return None if self._over else await self._worker.run(at, self._position)

    async def settle(self, seconds: float) -> bool:
        """Wait until all that is in the spool now is forwarded; tells whether it is."""
        if self._over:
            return True
        future: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._settling.append(future)
        self._wake.set()
        try:
            await asyncio.wait_for(future, seconds)
        except TimeoutError:
            return False
        return True

    async def run(self) -> None:
        """Forward until the end; see :meth:`end`."""
        pause = _FIRST_PAUSE
        try:
            while True:
                self._wake.clear()
                ending, settling = self._ending, self._settling[:]
                try:
                    more = await self._worker.run(self._pass)
                except Exception as error:  # the driver may be another package's
                    await self._failed(error, pause)
                    pause = min(pause * 2, _LONGEST_PAUSE)
                    continue
                pause = _FIRST_PAUSE
                if self._failing:
                    self._failing = False
                    self._report("log_resume", {"driver": self._driver.name})
                if more:
                    continue
                for future in settling:
                    self._settling.remove(future)
                    if not future.done():
                        future.set_result(None)
                if ending:
                    if not self._keeps:
                        await self._worker.run(self._discard)
                    break
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), _IDLE)
                if not self._ending and not self._settling:
                    await asyncio.sleep(_GATHER)
        finally:
            self._over = True
            for future in self._settling:
                if not future.done():
                    future.set_result(None)
            self._worker.submit(self._closed)
            self._worker.close()

    async def _failed(self, error: Exception, pause: float) -> None:
        await self._worker.run(self._closed)
        if not self._failing:
            self._failing = True
            log.warning("log of %s: %s: %s", self._info.id[:12], self._driver.name, error)
            self._report("log_fail", {"driver": self._driver.name, "error": str(error)[:200]})
        if self._buffer:
            lost = await self._worker.run(self._give_up)
            if lost:
                self._report("log_drop", {"driver": self._driver.name, "bytes": str(lost)})
        with contextlib.suppress(TimeoutError):  # when the container ends it is tried at once
            await asyncio.wait_for(self._hurry.wait(), pause)
            self._hurry.clear()

    async def tend(self, reopen: Callable[[], None], hold: Callable[[], None]) -> None:
        """Rotate the spool when it is time, and remove what is not needed any more.

        ``reopen`` tells the monitor to do so; ``hold`` is called, in a thread, before anything is
        removed.
        """
        if self._over:
            return
        lost = await self._worker.run(self._tend, reopen, hold)
        if lost:
            self._report("log_drop", {"driver": self._driver.name, "bytes": str(lost)})

    # What follows runs in the worker's thread.

    def _opened(self) -> logger.Logger:
        if self._logger is None:
            self._logger = self._driver.open(self._info, self._position.state)
        return self._logger

    def _closed(self) -> None:
        if self._logger is not None:
            self._logger.close()
            self._logger = None

    def _current(self) -> spool.Segment | None:
        for segment in self._store.segments():
            if segment.number >= self._position.segment:
                if segment.number > self._position.segment:  # the one before is gone
                    self._position.segment, self._position.offset = segment.number, 0
                return segment
        return None

    def _pass(self) -> bool:
        """Forward a piece; tells whether there may be more."""
        segment = self._current()
        if segment is None:
            return False
        complete = self._store.complete(segment.number)
        try:
            data = _read(segment.path, self._position.offset)
        except FileNotFoundError:
            return True  # it was rotated between two looks
        lines, rest = logline.split(data)
        full = len(data) >= _PIECE
        if full and not lines:
            lines = [rest]  # no monitor writes such a line: the file is damaged
        last = not full and (complete or self._ending)
        entries, used = collect(lines, flush=last)
        if full and not used:
            entries, used = collect(lines, flush=True)
        if used:
            if entries:
                self._position.state = self._opened().write(entries)
            self._position.offset += used
            self._store.save(self._position)
            return True
        if complete and not full:
            self._advance(segment)
            return True
        return False

    def _advance(self, segment: spool.Segment) -> None:
        self._position.segment, self._position.offset = segment.number + 1, 0
        self._store.save(self._position)
        if not self._keeps:
            self._store.drop_before(self._position.segment)

    def _discard(self) -> None:
        """All is forwarded and the monitor is gone: the spool starts over."""
        segments = self._store.segments()
        for segment in segments:
            self._store.remove(segment)
        self._position.segment += bool(segments)
        self._position.offset = 0
        self._store.save(self._position)

    def _give_up(self) -> int:
        """Pass over the oldest entries beyond the buffer; returns how many bytes."""
        segments = [s for s in self._store.segments() if s.number >= self._position.segment]
        waiting = sum(segment.size for segment in segments)
        if segments and segments[0].number == self._position.segment:
            waiting -= self._position.offset
        excess = lost = waiting - self._buffer
        if excess <= 0:
            return 0
        for segment in segments:
            offset = self._position.offset if segment.number == self._position.segment else 0
            if segment.size - offset <= excess:
                excess -= segment.size - offset
                self._position.segment, self._position.offset = segment.number, segment.size
                continue
            self._position.segment = segment.number
            self._position.offset = _line_after(segment.path, offset + excess)
            break
        self._store.save(self._position)
        return lost

    def _tend(self, reopen: Callable[[], None], hold: Callable[[], None]) -> int:
        segments = self._store.segments()
        if not segments:
            return 0
        live = segments[-1]
        due = not live.live or bool(self._limits.size and live.size > self._limits.size)
        if not due:
            self._store.link()
        elif not self._store.renew(reopen):
            return 0
        hold()
        lost = spool.prune(self._store, self._limits, self._position.segment)
        if lost:
            self._position = self._store.position()
        if self._limits.compress and self._keeps:
            for segment in self._store.segments():
                if segment.number < self._position.segment and not segment.compressed:
                    self._store.compress(segment)
        return lost


def collect(lines: list[bytes], *, flush: bool) -> tuple[list[logger.Entry], int]:
    """The entries of records, and how many bytes of records they are made of.

    The monitor cuts long lines; their parts are joined, up to 16 KiB. Parts without their end are
    left for later, with all that comes after them, unless ``flush``.
    """
    pending: dict[int, list[bytes]] = {1: [], 2: []}
    times: dict[int, bytes] = {}
    entries: list[logger.Entry] = []
    used = kept = size = 0
    for raw in lines:
        size += len(raw)
        line = logline.parse(raw)
        if line is not None:
            data, parts = line.data, pending[line.stream]
            whole = data.endswith(b"\n")
            if whole and not parts:
                entries.append(logger.Entry(line.time, line.stream, data[:-1]))
            else:
                times[line.stream] = line.time
                parts.append(data[:-1] if whole else data)
                if whole or sum(map(len, parts)) >= _LONGEST_LINE:
                    text = b"".join(parts)
                    entries.append(logger.Entry(line.time, line.stream, text, not whole))
                    parts.clear()
        if not pending[1] and not pending[2]:
            used, kept = size, len(entries)
    if flush:
        for stream, parts in pending.items():
            if parts:
                entries.append(logger.Entry(times[stream], stream, b"".join(parts), True))
        return entries, size
    return entries[:kept], used


def _read(path: str, offset: int) -> bytes:
    fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        return os.pread(fd, _PIECE, offset)
    finally:
        os.close(fd)


def _line_after(path: str, offset: int) -> int:
    """Where the first line begins at or after ``offset``."""
    position = offset
    while data := _read(path, position):
        found = data.find(b"\n")
        if found >= 0:
            return position + found + 1
        position += len(data)
    return position
