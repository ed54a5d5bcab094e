"""Reading the outer tar of an image archive as it streams by, member after member.

The archive's own members are few and plain (JSON documents, layer tars, links), so a small reader
is enough: ustar, with GNU long names and pax ``path``, ``linkpath`` and ``size``. It holds one
header in memory and believes no number in it beyond the limits below. The layers inside are not
looked into here; that is the confined worker's part.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator
from typing import NamedTuple

from firkin import errdefs

Buffer = bytes | bytearray | memoryview

BLOCK = 512
_MAX_HEADER = 1 << 20
_MAX_SIZE = 1 << 50


class Member(NamedTuple):
    """``kind``: "file", "link" (symbolic), "hardlink", "directory" or "other"."""

    name: str
    kind: str
    size: int
    target: str


_KINDS = {b"0": "file", b"\0": "file", b"7": "file", b"1": "hardlink", b"2": "link",
          b"5": "directory", b"S": "sparse"}  # fmt: skip


def _bad(why: str) -> errdefs.InvalidParameter:
    return errdefs.InvalidParameter(f"the image archive is not a usable tar: {why}")


def _text(field: bytes) -> str:
    return field.split(b"\0", 1)[0].decode("utf-8", "surrogateescape")


def _number(field: bytes, what: str) -> int:
    if field[:1] in (b"\x80", b"\xff"):
        value = int.from_bytes(bytes((field[0] & 0x7F,)) + field[1:], "big")
        if field[0] == 0xFF:
            value = -1
    else:
        try:
            value = int(field.strip(b" \0") or b"0", 8)
        except ValueError:
            raise _bad(f"the {what} field of a header is not a number") from None
    if not 0 <= value <= _MAX_SIZE:
        raise _bad(f"a header has an impossible {what}")
    return value


def is_header(block: bytes) -> bool:
    """Whether ``block`` is a tar header by its checksum, or an empty archive's end mark."""
    if len(block) < BLOCK:
        return False
    if not block[:BLOCK].strip(b"\0"):
        return True
    try:
        said = int(block[148:156].strip(b" \0") or b"0", 8)
    except ValueError:
        return False
    return said == sum(block[:148]) + sum(block[156:BLOCK]) + 8 * 32


