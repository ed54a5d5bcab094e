"""The content store on a local file system.

::

    DIR/blobs/sha256/<hex>    complete blobs
    DIR/ingest/<random>       blobs being written; emptied when the store is opened
    DIR/partial/<hex>         the beginnings of blobs whose writers were suspended, or killed

All are on one file system, so a rename commits. Nothing is flushed to the disk: after a power cut
a blob may be short, and readers of blobs that matter compare size and digest with the descriptor.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import threading
import time
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from firkin import errdefs, reference
from firkin.content import spool, store


def _failed(what: str, error: OSError) -> errdefs.System:
    return errdefs.System(f"cannot {what} the content store: {error.strerror}")


PARTIAL_DAYS = 7
"""How long the beginning of a blob waits for the rest."""


class LocalWriter:
    """An ingest: bytes go to a file and into the hash."""

    def __init__(self, owner: LocalStore, name: str = "") -> None:
        self._owner = owner
        self._path = os.path.join(owner.ingest, name or secrets.token_hex(16))
        self._spool = self._open(os.O_EXCL)

    def _open(self, flag: int) -> spool.Spool:
        try:
            fd = os.open(self._path, os.O_RDWR | os.O_CREAT | flag | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise _failed("write to", error) from error
        return spool.Spool(fd)

    @property
    def size(self) -> int:
        return self._spool.size

    def write(self, data: store.Buffer) -> None:
        self.writev((data,))

    def writev(self, parts: Sequence[store.Buffer]) -> None:
        try:
            self._spool.write(parts)
        except OSError as error:
            raise _failed("write to", error) from error

    def commit(self, digest: str = "", size: int = -1) -> store.Info:
        try:
            info = store.Info(f"sha256:{self._spool.finish().hex()}", self.size)
            _check(info, digest, size)
            self._owner.take(self._path, info.digest)
        except OSError as error:
            self.abort()
            raise _failed("write to", error) from error
        except errdefs.InvalidParameter:
            self.abort()
            raise
        return info

    def abort(self) -> None:
        self._spool.abandon()
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self._path)


class ResumedWriter(LocalWriter):
    """An ingest under its digest's name, which stays when it is suspended."""

    def __init__(self, owner: LocalStore, digest: str) -> None:
        self._owner = owner
        self._digest = digest
        self._ended = False
        self._path = os.path.join(owner.partial, digest[len("sha256:") :])
        self._spool = self._open(0)
        try:
            # Whole buffers only, so that what follows can be written past the page cache.
            self._there = 0
            self._there = os.path.getsize(self._path) // spool.BLOCK * spool.BLOCK
            os.truncate(self._path, self._there)
        except OSError as error:
            self.suspend()
            raise _failed("write to", error) from error

    @property
    def size(self) -> int:
        return max(self._there, self._spool.size)

    def replay(self) -> Iterator[store.Buffer]:
        try:
            with open(self._path, "rb", buffering=0) as file:
                while data := file.read(min(spool.BLOCK, self._there - self._spool.size)):
                    self._spool.absorb(data)
                    yield data
            self._spool.skip_to_end()
        except OSError as error:
            raise _failed("read from", error) from error

    def commit(self, digest: str = "", size: int = -1) -> store.Info:
        try:
            return super().commit(digest or self._digest, size)
        finally:
            self._end()

    def suspend(self) -> None:
        if not self._ended:
            self._spool.suspend()
            self._end()

    def abort(self) -> None:
        if not self._ended:
            super().abort()
            self._end()

    def _end(self) -> None:
        if not self._ended:
            self._ended = True
            self._owner.release(self._digest)


def _check(found: store.Info, digest: str, size: int) -> None:
    if digest and found.digest != digest:
        raise errdefs.InvalidParameter(
            f"the content has the digest {found.digest}, it was announced as {digest}: "
            "it is damaged or was changed"
        )
    if size >= 0 and found.size != size:
        raise errdefs.InvalidParameter(
            f"the content of {found.digest} has {found.size} bytes, it was announced with {size}"
        )


def _allocated(path: str) -> int:
    """Bytes that a file takes on the disk; none once it is gone."""
    try:
        return os.stat(path).st_blocks * 512
    except FileNotFoundError:
        return 0


