"""The files of one log, opened, while rotation renames, compresses and removes them.

What is opened is the log at one moment: a listing whose files are all open and have not moved
meanwhile. A reader looks for files that came after its last one, as it reads and before rotation
removes any; its own it knows by its inode, or, when it was compressed or cut in the meantime, by
how it ends. So a reader that follows a log misses nothing, however slow it is, unless it is more
than :data:`_MOST_FILES` behind.
"""

from __future__ import annotations

import os
import shutil
import threading
from collections.abc import Callable

from isal import igzip

_MOST_FILES = 64
"""How many of the newest files are read."""
_TRIES = 100
_END = 1 << 12  # bytes, the time of the last line among them


class File:
    """One file."""

    def __init__(self, path: str) -> None:
        """Raises ``FileNotFoundError``."""
        self._compressed = path.endswith(".gz")
        self._directory = os.path.dirname(path)
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._text = -1 if self._compressed else self._fd

    def is_at(self, path: str) -> bool:
        """Whether it has that name still."""
        try:
            return os.path.samestat(os.stat(path), os.fstat(self._fd))
        except FileNotFoundError:
            return False

    def is_now(self, other: File) -> bool:
        """Whether ``other`` is this one, or what has become of it."""
        if os.path.samestat(os.fstat(self._fd), os.fstat(other._fd)):
            return True
        end = self._end()
        return bool(end) and end == other._end()

    def _end(self) -> bytes:
        fd = self.text()
        return os.pread(fd, _END, max(0, os.fstat(fd).st_size - _END))

    def text(self) -> int:
        """A descriptor of its text; of an unnamed copy when it is compressed."""
        if self._text < 0:
            fd = os.open(self._directory, os.O_RDWR | os.O_TMPFILE | os.O_CLOEXEC, 0o600)
            try:
                os.lseek(self._fd, 0, os.SEEK_SET)
                with (
                    open(self._fd, "rb", closefd=False) as packed,
                    igzip.open(packed, "rb") as source,
                    open(fd, "wb", closefd=False) as target,
                ):
                    shutil.copyfileobj(source, target, 1 << 20)
            except BaseException:
                os.close(fd)
                raise
            self._text = fd
        return self._text

    def close(self) -> None:
        """The end."""
        for fd in {self._fd, self._text} - {-1}:
            os.close(fd)


class Files:
    """The files that are still to be read, the oldest first; the last may still grow. Blocks.

    ``live`` is the path of the file that grows, ``listing`` gives all that there are, the oldest
    first. A reader and rotation may use it
    at the same time; ``lock`` is for who reads ``files`` in a thread.
    """

    def __init__(self, live: str, listing: Callable[[], list[str]], *, follows: bool) -> None:
        self._live = live
        self._listing = listing
        self._follows = follows
        self.lock = threading.RLock()
        self._offset = 0
        self.files: list[File] = []
        self.files = _snapshot(listing)

    def extend(self) -> bool:
        """Look for files that came after the last one; tells whether there are."""
        with self.lock:
            if self.files and self.files[-1].is_at(self._live):
                return False
            found = _snapshot(self._listing)
            known = 0
            if self.files:
                for index, file in enumerate(found):
                    if self.files[-1].is_now(file):
                        known = index + 1
            _close(found[:known])
            self.files += found[known:]
            _close(self.files[1:-_MOST_FILES])
            del self.files[1:-_MOST_FILES]
            return len(found) > known

    def seek(self, index: int, offset: int) -> None:
        """Go on at ``offset`` of the file ``index``."""
        with self.lock:
            _close(self.files[:index])
            del self.files[:index]
            self._offset = offset

    def piece(self, size: int) -> tuple[bytes, bool]:
        """The next bytes, at most ``size``, and whether they begin a file; none at the present end.

        A file is left when there was a newer one before its end was met: it is complete then.
        """
        begins = False
        with self.lock:
            while True:
                if self._follows:
                    self.extend()
                complete = len(self.files) > 1
                data = os.pread(self.files[0].text(), size, self._offset) if self.files else b""
                if data or not complete:
                    self._offset += len(data)
                    return data, begins
                self.seek(1, 0)
                begins = True

    def close(self) -> None:
        """The end."""
        with self.lock:
            _close(self.files)
            self.files.clear()

    __del__ = close  # a cancelled caller never gets what a thread opens for it


def _snapshot(listing: Callable[[], list[str]]) -> list[File]:
    """The files at one moment."""
    for _ in range(_TRIES):
        paths = listing()[-_MOST_FILES:]
        files: list[File] = []
        try:
            files.extend(map(File, paths))
            still = listing()[-_MOST_FILES:] == paths
            if still and all(file.is_at(path) for file, path in zip(files, paths, strict=True)):
                return files
        except FileNotFoundError:
            pass
        except BaseException:
            _close(files)
            raise
        _close(files)
    raise OSError("the files of the log never stay the same")


def _close(files: list[File]) -> None:
    for file in files:
        file.close()
