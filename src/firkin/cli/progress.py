"""Progress messages of long operations (load, import, pull, push) as they come from the engine.

Each message is a JSON object. One with a ``stream`` is text to copy; one with an ``id`` is about
one layer and, on a terminal, is drawn over that layer's line; an ``errorDetail`` ends the
operation. Where output is no terminal, bars are left out and the rest is a plain log.

The lines of layers stay in place as long as only they are written: any other message freezes
what is above it. Control characters in statuses and IDs are dropped, they could move the cursor.
"""

from __future__ import annotations

import sys

from firkin.cli import errors, units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from typing import Any, TextIO

_BAR = 50
_WIDE = 110
_NARROW = 50
_REDRAWN = 0.1
"""Seconds between two drawings of one line."""


def show(
    messages: Iterable[Mapping[str, Any]],
    out: TextIO,
    *,
    on_aux: Callable[[Any], None] | None = None,
) -> None:
    """Write ``messages`` to ``out`` as they come; CliError for one that reports a failure."""
    board = Board(out, out.isatty())
    for message in messages:
        if not isinstance(message, dict):
            raise errors.CliError(f"the engine's progress message is no object: {message!r}")
        if message.get("aux") is not None:
            if on_aux:
                on_aux(message["aux"])
            continue
        board.add(message)


def sending(chunks: Iterable[bytes], total: int, out: TextIO) -> Iterator[bytes]:
    """``chunks`` as they are sent, with a line about them while that lasts, on a terminal only.

    ``total`` is how many bytes they are, 0 if that is not known.
    """
    if not out.isatty():
        yield from chunks
        return
    import time

    board = Board(out, True)
    current, drawn = 0, 0.0
    try:
        for chunk in chunks:
            yield chunk
            current += len(chunk)
            if (now := time.monotonic()) - drawn >= _REDRAWN:
                drawn = now
                shown = bar({"current": current, "total": total}, board.width())
                out.write(f"\x1b[2K\rSending {shown}\r")
                out.flush()
    finally:
        if drawn:
            out.write("\x1b[2K\r")
            out.flush()


class Board:
    """The lines on the screen and which layer each belongs to."""

    def __init__(self, out: TextIO, live: bool) -> None:
        self.out = out
        self.live = live
        self.lines: dict[str, int] = {}

    def add(self, message: Mapping[str, Any]) -> None:
        """Show one message."""
        detail = message.get("errorDetail")
        failure = message.get("error")
        if isinstance(detail, dict):
            failure = detail.get("message") or failure
        if failure:
            raise errors.CliError(_clean(failure))
        identity = _clean(message.get("id"))
        progress = message.get("progressDetail")
        legacy = _clean(message.get("progress"))
        in_place = bool(identity) and (isinstance(progress, dict) or bool(legacy))
        if not in_place:
            self.lines.clear()
            self.line(message, identity, progress)
            return
        if identity not in self.lines:
            self.lines[identity] = len(self.lines)
            if self.live:
                self.out.write("\n")
        above = len(self.lines) - self.lines[identity]
        if self.live and above:
            self.out.write(f"\x1b[{above}A")
        self.line(message, identity, progress)
        if self.live and above:
            self.out.write(f"\x1b[{above}B")
            self.out.flush()

    def line(self, message: Mapping[str, Any], identity: str, progress: object) -> None:
        """The message itself, where the cursor is."""
        stream = message.get("stream")
        drawn = bar(progress, self.width()) if isinstance(progress, dict) else ""
        overwrite = self.live and not stream and isinstance(progress, dict)
        if overwrite:
            self.out.write("\x1b[2K\r")
        elif drawn or (isinstance(progress, dict) and _known(progress)):
            return
        if identity:
            self.out.write(f"{identity}: ")
        if message.get("from"):
            self.out.write(f"(from {_clean(message['from'])}) ")
        status = _clean(message.get("status"))
        if overwrite:
            self.out.write(f"{status} {drawn}\r")
        elif isinstance(stream, str) and stream:
            self.out.write(stream)
        elif message.get("progress") and not isinstance(progress, dict):
            self.out.write(f"{status} {_clean(message['progress'])}")
        else:
            self.out.write(f"{status}\n")

    def width(self) -> int:
        """The terminal's columns."""
        if not self.live:
            return 0
        import os

        try:
            return os.get_terminal_size(self.out.fileno()).columns
        except (OSError, ValueError):
            return 200


def bar(progress: Mapping[str, Any], width: int) -> str:
    """``[====>   ]  1MB/4MB``: without the bar on a narrow terminal, "" if nothing is known."""
    current, total = _count(progress.get("current")), _count(progress.get("total"))
    unit = _clean(progress.get("units"))
    if current <= 0 and total <= 0:
        return ""
    shown = f"{current} {unit}" if unit else f"{units.human_size(current):>8}"
    if total <= 0:
        return shown
    done = min(current * 100 // total // 2, _BAR)
    box = f"[{'=' * done}>{' ' * (_BAR - done)}] " if width > _WIDE else ""
    if progress.get("hidecounts"):
        return box
    if unit:
        return f"{box}{current}/{total} {unit}"
    numbers = shown if current > total else f"{shown}/{units.human_size(total)}"
    return f"{box}{numbers}{_left(progress, current, total, done, width)}"


def _known(progress: Mapping[str, Any]) -> bool:
    """Whether a bar could say something."""
    return _count(progress.get("current")) > 0 or _count(progress.get("total")) > 0


def _left(progress: Mapping[str, Any], current: int, total: int, done: int, width: int) -> str:
    """The time that is left, when the engine said when it began."""
    start = _count(progress.get("start"))
    if current <= 0 or start <= 0 or done >= _BAR or width <= _NARROW:
        return ""
    import time

    seconds = int((time.time() - start) / current * (total - current))
    minutes, seconds = divmod(max(seconds, 0), 60)
    hours, minutes = divmod(minutes, 60)
    if hours:
        return f" {hours}h{minutes}m{seconds}s"
    return f" {minutes}m{seconds}s" if minutes else f" {seconds}s"


def _count(value: object) -> int:
    return int(value) if isinstance(value, int | float) else 0


def _clean(value: object) -> str:
    if not value:
        return ""
    return "".join(c for c in str(value) if c.isprintable() or c in "\n\t")


def stdout(messages: Iterable[Mapping[str, Any]]) -> None:
    """``show`` on standard output."""
    show(messages, sys.stdout)
