"""The rules of ``cp``: what a source becomes at a destination, and trees as tar streams.

As with cp(1), a destination that is a directory takes the source into it; else the source gets
the destination's name. A source that ends in ``/.`` stands for what is in the directory. A
destination that ends in a slash has to be a directory.

What comes from a container is hostile: no member is written through a symbolic link below the
destination, and none outside of it.
"""

from __future__ import annotations

import os
import posixpath
import stat
import sys

from firkin.cli import errors
from firkin.wire import tarpack

TYPE_CHECKING = False
if TYPE_CHECKING:
    import tarfile
    from collections.abc import Callable, Iterator

_CHUNK = 1 << 20
_LINKS = 10


class Info:
    """A source or a destination. ``rebase`` is the name that a source was asked for by."""

    def __init__(
        self, path: str, *, exists: bool = False, is_dir: bool = False, rebase: str = ""
    ) -> None:
        self.path = path
        self.exists = exists
        self.is_dir = is_dir
        self.rebase = rebase


def base(path: str) -> str:
    """The last part of a path; "." for ``x/.`` and "/" for the root."""
    return posixpath.basename(path.rstrip("/")) or ("/" if path.startswith("/") else ".")


def is_current(path: str) -> bool:
    """Whether it means what is in a directory: it ends in ``/.``."""
    return bool(path) and base(path) == "."


def split(path: str) -> tuple[str, str]:
    """Directory and entry of a path; the entry of ``dir/.`` is "."."""
    clean = posixpath.normpath(path)
    if is_current(path):
        return clean, "."
    return posixpath.dirname(clean) or ".", base(clean)


def local(path: str) -> str:
    """A path of this machine with slashes, which Windows takes as well as its own."""
    return path if os.sep == "/" else path.replace(os.sep, "/")


def keep_end(clean: str, original: str) -> str:
    """``clean`` with the slash or ``/.`` that ``original`` ends in."""
    if is_current(original) and not is_current(clean):
        clean = clean.rstrip("/") + "/."
    if original.endswith("/") and not clean.endswith("/"):
        clean += "/"
    return clean


def join_link(path: str, target: str) -> str:
    """Where a symbolic link at ``path`` leads."""
    if target.startswith("/") or os.path.isabs(target):
        return target
    return posixpath.normpath(posixpath.join(split(path)[0], target))


def renamed(path: str, resolved: str) -> tuple[str, str]:
    """``resolved`` with the end of ``path``, and the name to keep if following changed it."""
    resolved = keep_end(resolved, path)
    return resolved, base(path) if base(path) != base(resolved) else ""


def source(path: str, *, follow: bool) -> Info:
    """A local source. Raises ``OSError`` when it is not there."""
    path = keep_end(local(os.path.abspath(path)), local(path))
    rebase = ""
    if follow:
        found, rebase = renamed(path, local(os.path.realpath(path, strict=True)))
    else:
        directory, entry = os.path.split(path)
        found = local(os.path.join(os.path.realpath(directory, strict=True), entry))
    is_dir = stat.S_ISDIR(os.lstat(found).st_mode)
    return Info(found, exists=True, is_dir=is_dir, rebase=rebase)


def destination(path: str) -> Info:
    """A local destination, its symbolic links followed. Raises ``OSError`` and ``CliError``."""
    path = keep_end(local(os.path.abspath(path)), local(path))
    here = path
    for _ in range(_LINKS + 1):
        try:
            status = os.lstat(here)
        except FileNotFoundError:
            parent = split(here)[0]
            if not stat.S_ISDIR(os.stat(parent).st_mode):
                raise errors.CliError("not a directory") from None
            return Info(here)
        if not stat.S_ISLNK(status.st_mode):
            return Info(here, exists=True, is_dir=stat.S_ISDIR(status.st_mode))
        here = join_link(here, local(os.readlink(here)))
    raise errors.CliError(f"too many symlinks in {path}")


def place(origin: Info, target: Info) -> tuple[str, str]:
    """The directory to extract in, and the name that the source gets; "" for its own.

    Raises ``CliError`` for what can't be.
    """
    if target.exists and target.is_dir:
        return target.path, ""
    directory, name = split(target.path)
    if target.exists and origin.is_dir:
        raise errors.CliError("cannot copy directory")
    if (
        not target.exists
        and not origin.is_dir
        and (target.path.endswith("/") or is_current(target.path))
    ):
        raise errors.CliError("no such directory")
    return directory, name


# Packing


