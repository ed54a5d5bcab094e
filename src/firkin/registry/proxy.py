"""A pull-through cache: what is not here is fetched from the upstream registry, and kept.

A tag is compared with the upstream when it was not for ``ttl`` seconds; while the upstream does not
answer, what is here is served on. Digests never change and are never asked for again. A blob is
sent to clients while it still arrives; its last bytes are held back until the whole is verified, so
that no client ever gets a complete blob that is wrong. Several clients share one download.
"""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import time
from collections.abc import Coroutine
from typing import Any

from aiohttp import web

from firkin import errdefs
from firkin.registry import core, errors, manifest, names, receive, upstream
from firkin.registry.index import blobs, cached, manifests

log = logging.getLogger(__name__)

HELD = 64 * 1024
"""Bytes of a blob that nobody gets before it is verified."""

_PIECE = 1 << 20
_USED = 3600.0  # seconds after which the use of something is noted again


class Download:
    """A blob on its way from the upstream into a file, and to those who read it meanwhile."""

    def __init__(self, path: str, size: int) -> None:
        self.size = size
        self.file = open(path, "rb", buffering=0)  # noqa: SIM115
        self.arrived = 0
        self.verified = False
        self.error: Exception | None = None
        self._news = asyncio.Event()

    def tell(self) -> None:
        """There is something new."""
        self._news.set()
        self._news = asyncio.Event()

    async def readable(self, offset: int) -> int:
        """How many bytes may be sent from ``offset`` on; waits until there are any."""
        while True:
            if self.error is not None:
                raise self.error
            limit = self.arrived if self.verified else min(self.arrived, self.size - HELD)
            if limit > offset:
                return limit - offset
            await self._news.wait()


