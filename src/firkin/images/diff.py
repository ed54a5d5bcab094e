"""The changes of a snapshot as the tar of a layer.

The tree is a container's and may be changing: it is walked by directory descriptors that follow no
link, every file has exactly the size its header says, and the order is that of the sorted names.
Two forms of a tree are understood:

* an overlay upper directory: whiteouts are character devices 0:0, opaque directories have an
  attribute; both get their ``.wh.`` names (image-spec);
* a whole tree and its parent (``below``): what differs is in the layer. Directories are in it
  always, which costs a header each.

Sockets are left out, times are whole seconds, extended attributes are those that a layer may have
(user.*, security.capability). Files with holes go out as GNU sparse files, format 1.0.
"""

from __future__ import annotations

import contextlib
import os
import stat
import tarfile
from collections.abc import Generator, Iterator

from firkin.linux import regular

_BATCH = 1 << 20  # bytes
_BATCH_CHUNKS = 1000
_CHUNK = 1 << 20
_SPARSE_FROM = 1 << 20
_OPAQUE = "trusted.overlay.opaque"
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_MAX_DEPTH = 900


def _attributes(fd: int) -> dict[str, str]:
    found: dict[str, str] = {}
    with contextlib.suppress(OSError):
        for name in sorted(os.listxattr(fd)):
            if name == "security.capability" or name.startswith("user."):
                value = os.getxattr(fd, name)
                found[f"SCHILY.xattr.{name}"] = value.decode("utf-8", "surrogateescape")
    return found


def _opaque(fd: int) -> bool:
    try:
        return os.getxattr(fd, _OPAQUE) == b"y"
    except OSError:
        return False


def _header(
    name: str, status: os.stat_result, kind: bytes, size: int = 0, link: str = "",
    extended: dict[str, str] | None = None, newest: int | None = None,
) -> bytes:  # fmt: skip
    info = tarfile.TarInfo(name)
    info.type, info.size, info.linkname = kind, size, link
    info.mode = stat.S_IMODE(status.st_mode)
    info.uid, info.gid, info.mtime = status.st_uid, status.st_gid, max(0, int(status.st_mtime))
    if kind in (tarfile.CHRTYPE, tarfile.BLKTYPE):
        info.devmajor, info.devminor = os.major(status.st_rdev), os.minor(status.st_rdev)
    if newest is not None:
        info.mtime = min(info.mtime, newest)
    info.pax_headers = extended or {}
    return info.tobuf(tarfile.PAX_FORMAT, "utf-8", "surrogateescape")


def _padding(size: int) -> bytes:
    return b"\0" * (-size % 512)


def _span(fd: int, start: int, size: int) -> Iterator[bytes]:
    """Exactly ``size`` bytes from ``start``; zeros where the file has become shorter."""
    end = start + size
    while start < end:
        data = os.pread(fd, min(_CHUNK, end - start), start) or bytes(min(_CHUNK, end - start))
        start += len(data)
        yield data


def _extents(fd: int, size: int) -> list[tuple[int, int]]:
    found: list[tuple[int, int]] = []
    at = 0
    while at < size:
        try:
            start = os.lseek(fd, at, os.SEEK_DATA)
        except OSError:
            break
        at = min(os.lseek(fd, start, os.SEEK_HOLE), size)
        if start < at:
            found.append((start, at - start))
    return found


def _sparse(
    name: str, fd: int, status: os.stat_result, extended: dict[str, str], newest: int | None
) -> Iterator[bytes]:
    extents = [*_extents(fd, status.st_size), (status.st_size, 0)]
    table = "".join(f"{start}\n{length}\n" for start, length in extents)
    text = f"{len(extents)}\n{table}".encode()
    text += _padding(len(text))
    size = len(text) + sum(length for _, length in extents)
    extended = {
        **extended,
        "GNU.sparse.major": "1",
        "GNU.sparse.minor": "0",
        "GNU.sparse.name": name,
        "GNU.sparse.realsize": str(status.st_size),
    }
    directory, _, base = name.rpartition("/")
    stored = f"{directory}/GNUSparseFile.0/{base}" if directory else f"GNUSparseFile.0/{base}"
    yield _header(stored, status, tarfile.REGTYPE, size, extended=extended, newest=newest)
    yield text
    for start, length in extents:
        yield from _span(fd, start, length)
    yield _padding(size)


def _same(a: os.stat_result, b: os.stat_result) -> bool:
    return (a.st_mode, a.st_uid, a.st_gid, a.st_rdev) == (
        b.st_mode,
        b.st_uid,
        b.st_gid,
        b.st_rdev,
    ) and (a.st_size, a.st_mtime_ns) == (b.st_size, b.st_mtime_ns)