def pack(path: str, name: str) -> Iterator[bytes]:
    """A local tree as a tar whose top has the name ``name`` ("." for what is in a directory)."""
    links: dict[tuple[int, int], bytes] = {}
    yield from _pack(path, os.fsencode(name), os.lstat(path), links)
    yield tarpack.END


def _pack(
    path: str, name: bytes, status: os.stat_result, links: dict[tuple[int, int], bytes]
) -> Iterator[bytes]:
    flag = tarpack.kind(status.st_mode)
    if flag == tarpack.DIRECTORY:
        yield tarpack.header(name + b"/", status, flag, more=_attributes(path))
        with os.scandir(path) as found:
            entries = sorted(found, key=lambda entry: entry.name)
        for entry in entries:
            inside = name + b"/" + os.fsencode(entry.name)
            yield from _pack(entry.path, inside, os.lstat(entry.path), links)
        return
    if not flag:
        return
    if status.st_nlink > 1 and status.st_ino:
        first = links.setdefault((status.st_dev, status.st_ino), name)
        if first != name:
            yield tarpack.header(name, status, tarpack.HARDLINK, link=first)
            return
    if flag == tarpack.FILE:
        yield from _pack_file(path, name)
    elif flag == tarpack.SYMLINK:
        yield tarpack.header(name, status, flag, link=os.fsencode(os.readlink(path)))
    else:
        yield tarpack.header(name, status, flag)


def _pack_file(path: str, name: bytes) -> Iterator[bytes]:
    with open(path, "rb", buffering=0) as file:
        status = os.fstat(file.fileno())
        size, more = status.st_size, _attributes(path)
        parts, total, table, stored = [(0, size)], size, b"", name
        blocks = getattr(status, "st_blocks", size)
        if size >= tarpack.SPARSE_FROM and blocks * 512 < size:
            parts = tarpack.extents(file.fileno(), size)
            records, stored, table = tarpack.sparse(name, size, parts)
            more.update(records)
            total = len(table) + sum(length for _, length in parts)
        yield tarpack.header(stored, status, tarpack.FILE, size=total, more=more)
        if table:
            yield table
        for start, length in parts:
            file.seek(start)
            yield from _exactly(file.read, length)
        yield tarpack.padding(total)


def _exactly(read: Callable[[int], bytes], size: int) -> Iterator[bytes]:
    while size:
        data = read(min(_CHUNK, size)) or bytes(min(_CHUNK, size))
        size -= len(data)
        yield data


def _attributes(path: str) -> dict[bytes, bytes]:
    found: dict[bytes, bytes] = {}
    if hasattr(os, "listxattr"):
        try:
            for name in os.listxattr(path, follow_symlinks=False):
                if name == "security.capability" or name.startswith("user."):
                    value = os.getxattr(path, name, follow_symlinks=False)
                    found[b"SCHILY.xattr." + os.fsencode(name)] = value
                elif name.startswith("system.posix_acl_"):
                    from firkin.wire import acl  # which takes long to import

                    value = os.getxattr(path, name, follow_symlinks=False)
                    found[acl.NAMES[name]] = acl.to_text(value)
        except OSError:
            pass  # a file system without attributes
    return found


# Unpacking


class _Reader:
    """The chunks of a response as a file for ``tarfile``."""

    def __init__(self, chunks: Iterator[bytes], count: Callable[[int], None]) -> None:
        self._chunks = chunks
        self._count = count
        self._rest = memoryview(b"")

    def read(self, size: int) -> bytes:
        parts = []
        while size:
            if not self._rest:
                chunk = next(self._chunks, b"")
                if not chunk:
                    break
                self._count(len(chunk))
                self._rest = memoryview(chunk)
            parts.append(self._rest[:size])
            self._rest = self._rest[len(parts[-1]) :]
            size -= len(parts[-1])
        return b"".join(parts)


