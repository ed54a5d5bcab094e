"""The content store on a local file system.

::

    DIR/blobs/sha256/<hex>    complete blobs
    DIR/ingest/<random>       blobs being written; emptied when the store is opened

Both are on one file system, so a rename commits. Nothing is flushed to the disk: after a power cut
a blob may be short, and readers of blobs that matter compare size and digest with the descriptor.
"""

from __future__ import annotations

import contextlib
import os
import secrets
from collections.abc import Iterator, Sequence
from typing import BinaryIO

from firkin import errdefs, reference
from firkin.content import spool, store


def _failed(what: str, error: OSError) -> errdefs.System:
    return errdefs.System(f"cannot {what} the content store: {error.strerror}")


class LocalWriter:
    """An ingest: bytes go to a file and into the hash."""

    def __init__(self, owner: LocalStore) -> None:
        self._owner = owner
        self._path = os.path.join(owner.ingest, secrets.token_hex(16))
        try:
            fd = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC)
        except OSError as error:
            raise _failed("write to", error) from error
        self._spool = spool.Spool(fd)

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
            os.rename(self._path, self._owner.path(info.digest))
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


class LocalStore:
    """A :class:`firkin.content.store.Store` in a directory, which belongs to it alone."""

    def __init__(self, directory: str) -> None:
        self.blobs = os.path.join(directory, "blobs", "sha256")
        self.ingest = os.path.join(directory, "ingest")
        try:
            os.makedirs(self.blobs, mode=0o700, exist_ok=True)
            os.makedirs(self.ingest, mode=0o700, exist_ok=True)
            for name in os.listdir(self.ingest):
                os.unlink(os.path.join(self.ingest, name))
        except OSError as error:
            raise _failed(f"open {directory} as", error) from error

    def path(self, digest: str) -> str:
        """Where the blob is, or would be."""
        if not reference.is_sha256(digest):
            raise errdefs.InvalidParameter(f"{digest[:150]!r} is not a sha256 digest")
        return os.path.join(self.blobs, digest[len("sha256:") :])

    def writer(self) -> LocalWriter:
        return LocalWriter(self)

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
        try:
            os.unlink(self.path(digest))
        except FileNotFoundError:
            return False
        return True

    def walk(self) -> Iterator[store.Info]:
        for name in sorted(os.listdir(self.blobs)):
            digest = f"sha256:{name}"
            if reference.is_sha256(digest):
                with contextlib.suppress(FileNotFoundError):
                    yield store.Info(digest, os.stat(os.path.join(self.blobs, name)).st_size)
