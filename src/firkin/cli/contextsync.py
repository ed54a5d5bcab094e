"""A directory as a build context: what it has, line by line, and a tar of some of it.

A line is ``[path, mode, size, mtime in ns, stamp, link]``, in the order of names; the stamp changes
whenever the file does (its inode and the times that the system keeps of it), so only files that
did are read and sent.
"""

from __future__ import annotations

import errno
import os
import stat
import sys
from io import FileIO

from firkin.cli import errors
from firkin.client import jsontext

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from firkin.wire import ignorefile

_BATCH = 1 << 17
_CHUNK = 1 << 20


class Changed(errors.CliError):
    """A file that did not stay as it was while it was read."""

    def __init__(self, path: str, how: str) -> None:
        super().__init__(
            f"{path} of the build context {how} while it was sent: build again when nothing "
            "changes it, or name it in .dockerignore"
        )


class Directory:
    """A directory of this machine, without what its ignore file keeps out."""

    def __init__(self, root: str, ignored: ignorefile.Ignore | None = None) -> None:
        self.root = root
        self._ignored = ignored if ignored is not None and not ignored.empty else None
        self.files = 0

    def key(self) -> str:
        """What the engine knows the directory by."""
        import binascii

        # Two directories of one key would only have their files sent again.
        host = os.uname().nodename if os.name == "posix" else os.environ.get("COMPUTERNAME", "")
        text = f"{host}\0{os.path.realpath(self.root)}".encode("utf-8", "surrogateescape")
        return f"{binascii.crc32(text):08x}{binascii.crc32(text[::-1]):08x}"

    def manifest(self) -> Iterator[bytes]:
        """The lines, in pieces."""
        lines: list[str] = []
        size = 0
        for text in self._walk(self.root, "", 0):
            lines.append(text)
            size += len(text)
            if size >= _BATCH:
                yield ("\n".join(lines) + "\n").encode()
                lines, size = [], 0
        if lines:
            yield ("\n".join(lines) + "\n").encode()

    def _walk(self, directory: str, prefix: str, depth: int) -> Iterator[str]:
        if depth > 500:
            raise errors.CliError(f"directories are nested too deep at {directory}")
        try:
            entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
        except OSError as error:
            raise errors.CliError(
                f"can't read the build context: {directory}: {(error.strerror or '').lower()}"
            ) from None
        ignored = self._ignored
        for entry in entries:
            name = prefix + entry.name
            try:
                status = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            mode = status.st_mode
            directory_here = stat.S_ISDIR(mode)
            if ignored is not None and ignored(name):
                if not directory_here or ignored.prunes(name):
                    continue
                inner = list(self._walk(entry.path, name + "/", depth + 1))
                if inner:
                    yield _line(name, status, mode, "")
                    yield from inner
                continue
            if stat.S_ISSOCK(mode) or stat.S_ISCHR(mode) or stat.S_ISBLK(mode):
                continue
            link = os.readlink(entry.path) if stat.S_ISLNK(mode) else ""
            yield _line(name, status, mode, link)
            if directory_here:
                yield from self._walk(entry.path, name + "/", depth + 1)
            else:
                self.files += 1

    def _open(self, path: str) -> FileIO:
        try:
            file = FileIO(os.path.join(self.root, path), "rb", opener=_opener)
        except FileNotFoundError:
            raise Changed(path, "vanished") from None
        except OSError as error:
            if error.errno == errno.ELOOP:
                raise Changed(path, "became a link") from None
            raise errors.CliError(
                f"can't read {path} of the build context: {(error.strerror or '').lower()}"
            ) from None
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            file.close()
            raise Changed(path, "became another kind of file")
        return file

    def archive(self, paths: list[str]) -> Iterator[bytes]:
        """A tar of these files, each as it is when its turn comes.

        Of one that grows meanwhile it is the beginning; any other change raises ``Changed``.
        """
        import tarfile

        for path in paths:
            file = self._open(path)
            with file:
                status = os.fstat(file.fileno())
                info = tarfile.TarInfo(path)
                info.size = status.st_size
                info.mode = _mode(status.st_mode) & 0o7777
                info.mtime = status.st_mtime
                yield info.tobuf(tarfile.PAX_FORMAT)
                left = status.st_size
                while left:
                    data = file.read(min(_CHUNK, left))
                    if not data:
                        raise Changed(path, "became shorter")
                    left -= len(data)
                    yield data
                after = os.fstat(file.fileno())
                if after.st_size <= status.st_size and after.st_mtime_ns != status.st_mtime_ns:
                    raise Changed(path, "was written to")
                yield bytes(-status.st_size % 512)
        yield bytes(1024)


def _opener(path: str, flags: int) -> int:
    """Open without following a link, and without waiting for a FIFO's writer."""
    return os.open(path, flags | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0))


def _mode(mode: int) -> int:
    return mode if os.name == "posix" else mode | 0o111


def _line(name: str, status: os.stat_result, mode: int, link: str) -> str:
    stamp = ""
    if not stat.S_ISDIR(mode):
        stamp = (
            f"{status.st_ino:x}.{status.st_size:x}.{status.st_mtime_ns:x}.{status.st_ctime_ns:x}"
        )
    if sys.platform == "win32":
        name, link = name.replace("\\", "/"), link.replace("\\", "/")
    try:
        (name + link).encode()
    except UnicodeEncodeError:
        raise errors.CliError(f"the name of {name!r} in the build context is not UTF-8") from None
    shown = jsontext.dumps(link) if link else '""'
    return (
        f"[{jsontext.dumps(name)},{_mode(mode)},{status.st_size},{status.st_mtime_ns},"
        f'"{stamp}",{shown}]'
    )


def rules(root: str, dockerfile: str) -> ignorefile.Ignore | None:
    """The ignore file of a context: the Dockerfile's own, else ``.dockerignore``."""
    for path in (f"{dockerfile}.dockerignore" if dockerfile else "",
                 os.path.join(root, ".dockerignore")):  # fmt: skip
        if not path:
            continue
        try:
            with open(path, encoding="utf-8", errors="surrogateescape") as file:
                text = file.read()
        except (FileNotFoundError, NotADirectoryError):
            continue
        from firkin.wire import ignorefile

        try:
            return ignorefile.read(text)
        except ignorefile.BadPattern as error:
            raise errors.CliError(f"failed to parse {path}: {error}") from None
    return None