class Unpacker:
    """Extracts an archive below ``directory``, its members' first part ``old`` renamed ``new``.

    ``owners`` keeps the owners in the archive; else files belong to who runs this.
    """

    def __init__(self, directory: str, old: str, new: str, *, owners: bool) -> None:
        self._top = directory
        self._old = "" if old == "/" else old
        self._new = new
        self._owners = owners
        self._safe: set[str] = set()
        self._late: list[tuple[str, tarfile.TarInfo]] = []

    def run(self, chunks: Iterator[bytes], count: Callable[[int], None]) -> None:
        """Extract all. Raises ``CliError`` for a member that can't be, ``OSError``."""
        import tarfile

        reader = _Reader(chunks, count)
        try:
            with tarfile.open(mode="r|", fileobj=reader, bufsize=_CHUNK) as tar:  # type: ignore[call-overload]
                for member in tar:
                    self._member(tar, member)
                    tar.members = []  # or it keeps them all
        except tarfile.TarError as error:
            raise errors.CliError(f"the archive is damaged: {error}") from None
        for path, member in reversed(self._late):
            os.chmod(path, member.mode & 0o7777)
            self._set_access(path, member)
            _set_times(path, member)

    def _path(self, name: str) -> str:
        if self._new:
            name = name.replace(self._old, self._new, 1) if self._old else self._new + name
        parts = [part for part in name.split("/") if part not in ("", ".")]
        if ".." in parts:
            raise errors.CliError(f"the archive's entry {name!r} is outside of the destination")
        here = self._top
        for part in parts[:-1]:
            here = os.path.join(here, part)
            if here in self._safe:
                continue
            try:
                kind = os.lstat(here).st_mode
            except FileNotFoundError:
                os.mkdir(here)
            else:
                if not stat.S_ISDIR(kind):
                    raise errors.CliError(f"{here} is not a directory: nothing is copied below it")
            self._safe.add(here)
        return os.path.join(here, parts[-1]) if parts else here

    def _member(self, tar: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = self._path(member.name)
        self._make_way(path, member)
        if member.isdir():
            if not os.path.isdir(path):
                os.mkdir(path)
            self._late.append((path, member))
        elif member.issym():
            os.symlink(member.linkname, path)
        elif member.islnk():
            os.link(self._path(member.linkname), path, follow_symlinks=False)
            return
        elif member.isreg() or member.issparse():
            tar.makefile(member, path)
        elif member.isfifo():
            os.mkfifo(path)
        elif member.ischr() or member.isblk():
            kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
            os.mknod(path, 0o600 | kind, os.makedev(member.devmajor, member.devminor))
        else:
            return
        if self._owners and hasattr(os, "lchown"):
            os.lchown(path, member.uid, member.gid)
        if member.issym():
            if os.utime in os.supports_follow_symlinks:
                _set_times(path, member)
            return
        _set_attributes(path, member)
        if not member.isdir():
            os.chmod(path, member.mode & 0o7777)
            self._set_access(path, member)
            _set_times(path, member)

    def _set_access(self, path: str, member: tarfile.TarInfo) -> None:
        """Access control lists belong to the owners: ids of the container mean others here."""
        if not (self._owners and hasattr(os, "setxattr")):
            return
        from firkin.wire import acl

        for name, key in acl.NAMES.items():
            if text := member.pax_headers.get(key.decode()):
                try:
                    os.setxattr(path, name, acl.from_text(text))
                except (OSError, ValueError):
                    continue  # a file system without them, or a user who may not

    def _make_way(self, path: str, member: tarfile.TarInfo) -> None:
        try:
            status = os.lstat(path)
        except FileNotFoundError:
            return
        was_dir = stat.S_ISDIR(status.st_mode)
        if was_dir and not member.isdir():
            raise errors.CliError(f'cannot overwrite directory "{path}" with non-directory')
        if not was_dir and member.isdir():
            raise errors.CliError(f'cannot overwrite non-directory "{path}" with directory')
        if not was_dir:
            os.unlink(path)


def _set_times(path: str, member: tarfile.TarInfo) -> None:
    seconds, _, fraction = member.pax_headers.get("mtime", str(member.mtime)).partition(".")
    nanoseconds = int(seconds) * 1_000_000_000 + int(fraction[:9].ljust(9, "0"))
    follow = os.utime not in os.supports_follow_symlinks
    os.utime(path, ns=(nanoseconds, nanoseconds), follow_symlinks=follow)


def _set_attributes(path: str, member: tarfile.TarInfo) -> None:
    for key, value in member.pax_headers.items():
        name = key.removeprefix("SCHILY.xattr.")
        wanted = name.startswith("user.") or name == "security.capability"
        if name != key and wanted and hasattr(os, "setxattr"):
            try:
                os.setxattr(path, name, value.encode("utf-8", "surrogateescape"))
            except OSError:
                continue  # a file system without attributes, or a user who may not


def write_all(chunks: Iterator[bytes], count: Callable[[int], None]) -> None:
    """Copy an archive to standard output as it is."""
    sys.stdout.flush()
    for chunk in chunks:
        count(len(chunk))
        sys.stdout.buffer.write(chunk)
    sys.stdout.buffer.flush()
