"""The files that a container's monitor writes, and their rotation.

The monitor writes ``container.log``, the *live* segment. The engine gives that a second name,
``container.log.N``, and, to rotate, tells the monitor to reopen: it renames a new file over the
first name, so no byte falls between, and there is a live segment at any moment. The monitor does
the same by itself each time it has written as much as it was started with as a guard; what it has
written stays by its second name then too. N counts up, so a segment's number never changes.

How far a forwarder has come is kept in ``log.position``: (segment, offset) and the logger's state.
It says which number the live segment has when there are no others.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import time
from collections.abc import Callable
from typing import NamedTuple

import msgspec
from isal import igzip

_PATIENT, _LOOK = 2.0, 0.005  # seconds, for a monitor to reopen and between two looks
_ROTATED = re.compile(r"container\.log\.(\d{1,9})(\.gz)?")


class Segment(NamedTuple):
    """A file of the spool. ``size`` is in bytes on disk; ``linked`` is one that is live and has the
    name of its number too."""

    number: int
    path: str
    size: int
    live: bool
    compressed: bool
    linked: bool = False


class Position(msgspec.Struct, kw_only=True):
    """Where the next entry is, and the state that the logger has given."""

    segment: int = 1
    offset: int = 0
    state: str = ""


class Spool:
    """The spool in ``directory``."""

    def __init__(self, directory: str) -> None:
        self.directory = directory
        self.live_path = os.path.join(directory, "container.log")
        self._position_path = os.path.join(directory, "log.position")

    def segments(self) -> list[Segment]:
        """The oldest first, the live one last."""
        found: dict[int, Segment] = {}
        inodes: dict[int, int] = {}
        with contextlib.suppress(FileNotFoundError):
            for entry in os.scandir(self.directory):
                match = _ROTATED.fullmatch(entry.name)
                if match is None:
                    continue
                number, compressed = int(match[1]), bool(match[2])
                if compressed and number in found:
                    continue  # the original is there still: an unfinished compression
                with contextlib.suppress(FileNotFoundError):
                    size = entry.stat().st_size
                    found[number] = Segment(number, entry.path, size, False, compressed)
                    inodes[number] = entry.inode()
        segments = [found[number] for number in sorted(found)]
        with contextlib.suppress(FileNotFoundError):
            status = os.stat(self.live_path)
            number = segments[-1].number + 1 if segments else self.position().segment
            linked = inodes.get(number - 1) == status.st_ino
            if linked:
                segments.pop()
                number -= 1
            live = Segment(number, self.live_path, status.st_size, True, False, linked)
            segments.append(live)
        return segments

    def position(self) -> Position:
        """How far the forwarder has come; the very beginning when nothing is known."""
        try:
            with open(self._position_path, "rb") as file:
                return msgspec.json.decode(file.read(), type=Position)
        except (FileNotFoundError, msgspec.DecodeError):
            return Position()

    def save(self, position: Position) -> None:
        """Keep ``position``."""
        fresh = self._position_path + ".new"
        with open(fresh, "wb") as file:
            file.write(msgspec.json.encode(position))
        os.rename(fresh, self._position_path)

    def link(self) -> None:
        """Give the live segment the name of its number too, which it keeps when it ends."""
        segments = self.segments()
        if segments and segments[-1].live and not segments[-1].linked:
            with contextlib.suppress(FileNotFoundError, FileExistsError):
                os.link(self.live_path, f"{self.live_path}.{segments[-1].number}")

    def rotate(self) -> None:
        """End the live segment, whose monitor is gone."""
        self.link()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.live_path)

    def renew(self, reopen: Callable[[], None]) -> bool:
        """Tell the monitor to ``reopen``; tells whether it has begun a new segment. Blocks.

        Only then is the one before complete.
        """
        self.link()
        before = self._inode()
        reopen()
        deadline = time.monotonic() + _PATIENT
        while (inode := self._inode()) == before or not inode:
            if time.monotonic() > deadline:
                return False
            time.sleep(_LOOK)
        self.link()
        return True

    def _inode(self) -> int:
        """The live segment's; 0 when there is none."""
        try:
            return os.stat(self.live_path).st_ino
        except FileNotFoundError:
            return 0

    def complete(self, number: int) -> bool:
        """Whether nothing will be added to the segment ``number``."""
        segments = self.segments()
        return any(segment.number > number for segment in segments)

    def compress(self, segment: Segment) -> None:
        """Put a rotated segment into a gzip file; cut short, it has not happened."""
        target = segment.path + ".gz"
        fresh = os.path.join(self.directory, "compressing.tmp")
        with open(segment.path, "rb") as source, igzip.open(fresh, "wb", compresslevel=1) as out:
            shutil.copyfileobj(source, out, 1 << 20)
        os.rename(fresh, target)
        os.unlink(segment.path)

    def clear(self) -> None:
        """Remove all segments and start over."""
        for segment in self.segments():
            self.remove(segment)

    def remove(self, segment: Segment) -> None:
        """Remove a segment, which may be gone."""
        with contextlib.suppress(FileNotFoundError):
            os.unlink(segment.path)
        if segment.linked:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(f"{self.live_path}.{segment.number}")

    def drop_before(self, number: int) -> None:
        """Remove the rotated segments below ``number``."""
        for segment in self.segments():
            if segment.number < number and not segment.live:
                self.remove(segment)


class Limits(NamedTuple):
    """``size`` is of one segment, in bytes (0 for no limit); ``files`` counts the live one too."""

    size: int
    files: int
    compress: bool

    @property
    def total(self) -> int:
        """All segments together, in bytes; 0 for no limit."""
        return self.size * self.files

    @property
    def rotated(self) -> int:
        """The rotated segments together, in bytes."""
        return self.size * (self.files - 1)


_SLACK = 1.25  # a segment is a little longer than its limit when it is noticed
_PATIENCE = 4  # times the limits is what entries that are not forwarded may take


def prune(spool: Spool, limits: Limits, needed_from: int | None = None) -> int:
    """Remove the oldest segments beyond ``limits``; returns how many bytes of those were needed.

    ``needed_from`` is the segment that a forwarder is at: those from there on stay until they are
    together four times what the limits allow. A burst between two looks may have made a segment
    longer than all that is kept: of that its end is kept.
    """
    if not limits.size:
        return 0
    lost = kept = count = 0
    for segment in reversed([one for one in spool.segments() if not one.live]):
        count += 1
        kept += segment.size
        if needed_from is not None and segment.number >= needed_from:
            if kept <= _PATIENCE * limits.total:
                continue
            lost += segment.size
            if lost == segment.size:  # the newest of those that go
                state = spool.position().state
                spool.save(Position(segment=segment.number + 1, state=state))
        elif count < limits.files:
            if kept <= limits.rotated * _SLACK:
                continue
            if count == 1 and not segment.compressed:
                kept = cut(segment, limits.rotated)
                continue
        spool.remove(segment)
    return lost


def cut(segment: Segment, size: int) -> int:
    """Keep the last ``size`` bytes of a segment, from the beginning of a line on."""
    fresh = segment.path + ".tmp"
    with open(segment.path, "rb") as source, open(fresh, "wb") as target:
        source.seek(max(0, segment.size - size))
        source.readline()
        shutil.copyfileobj(source, target, 1 << 20)
        kept = target.tell()
    os.rename(fresh, segment.path)
    return kept