class Reader:
    """Members of a tar whose chunks come from ``take()`` (an empty list at the end)."""

    def __init__(self, take: Callable[[], list[bytes]]) -> None:
        self._take = take
        self._views: deque[memoryview] = deque()
        self._left = 0
        self._padding = 0

    def _parts(self, size: int) -> list[memoryview]:
        """Up to ``size`` bytes, as many as are there; empty only at the end of the stream."""
        if not self._views:
            self._views.extend(memoryview(chunk) for chunk in self._take() if chunk)
        parts: list[memoryview] = []
        while size and self._views:
            view = self._views.popleft()
            if len(view) > size:
                self._views.appendleft(view[size:])
                view = view[:size]
            parts.append(view)
            size -= len(view)
        return parts

    def _exactly(self, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            parts = self._parts(size - len(data))
            if not parts:
                break
            data += b"".join(parts)
        return bytes(data)

    def peek(self, size: int) -> bytes:
        """The next bytes of the stream, without consuming them."""
        data = self._exactly(size)
        if data:
            self._views.appendleft(memoryview(data))
        return data

    def head(self) -> bytes:
        """The first block of the member at hand, without consuming it."""
        return self.peek(min(BLOCK, self._left))

    def data(self) -> Iterator[list[memoryview]]:
        """What is left of the member at hand, in lists of chunks."""
        while self._left:
            parts = self._parts(self._left)
            if not parts:
                raise _bad("it ends in the middle of a member: the archive is truncated")
            self._left -= sum(len(part) for part in parts)
            yield parts

    def content(self) -> bytes:
        """The member at hand, whole; its size is for the caller to check."""
        return b"".join(part for parts in self.data() for part in parts)

    def skip(self) -> None:
        """Read past the member at hand."""
        for _ in self.data():
            pass

    def rest(self) -> Iterator[list[memoryview]]:
        """All that the stream still has, for readers that are no tar reader."""
        while parts := self._parts(1 << 30):
            yield parts

    def drain(self) -> None:
        """Read to the end of the stream."""
        self._left = 0
        while self._parts(1 << 30):
            pass

    def members(self) -> Iterator[Member]:
        """All members; what the caller leaves of one is skipped."""
        longname = longlink = ""
        extended: dict[str, str] = {}
        while True:
            self.skip()
            if len(self._exactly(self._padding)) < self._padding:
                raise _bad("it ends in the middle of a member: the archive is truncated")
            self._padding = 0
            block = self._exactly(BLOCK)
            if not block.strip(b"\0"):
                self.drain()
                return
            if len(block) < BLOCK:
                raise _bad("it ends in the middle of a header: the archive is truncated")
            if not is_header(block):
                raise _bad("a header has a wrong checksum")
            size = _number(block[124:136], "size")
            flag = block[156:157]
            if flag in b"LKxg" and flag:
                if size > _MAX_HEADER:
                    raise _bad(f"an extended header has {size} bytes, the limit is {_MAX_HEADER}")
                data = self._exactly(size)
                self._exactly(-size % BLOCK)
                if len(data) < size:
                    raise _bad("it ends in the middle of a header: the archive is truncated")
                if flag == b"L":
                    longname = _text(data)
                elif flag == b"K":
                    longlink = _text(data)
                elif flag == b"x":
                    extended = _pax(data)
                continue
            name = _text(block[:100])
            if block[257:263] == b"ustar\0" and block[345:346] != b"\0":
                name = f"{_text(block[345:500])}/{name}"
            name = extended.get("path") or longname or name
            target = extended.get("linkpath") or longlink or _text(block[157:257])
            if "size" in extended:
                if not extended["size"].isascii() or not extended["size"].isdigit():
                    raise _bad(f"{name[:200]!r} has an impossible size")
                size = int(extended["size"][:20])
            kind = _KINDS.get(flag, "other")
            if kind not in ("file", "other", "sparse"):
                size = 0
            if kind == "sparse" or "GNU.sparse.major" in extended:
                raise _bad(f"{name[:200]!r} is stored as a sparse file")
            if size > _MAX_SIZE:
                raise _bad(f"{name[:200]!r} has an impossible size")
            longname, longlink, extended = "", "", {}
            self._left, self._padding = size, -size % BLOCK
            yield Member(name, kind, size, target)


class Ending:
    """Follows a tar as it passes by, to tell what is missing at its end.

    Some writers leave out the last member's padding and the end mark. A reader that insists on both
    can be given the padding, but only when all of the member itself was there.
    """

    def __init__(self) -> None:
        self._skip = 0
        self._padding = 0
        self._wanted = BLOCK
        self._held = bytearray()
        self._extended = False
        self._size = -1
        self._lost = False

    @property
    def padding(self) -> int:
        """Bytes of padding that the last member lacks; 0 when it is whole, or cut short itself."""
        return self._skip if not self._lost and 0 < self._skip <= self._padding else 0

    def feed(self, data: Buffer) -> None:
        """The next bytes. From anything that is no tar on, nothing is told."""
        view = memoryview(data)
        while view and not self._lost:
            if self._skip:
                passed = min(self._skip, len(view))
                self._skip -= passed
                view = view[passed:]
                continue
            part = view[: self._wanted - len(self._held)]
            self._held += part
            view = view[len(part) :]
            if len(self._held) == self._wanted:
                self._take(bytes(self._held))
                self._held.clear()

    def _take(self, held: bytes) -> None:
        try:
            if self._extended:
                said = _pax(held).get("size", "")
                self._size = int(said[:20]) if said.isascii() and said.isdigit() else -1
                self._extended, self._wanted = False, BLOCK
                return
            if not held.strip(b"\0") or not is_header(held):
                self._lost = True
                return
            size = _number(held[124:136], "size")
            if held[156:157] == b"x" and 0 < size <= _MAX_HEADER:
                self._extended, self._wanted = True, size + -size % BLOCK
                return
            if held[156:157] in (b"1", b"2", b"3", b"4", b"5", b"6"):
                size = 0
            size, self._size = (self._size if self._size >= 0 else size), -1
            self._padding = -size % BLOCK
            self._skip = size + self._padding
        except errdefs.InvalidParameter:
            self._lost = True


def _pax(data: bytes) -> dict[str, str]:
    records: dict[str, str] = {}
    while data.strip(b"\0"):
        length, space, _ = data.partition(b" ")
        if not space or not length.isdigit() or len(length) > 8:
            raise _bad("an extended header is malformed")
        end = int(length)
        record = data[len(length) + 1 : end]
        key, equals, value = record.partition(b"=")
        if end <= len(length) + 1 or end > len(data) or not equals or record[-1:] != b"\n":
            raise _bad("an extended header is malformed")
        records[key.decode("utf-8", "replace")] = value[:-1].decode("utf-8", "surrogateescape")
        data = data[end:]
    return records