class Walker:
    """Walks one tree; ``entries`` counts what has been begun to be written.

    ``newest`` is the latest time, in seconds since the epoch, that an entry may have: later ones
    become it. ``prefix`` is put before all names.
    """

    def __init__(self, newest: int | None = None, prefix: str = "") -> None:
        self._newest = newest
        self._prefix = prefix
        self._links: dict[tuple[int, int], str] = {}
        self.entries = 0

    def run(self, directory: str, below: str = "") -> Iterator[bytes]:
        """The tar's bytes, end mark included."""
        flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
        top = os.open(directory, flags)
        try:
            lower = os.open(below, flags) if below else -1
            try:
                yield from self._directory(top, lower, self._prefix, bool(below), 0)
            finally:
                if lower >= 0:
                    os.close(lower)
        finally:
            os.close(top)
        yield b"\0" * 1024

    def _header(
        self, name: str, status: os.stat_result, kind: bytes, size: int = 0, link: str = "",
        extended: dict[str, str] | None = None,
    ) -> bytes:  # fmt: skip
        self.entries += 1
        return _header(name, status, kind, size, link, extended, self._newest)

    def _whiteout(self, name: str, status: os.stat_result) -> bytes:
        return self._header(name, status, tarfile.REGTYPE)

    def _directory(
        self, fd: int, lower: int, prefix: str, whole: bool, depth: int
    ) -> Iterator[bytes]:
        if depth > _MAX_DEPTH:
            raise OSError(36, "directories are nested too deep", prefix)
        names = sorted(os.listdir(fd))
        if whole and lower >= 0:
            status = os.fstat(fd)
            for gone in sorted(set(os.listdir(lower)) - set(names)):
                yield self._whiteout(f"{prefix}.wh.{gone}", status)
        for name in names:
            try:
                status = os.stat(name, dir_fd=fd, follow_symlinks=False)
                yield from self._entry(fd, lower, name, prefix + name, status, whole, depth)
            except OSError as error:
                if error.errno not in regular.REPLACED:
                    raise

    def _entry(
        self, fd: int, lower: int, name: str, path: str, status: os.stat_result,
        whole: bool, depth: int,
    ) -> Iterator[bytes]:  # fmt: skip
        mode = status.st_mode
        if stat.S_ISDIR(mode):
            yield from self._subdirectory(fd, lower, name, path, status, whole, depth)
            return
        if not whole and stat.S_ISCHR(mode) and status.st_rdev == 0:
            yield self._whiteout(f"{path[: len(path) - len(name)]}.wh.{name}", status)
            return
        if stat.S_ISSOCK(mode) or (lower >= 0 and self._unchanged(fd, lower, name, status)):
            return
        first = self._links.get((status.st_dev, status.st_ino)) if status.st_nlink > 1 else None
        if first is not None:
            yield self._header(path, status, tarfile.LNKTYPE, link=first)
        elif stat.S_ISREG(mode):
            status = yield from self._file(fd, name, path)
        elif stat.S_ISLNK(mode):
            target = regular.link_target(name, fd)
            yield self._header(path, status, tarfile.SYMTYPE, link=target)
        elif stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
            kind = tarfile.CHRTYPE if stat.S_ISCHR(mode) else tarfile.BLKTYPE
            yield self._header(path, status, kind)
        elif stat.S_ISFIFO(mode):
            yield self._header(path, status, tarfile.FIFOTYPE)
        if status.st_nlink > 1:
            self._links.setdefault((status.st_dev, status.st_ino), path)

    def _unchanged(self, fd: int, lower: int, name: str, status: os.stat_result) -> bool:
        try:
            before = os.stat(name, dir_fd=lower, follow_symlinks=False)
        except FileNotFoundError:
            return False
        if not _same(status, before):
            return False
        return not stat.S_ISLNK(status.st_mode) or (
            regular.link_target(name, fd) == regular.link_target(name, lower)
        )

    def _subdirectory(
        self, fd: int, lower: int, name: str, path: str, status: os.stat_result,
        whole: bool, depth: int,
    ) -> Iterator[bytes]:  # fmt: skip
        child = os.open(name, _DIRECTORY, dir_fd=fd)
        try:
            below = -1
            if lower >= 0:
                with contextlib.suppress(OSError):
                    below = os.open(name, _DIRECTORY, dir_fd=lower)
            try:
                if not whole or below < 0 or not _same(os.fstat(child), os.fstat(below)):
                    extended = _attributes(child)
                    yield self._header(path + "/", status, tarfile.DIRTYPE, extended=extended)
                if not whole and _opaque(child):
                    yield self._whiteout(f"{path}/.wh..wh..opq", status)
                yield from self._directory(child, below, f"{path}/", whole, depth + 1)
            finally:
                if below >= 0:
                    os.close(below)
        finally:
            os.close(child)

    def _file(self, fd: int, name: str, path: str) -> Generator[bytes, None, os.stat_result]:
        """A file as it is now; returns what that is."""
        file = regular.entry(name, fd)
        try:
            status = os.fstat(file)
            extended = _attributes(file)
            size = status.st_size
            if size >= _SPARSE_FROM and status.st_blocks * 512 < size:
                self.entries += 1
                yield from _sparse(path, file, status, extended, self._newest)
            else:
                yield self._header(path, status, tarfile.REGTYPE, size, extended=extended)
                yield from _span(file, 0, size)
                yield _padding(size)
            return status
        finally:
            os.close(file)


def batches(chunks: Iterator[bytes]) -> Iterator[list[bytes]]:
    """The chunks of a stream, as many at a time as are worth the way to another thread."""
    batch: list[bytes] = []
    size = 0
    for chunk in chunks:
        batch.append(chunk)
        size += len(chunk)
        if size >= _BATCH or len(batch) >= _BATCH_CHUNKS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