class LocalStore:
    """A :class:`firkin.content.store.Store` in a directory, which belongs to it alone."""

    def __init__(self, directory: str) -> None:
        self.blobs = os.path.join(directory, "blobs", "sha256")
        self.ingest = os.path.join(directory, "ingest")
        self.partial = os.path.join(directory, "partial")
        self._resumed: set[str] = set()
        self._sizes: dict[str, int] | None = None
        self._lock = threading.Lock()
        try:
            for path in (self.blobs, self.ingest, self.partial):
                os.makedirs(path, mode=0o700, exist_ok=True)
            self.drop_partials(PARTIAL_DAYS * 86400.0)
            for name in os.listdir(self.ingest):
                os.unlink(os.path.join(self.ingest, name))
        except OSError as error:
            raise _failed(f"open {directory} as", error) from error

    def path(self, digest: str) -> str:
        """Where the blob is, or would be."""
        if not reference.is_sha256(digest):
            raise errdefs.InvalidParameter(f"{digest[:150]!r} is not a sha256 digest")
        return os.path.join(self.blobs, digest[len("sha256:") :])

    def take(self, path: str, digest: str) -> None:
        """Make the complete file at ``path`` the blob."""
        with self._lock:
            os.rename(path, self.path(digest))
            if self._sizes is not None:
                self._sizes[digest] = _allocated(self.path(digest))

    def writer(self) -> LocalWriter:
        return LocalWriter(self)

    def resume(self, digest: str) -> ResumedWriter:
        self.path(digest)
        if digest in self._resumed:
            raise errdefs.Conflict(f"{digest} is being received already")
        self._resumed.add(digest)
        try:
            return ResumedWriter(self, digest)
        except BaseException:
            self._resumed.discard(digest)
            raise

    def begun(self, digest: str) -> int:
        path = os.path.join(self.partial, os.path.basename(self.path(digest)))
        try:
            return os.path.getsize(path)
        except FileNotFoundError:
            return 0

    def release(self, digest: str) -> None:
        """The writer of ``digest`` has ended."""
        self._resumed.discard(digest)

    def drop_partials(self, age: float = 0.0) -> int:
        """Remove beginnings of blobs that nobody wrote to for ``age`` seconds."""
        freed = 0
        for name in os.listdir(self.partial):
            if f"sha256:{name}" in self._resumed:
                continue
            path = os.path.join(self.partial, name)
            with contextlib.suppress(FileNotFoundError):
                status = os.stat(path)
                if time.time() - status.st_mtime >= age:
                    os.unlink(path)
                    freed += status.st_size
        return freed

    def open(self, digest: str) -> BinaryIO:
        try:
            return open(self.path(digest), "rb", buffering=0)
        except FileNotFoundError:
            raise errdefs.NotFound(f"the content store does not have {digest}") from None

    def exists(self, digest: str) -> bool:
        return os.path.exists(self.path(digest))

    def info(self, digest: str) -> store.Info:
        try:
            return store.Info(digest, os.stat(self.path(digest)).st_size)
        except FileNotFoundError:
            raise errdefs.NotFound(f"the content store does not have {digest}") from None

    def delete(self, digest: str) -> bool:
        with self._lock:
            if self._sizes is not None:
                self._sizes.pop(digest, None)
            try:
                os.unlink(self.path(digest))
            except FileNotFoundError:
                return False
        return True

    def sizes(self) -> dict[str, int]:
        with self._lock:
            if self._sizes is None:
                self._sizes = {
                    f"sha256:{name}": _allocated(os.path.join(self.blobs, name))
                    for name in os.listdir(self.blobs)
                }
            return dict(self._sizes)

    def unfinished(self) -> int:
        places = (self.ingest, self.partial)
        parts = [os.path.join(place, name) for place in places for name in os.listdir(place)]
        return sum(map(_allocated, parts))

    def walk(self) -> Iterator[store.Info]:
        for name in sorted(os.listdir(self.blobs)):
            digest = f"sha256:{name}"
            if reference.is_sha256(digest):
                with contextlib.suppress(FileNotFoundError):
                    yield store.Info(digest, os.stat(os.path.join(self.blobs, name)).st_size)
