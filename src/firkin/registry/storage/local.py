"""Blobs in files of a local directory.

::

    DIR/sha256/ab/abcd...    complete blobs; likewise sha512

The files that become blobs have to be on the same file system: a rename makes them visible.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import tempfile
from collections.abc import Iterator

from firkin import errdefs
from firkin.registry import names
from firkin.registry.storage import storage


def failed(what: str, error: OSError) -> errdefs.FirkinError:
    """The error for a disk that does not do what it should."""
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return errdefs.Unavailable("the registry's disk is full: free some space and try again")
    return errdefs.System(f"cannot {what}: {error.strerror or error}")


def flush_directory(path: str) -> None:
    """Make the names in a directory durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


class LocalStorage:
    """A :class:`firkin.registry.storage.storage.Storage` in a directory."""

    def __init__(self, directory: str) -> None:
        self._directory = directory
        try:
            for algorithm in names.ALGORITHMS:
                os.makedirs(os.path.join(directory, algorithm), mode=0o700, exist_ok=True)
        except OSError as error:
            raise failed(f"use {directory} as storage", error) from error

    def path(self, digest: str) -> str:
        """Where a blob is, or would be."""
        algorithm, _, digits = names.digest(digest).partition(":")
        return os.path.join(self._directory, algorithm, digits[:2], digits)

    def put(self, digest: str, file: str, size: int) -> None:
        path = self.path(digest)
        parent = os.path.dirname(path)
        try:
            fd = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
            try:
                if os.fstat(fd).st_size != size:
                    raise errdefs.System(f"{digest} changed its size on its way into the storage")
                os.fsync(fd)
            finally:
                os.close(fd)
            try:
                os.mkdir(parent, 0o700)
                flush_directory(os.path.dirname(parent))
            except FileExistsError:
                pass
            os.rename(file, path)
            flush_directory(parent)
        except OSError as error:
            raise failed(f"store {digest}", error) from error

    def open(self, digest: str, offset: int = 0, length: int = -1) -> io.FileIO:
        try:
            file = open(self.path(digest), "rb", buffering=0)  # noqa: SIM115
        except FileNotFoundError:
            raise errdefs.NotFound(f"the storage does not have {digest}") from None
        except OSError as error:
            raise failed(f"open {digest}", error) from error
        file.seek(offset)
        return file

    def stat(self, digest: str) -> storage.Info:
        try:
            found = os.stat(self.path(digest))
        except FileNotFoundError:
            raise errdefs.NotFound(f"the storage does not have {digest}") from None
        return storage.Info(digest, found.st_size, found.st_mtime)

    def delete(self, digest: str) -> bool:
        try:
            os.unlink(self.path(digest))
        except FileNotFoundError:
            return False
        except OSError as error:
            raise failed(f"delete {digest}", error) from error
        return True

    def walk(self) -> Iterator[storage.Info]:
        for algorithm in names.ALGORITHMS:
            top = os.path.join(self._directory, algorithm)
            for parent in os.listdir(top):
                for digits in os.listdir(os.path.join(top, parent)):
                    digest = f"{algorithm}:{digits}"
                    if names.is_digest(digest):
                        with contextlib.suppress(errdefs.NotFound):
                            yield self.stat(digest)

    def url(self, digest: str, seconds: int) -> str:
        return ""

    def check(self) -> None:
        try:
            with tempfile.TemporaryFile(dir=self._directory) as file:
                file.write(b"x")
                file.flush()
        except OSError as error:
            raise failed(f"write to {self._directory}", error) from error