class Proxy:
    """The cache of one worker process."""

    def __init__(self, registry: core.Registry) -> None:
        self._registry = registry
        self._settings = registry.config.proxy
        self._upstream = upstream.Upstream(self._settings)
        self._downloads: dict[str, asyncio.Task[Download]] = {}
        self._tasks: set[asyncio.Task[Any]] = set()

    async def close(self) -> None:
        """Give up what is under way."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._upstream.close()

    async def manifest(self, name: str, reference: str) -> None:
        """Have the manifest in the index, fresh if it can be; otherwise it is not there."""
        db = self._registry.db
        found = await db.read(manifests.find, name, reference)
        age = time.time() - await db.read(cached.checked, name, reference)
        if found is not None and age < (_USED if ":" in reference else self._settings.ttl):
            return
        if found is not None and ":" in reference:
            await db.note(cached.check, name, reference)
            return
        try:
            await self._refresh(name, reference, found)
        except errdefs.Unavailable as error:
            if found is None:
                raise
            log.warning("%s:%s is served from the cache: %s", name, reference, error)

    async def _refresh(self, name: str, reference: str, found: manifests.Stored | None) -> None:
        db = self._registry.db
        path = f"manifests/{reference}"
        if found is not None:
            async with self._upstream.ask("HEAD", name, path) as response:
                if response.headers.get("Docker-Content-Digest") == found.digest:
                    await db.note(cached.check, name, reference)
                    return
        async with self._upstream.ask("GET", name, path) as response:
            if response.status == 404:
                await db.write(cached.forget, name, reference)
                return
            if response.status != 200:
                raise errdefs.Unavailable(f"the upstream answered {response.status} for {name}")
            content = await _whole(response.content.read, manifest.LIMIT)
            kind = response.headers.get("Content-Type", "")
        parsed = manifest.parse(content, kind)
        algorithm = reference.partition(":")[0] if ":" in reference else names.CANONICAL
        digest = names.digest_of(content, algorithm)
        if ":" in reference and digest != reference:
            raise errdefs.Unavailable(f"the upstream sent {digest} instead of {reference}")
        tags = () if ":" in reference else (reference,)

        def store(c: Any) -> None:
            manifests.put(c, name, digest, parsed, content, tags, complete=False)
            cached.check(c, name, reference)

        await db.write(store)

    async def size(self, name: str, digest: str) -> int:
        """The size of a blob that is not here; ``BLOB_UNKNOWN`` if the upstream has it neither."""
        async with self._upstream.ask("HEAD", name, f"blobs/{digest}") as response:
            if response.status != 200:
                raise blobs.unknown(name, digest)
            return response.content_length or 0

    async def blob(self, name: str, digest: str) -> Download:
        """The download of a blob that is not here; begins it if nobody has."""
        key = f"{name}@{digest}"
        task = self._downloads.get(key)
        if task is None:
            task = self._spawn(self._begin(name, digest, key), f"begin {digest}")
            self._downloads[key] = task
        try:
            return await asyncio.shield(task)
        except BaseException:
            if task.done():
                self._downloads.pop(key, None)
            raise

    def _spawn(self, work: Coroutine[Any, Any, Any], name: str) -> asyncio.Task[Any]:
        task = asyncio.get_running_loop().create_task(work, name=name)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _begin(self, name: str, digest: str, key: str) -> Download:
        """Start the download; returns when its size is known."""
        started: asyncio.Future[Download] = asyncio.get_running_loop().create_future()
        self._spawn(self._fetch(name, digest, key, started), f"fetch {digest}")
        return await started

    async def _fetch(
        self, name: str, digest: str, key: str, started: asyncio.Future[Download]
    ) -> None:
        uploads = self._registry.uploads
        identity = f"fetch-{secrets.token_hex(16)}"
        download: Download | None = None
        try:
            uploads.create(identity)
            async with (
                uploads.open(identity, digest.partition(":")[0]) as upload,
                self._upstream.ask("GET", name, f"blobs/{digest}") as response,
            ):
                if response.status != 200 or response.content_length is None:
                    raise blobs.unknown(name, digest)
                download = Download(upload.path, response.content_length)
                started.set_result(download)
                await self._copy(response.content.readany, upload, download)
                found = await self._registry.run(upload.digest, upload.algorithm)
                if found != digest or upload.size != download.size:
                    raise errdefs.Unavailable(f"the upstream sent {found} instead of {digest}")
                await self._registry.adopt(upload.path, digest, upload.size, name)
                upload.hash = None
            download.verified = True
        except Exception as error:
            log.warning("%s of %s was not fetched: %s", digest, name, error)
            uploads.remove(identity)
            if download is not None:
                download.error = error
            elif not started.done():
                started.set_exception(error)
        finally:
            self._downloads.pop(key, None)
            if download is not None:
                if not download.verified and download.error is None:
                    download.error = errdefs.Unavailable("the registry is stopping")
                download.tell()

    async def _copy(self, readany: Any, upload: receive.Upload, download: Download) -> None:
        parts: list[bytes] = []
        gathered = 0
        while part := await readany():
            parts.append(part)
            gathered += len(part)
            if gathered >= receive.BATCH:
                await self._registry.run(upload.append, parts)
                parts, gathered = [], 0
                download.arrived = upload.size
                download.tell()
            if upload.size + gathered > download.size:
                raise errdefs.Unavailable("the upstream sends more than it announced")
        if parts:
            await self._registry.run(upload.append, parts)
        download.arrived = upload.size

    async def send(
        self, request: web.BaseRequest, response: web.StreamResponse, download: Download
    ) -> web.StreamResponse:
        """Send a blob while it arrives; breaks off if it turns out to be wrong."""
        try:
            await response.prepare(request)
            offset = 0
            while offset < download.size:
                length = min(_PIECE, await download.readable(offset))
                piece = await self._registry.run(os.pread, download.file.fileno(), length, offset)
                offset += len(piece)
                await response.write(piece)
            await response.write_eof()
        except (ConnectionError, errors.Failure, errdefs.FirkinError):
            if request.transport is not None:
                request.transport.abort()
        return response


async def _whole(read: Any, limit: int) -> bytes:
    data = bytearray()
    while part := await read(64 * 1024):
        data += part
        if len(data) > limit:
            raise errdefs.Unavailable(f"the upstream sent a manifest of more than {limit} bytes")
    return bytes(data)
