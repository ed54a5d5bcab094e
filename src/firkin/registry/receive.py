"""Bytes on their way in: an upload's file, its hash, and the request body that goes into them.

An upload is a file that only grows. A chunk that was cut off leaves what arrived of it, and the
client goes on from there. The hash grows along in this process; where it does not know all of the
file (another worker received the beginning, or the server was restarted), the file is read again
when the upload is finished.
"""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import contextlib
import os
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

from aiohttp import web

from firkin.registry import errors, locks, names
from firkin.registry.storage import local

if TYPE_CHECKING:
    from hashlib import _Hash

BATCH = 512 * 1024
"""Bytes that are handed to a thread at once. An upload holds two such batches at most."""

IDLE = 120.0
"""Seconds that a client may send nothing in the middle of a body."""

_PATIENCE = 15.0  # seconds for a broken request of the same upload to be noticed and end
_HASHES = 512
_READ = 1 << 20


class Upload:
    """One upload's file, open and locked. Made by :meth:`Uploads.open`."""

    def __init__(self, identity: str, path: str, fd: int, algorithm: str) -> None:
        self.identity = identity
        self.path = path
        self.algorithm = algorithm
        self.size = os.fstat(fd).st_size
        self.hash: _Hash | None = None
        self._fd = fd

    def append(self, parts: Sequence[bytes]) -> None:
        """Write and hash. Blocks; belongs to one thread at a time."""
        wanted = sum(len(part) for part in parts)
        if self.hash is not None:
            for part in parts:
                self.hash.update(part)
        try:
            done = os.pwritev(self._fd, parts, self.size)
            if done < wanted:
                rest = memoryview(b"".join(parts))
                while done < wanted:
                    done += os.pwrite(self._fd, rest[done:], self.size + done)
        except OSError as error:
            self.hash = None
            with contextlib.suppress(OSError):
                os.ftruncate(self._fd, self.size)
            raise local.failed("write the upload", error) from error
        self.size += wanted

    def digest(self, algorithm: str) -> str:
        """The digest of all bytes so far. Blocks, long if they have to be read again."""
        if self.hash is None or algorithm != self.algorithm:
            hasher = names.hasher(algorithm)
            offset = 0
            while data := os.pread(self._fd, _READ, offset):
                hasher.update(data)
                offset += len(data)
            if offset != self.size:
                raise errors.Failure("UNKNOWN", "the upload's file is not as long as it was")
            if algorithm == self.algorithm:
                self.hash = hasher
            return f"{algorithm}:{hasher.hexdigest()}"
        return f"{algorithm}:{self.hash.hexdigest()}"


class Uploads:
    """The uploads of one worker process, in a directory that all workers share."""

    def __init__(self, directory: str, pool: concurrent.futures.Executor) -> None:
        self.directory = directory
        self._pool = pool
        self._hashes: collections.OrderedDict[str, tuple[int, _Hash]] = collections.OrderedDict()
        os.makedirs(directory, mode=0o700, exist_ok=True)

    def path(self, identity: str) -> str:
        """The file of an upload; ``identity`` comes from the index, never from a client."""
        return os.path.join(self.directory, identity)

    def create(self, identity: str) -> None:
        """Make the file of a new upload."""
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
            os.close(os.open(self.path(identity), flags, 0o600))
        except OSError as error:
            raise local.failed("begin the upload", error) from error

    def size(self, identity: str) -> int:
        """How many bytes of an upload have arrived."""
        try:
            return os.stat(self.path(identity)).st_size
        except FileNotFoundError:
            raise _gone(identity) from None

    def remove(self, identity: str) -> None:
        """Drop an upload's bytes."""
        self._hashes.pop(identity, None)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(self.path(identity))

    @contextlib.asynccontextmanager
    async def open(self, identity: str, algorithm: str) -> AsyncIterator[Upload]:
        """An upload, locked against every other request for it."""
        try:
            fd = os.open(self.path(identity), os.O_RDWR | os.O_CLOEXEC)
        except FileNotFoundError:
            raise _gone(identity) from None
        try:
            if not await locks.take(fd, _PATIENCE):
                raise errors.Failure(
                    "BLOB_UPLOAD_INVALID",
                    f"another request is sending to upload {identity}: wait for its end",
                    status=409,
                )
            if not os.fstat(fd).st_nlink:  # it was finished while we waited
                raise _gone(identity)
            upload = Upload(identity, self.path(identity), fd, algorithm)
            at, known = self._hashes.pop(identity, (0, None))
            if at == upload.size:
                upload.hash = known or names.hasher(algorithm)
            yield upload
            if upload.hash is not None:
                self._hashes[identity] = (upload.size, upload.hash)
                while len(self._hashes) > _HASHES:
                    self._hashes.popitem(last=False)
        finally:
            os.close(fd)

    async def receive(self, upload: Upload, request: web.BaseRequest, limit: int = -1) -> int:
        """Append a request's body; returns its length, ``SIZE_INVALID`` beyond ``limit``.

        While a thread writes one batch the next one arrives. When the body breaks off, what has
        arrived is kept and the error goes on.
        """
        loop = asyncio.get_running_loop()
        content = request.content
        writing: asyncio.Future[None] | None = None
        parts: list[bytes] = []
        gathered = total = 0
        try:
            while True:
                async with asyncio.timeout(IDLE):
                    part = await content.readany()
                if not part:
                    break
                parts.append(part)
                gathered += len(part)
                total += len(part)
                if 0 <= limit < total:
                    parts = []
                    raise errors.Failure(
                        "SIZE_INVALID", f"the body has more than the {limit} bytes announced"
                    )
                if gathered >= BATCH:
                    if writing is not None:
                        await writing
                    writing = loop.run_in_executor(self._pool, upload.append, parts)
                    parts, gathered = [], 0
        except TimeoutError:
            raise errors.Failure(
                "BLOB_UPLOAD_INVALID",
                f"nothing arrived for {IDLE:.0f} seconds; what did is kept",
                status=408,
            ) from None
        finally:
            # Shielded: the file is closed, and its lock given back, only after the last write.
            await asyncio.shield(self._rest(upload, writing, parts))
        return total

    async def _rest(
        self, upload: Upload, writing: asyncio.Future[None] | None, parts: list[bytes]
    ) -> None:
        if writing is not None:
            await writing
        if parts:
            loop = asyncio.get_running_loop()
            await loop.run_in_executor(self._pool, upload.append, parts)


def _gone(identity: str) -> errors.Failure:
    return errors.Failure(
        "BLOB_UPLOAD_UNKNOWN", f"upload {identity} is over: begin a new one", status=404
    )
