"""Writing the headers of a tar stream (POSIX pax format).

What fits goes into the ustar header alone; long names, large numbers, times below a second and
extended attributes go into a pax header before it. Files with holes are GNU sparse files, format
1.0, which GNU tar, bsdtar, Go and Python read.
"""

from __future__ import annotations

import os
import stat
import struct

BLOCK = 512
SPARSE_FROM = 1 << 16

FILE, HARDLINK, SYMLINK, CHARACTER, DEVICE, DIRECTORY, FIFO = (
    b"0",
    b"1",
    b"2",
    b"3",
    b"4",
    b"5",
    b"6",
)
_KINDS = {
    stat.S_IFREG: FILE,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFCHR: CHARACTER,
    stat.S_IFBLK: DEVICE,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFIFO: FIFO,
}
_USTAR = struct.Struct("100s8s8s8s12s12s8sc100s6s2s32s32s8s8s155s12x")
_BLANKS = b" " * 8

END = bytes(2 * BLOCK)


def kind(mode: int) -> bytes:
    """The type flag for a file's mode; empty for what a tar can't hold (sockets)."""
    return _KINDS.get(stat.S_IFMT(mode), b"")


def padding(size: int) -> bytes:
    """The zeros after ``size`` bytes of content."""
    return bytes(-size % BLOCK)


def _ustar(
    name: bytes, mode: int, uid: int, gid: int, size: int, mtime: int, flag: bytes, link: bytes,
    device: int,
) -> bytes:  # fmt: skip
    fields = (
        name, b"%07o" % mode, b"%07o" % uid, b"%07o" % gid, b"%011o" % size, b"%011o" % mtime,
        _BLANKS, flag, link, b"ustar\0", b"00", b"", b"", b"%07o" % os.major(device),
        b"%07o" % os.minor(device), b"",
    )  # fmt: skip
    block = _USTAR.pack(*fields)
    return block[:148] + b"%06o\0 " % sum(block) + block[156:]


def _record(key: bytes, value: bytes) -> bytes:
    length = len(key) + len(value) + 3
    total = length + len(str(length))
    if len(str(total)) != len(str(length)):
        total = length + len(str(total))
    return b"%d %b=%b\n" % (total, key, value)


def header(
    name: bytes,
    status: os.stat_result,
    flag: bytes,
    *,
    size: int = 0,
    link: bytes = b"",
    more: dict[bytes, bytes] | None = None,
) -> bytes:
    """The blocks before the content of one member; ``more`` are further pax records."""
    records = dict(more or {})
    stored, target = name, link
    if len(name) > 100:
        records[b"path"] = name
        stored = name[:100]
    if len(link) > 100:
        records[b"linkpath"] = link
        target = link[:100]
    uid, gid, count = status.st_uid, status.st_gid, size
    if uid >= 1 << 21:
        records[b"uid"], uid = b"%d" % uid, 0
    if gid >= 1 << 21:
        records[b"gid"], gid = b"%d" % gid, 0
    if count >= 1 << 33:
        records[b"size"], count = b"%d" % count, 0
    seconds, fraction = divmod(status.st_mtime_ns, 1_000_000_000)
    if fraction or not 0 <= seconds < 1 << 33:
        text = b"%d.%09d" % (seconds, fraction)
        if seconds < 0:
            text = b"-%d.%09d" % divmod(-status.st_mtime_ns, 1_000_000_000)
        records[b"mtime"] = text
        seconds = min(max(seconds, 0), (1 << 33) - 1)
    device = status.st_rdev if flag in (CHARACTER, DEVICE) else 0
    mode = stat.S_IMODE(status.st_mode)
    block = _ustar(stored, mode, uid, gid, count, seconds, flag, target, device)
    if not records:
        return block
    text = b"".join(_record(key, value) for key, value in records.items())
    before = _ustar(b"PaxHeaders.0/member", 0o644, 0, 0, len(text), 0, b"x", b"", 0)
    return before + text + padding(len(text)) + block


def extents(fd: int, size: int) -> list[tuple[int, int]]:
    """Where a file has data: (offset, length) pairs; all of it where the kernel can't tell."""
    found: list[tuple[int, int]] = []
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
            at = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        except OSError:
            break
        except AttributeError:  # a system without SEEK_DATA
            return [(0, size)]
        if start < at:
            found.append((start, at - start))
    return found


def sparse(
    name: bytes, size: int, parts: list[tuple[int, int]]
) -> tuple[dict[bytes, bytes], bytes, bytes]:
    """The pax records of a file with holes, the name it is stored under, and the map of its parts.

    The map is the first of the member's content; the data of ``parts`` follow it.
    """
    entries = [*parts, (size, 0)]
    text = b"%d\n" % len(entries) + b"".join(b"%d\n%d\n" % entry for entry in entries)
    records = {
        b"GNU.sparse.major": b"1",
        b"GNU.sparse.minor": b"0",
        b"GNU.sparse.name": name,
        b"GNU.sparse.realsize": b"%d" % size,
    }
    directory, slash, base = name.rpartition(b"/")
    return records, directory + slash + b"GNUSparseFile.0/" + base, text + padding(len(text))
