"""One registry: its index, its storage, its uploads, and the steps that need them together."""

from __future__ import annotations

import asyncio
import concurrent.futures
import os
import secrets
import time
from collections.abc import Callable
from typing import TypeVar

from firkin import errdefs
from firkin.registry import config, db, errors, locks, receive
from firkin.registry.index import blobs, uploads
from firkin.registry.storage import local, storage

T = TypeVar("T")

_THREADS = 32
_FRESH = 300.0  # seconds after which a link that was asked about is touched again


def open_storage(settings: config.Config) -> storage.Storage:
    """The storage that the configuration names."""
    if settings.s3.bucket:
        from firkin.registry.storage import s3  # a large library, for those who use it

        return s3.S3Storage(settings.s3)
    return local.LocalStorage(os.path.join(settings.data, "blobs"))


class Registry:
    """What the handlers and the commands work with; one in every process."""

    def __init__(self, settings: config.Config) -> None:
        self.config = settings
        os.makedirs(settings.data, mode=0o700, exist_ok=True)
        self.db = db.Database.open(os.path.join(settings.data, "index", "registry.db"))
        self.storage = open_storage(settings)
        self.locks = locks.Locks(os.path.join(settings.data, "locks"))
        self.pool = concurrent.futures.ThreadPoolExecutor(_THREADS, "firkin-registry")
        self.uploads = receive.Uploads(os.path.join(settings.data, "uploads"), self.pool)

    async def run(self, work: Callable[..., T], *arguments: object) -> T:
        """Run something that blocks in a thread."""
        return await asyncio.get_running_loop().run_in_executor(self.pool, work, *arguments)

    def close(self) -> None:
        """Finish what is under way and close the files."""
        self.pool.shutdown()
        self.db.close()

    async def begin_upload(self, name: str, algorithm: str) -> str:
        """A new upload session; returns its id."""
        identity = secrets.token_hex(16)
        identity = "-".join(
            (identity[:8], identity[8:12], identity[12:16], identity[16:20], identity[20:])
        )
        self.uploads.create(identity)
        try:
            await self.db.note(uploads.begin, identity, name, algorithm)
        except BaseException:
            self.uploads.remove(identity)
            raise
        return identity

    async def cancel_upload(self, identity: str) -> None:
        """Drop an upload session."""
        self.uploads.remove(identity)
        await self.db.note(uploads.end, identity)

    async def commit_upload(self, upload: receive.Upload, name: str, digest: str) -> None:
        """Make the upload a blob of the repository, after verifying it.

        An upload whose bytes are not what was promised is dropped: nothing can mend it.
        """
        found = await self.run(upload.digest, digest.partition(":")[0])
        if found != digest:
            await self.cancel_upload(upload.identity)
            raise errors.Failure(
                "DIGEST_INVALID",
                f"what was uploaded has the digest {found}, not {digest}: it was damaged on its "
                "way or is something else; upload it again",
                detail={"digest": digest, "found": found, "size": upload.size},
            )
        await self.adopt(upload.path, digest, upload.size, name, upload.identity)
        upload.hash = None

    async def adopt(self, path: str, digest: str, size: int, name: str, identity: str = "") -> None:
        """Make a verified file a blob that the repository may read; ends the upload ``identity``.

        The lock keeps garbage collection from taking the blob between the storage and the index.
        """

        def linked(c: db.Connection) -> None:
            blobs.add(c, digest, size)
            blobs.link(c, name, digest)
            uploads.end(c, identity)

        async with self.locks.hold(digest):
            if await self.db.read(blobs.known, digest) is None:
                await self.run(self.storage.put, digest, path, size)
                await self.db.write(linked)
            else:
                await self.db.write(linked)
                await self.run(self._drop, path)

    def _drop(self, path: str) -> None:
        try:
            os.unlink(path)
        except OSError as error:
            raise errdefs.System(f"cannot remove {path}: {error.strerror}") from error

    async def blob(self, name: str, digest: str) -> blobs.Link:
        """A blob of the repository, or ``BLOB_UNKNOWN``.

        Who is told that it is there may count on that for the grace period.
        """
        found = await self.db.read(blobs.find, name, digest)
        if found is None:
            raise blobs.unknown(name, digest)
        stale = time.time() - found.touched > _FRESH
        if stale and not await self.db.note(blobs.mount, name, digest, name):
            raise blobs.unknown(name, digest)
        return found
