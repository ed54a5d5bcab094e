"""``/v2/<name>/blobs/uploads/``: blobs on their way in, in one piece, in chunks, or by mounting."""

from __future__ import annotations

import re

from aiohttp import web

from firkin.registry import call, errors, names, receive
from firkin.registry.index import blobs, uploads

_RANGE = re.compile(r"(?:bytes )?([0-9]{1,19})-([0-9]{1,19})(?:/[0-9*]+)?")


def _created(one: call.Call, digest: str) -> web.Response:
    return web.Response(
        status=201,
        headers={"Location": one.location("blobs", digest), "Docker-Content-Digest": digest},
    )


def _progress(one: call.Call, identity: str, size: int, status: int) -> web.Response:
    return web.Response(
        status=status,
        headers={
            "Location": one.location("blobs", "uploads", identity),
            "Range": f"0-{max(size - 1, 0)}",
            "Docker-Upload-UUID": identity,
        },
    )


async def begin(one: call.Call) -> web.StreamResponse:
    """POST: mount a blob, or take it whole, or begin a session."""
    registry = one.registry
    mount, source = one.query("mount"), one.query("from")
    if mount and source:
        digest = names.digest(mount)
        names.name(source)
        readable = source == one.name or "pull" in one.allowed(source)
        if readable and await registry.db.write(blobs.mount, one.name, digest, source):
            return _created(one, digest)
    wanted = one.query("digest")
    algorithm = one.query("digest-algorithm") or names.CANONICAL
    if wanted:
        algorithm = names.digest(wanted).partition(":")[0]
    identity = await registry.begin_upload(one.name, names.algorithm(algorithm))
    if not wanted:
        return _progress(one, identity, 0, 202)
    try:
        return await _finish(one, identity, algorithm, wanted)
    except BaseException:
        await registry.cancel_upload(identity)  # nobody knows of it: nobody can go on with it
        raise


async def status(one: call.Call) -> web.StreamResponse:
    """GET: how much of an upload has arrived."""
    await one.registry.db.read(uploads.algorithm, one.last, one.name)
    return _progress(one, one.last, one.registry.uploads.size(one.last), 204)


async def patch(one: call.Call) -> web.StreamResponse:
    """PATCH: the next chunk, or a body without an end that is known beforehand."""
    registry = one.registry
    algorithm = await registry.db.read(uploads.algorithm, one.last, one.name)
    async with registry.uploads.open(one.last, algorithm) as upload:
        await _receive(one, upload)
        return _progress(one, one.last, upload.size, 202)


async def finish(one: call.Call) -> web.StreamResponse:
    """PUT: the last chunk, which may be empty or everything, and the digest of the whole."""
    digest = names.digest(one.query("digest"))
    algorithm = await one.registry.db.read(uploads.algorithm, one.last, one.name)
    return await _finish(one, one.last, algorithm, digest)


async def cancel(one: call.Call) -> web.StreamResponse:
    """DELETE: what has arrived is dropped."""
    await one.registry.db.read(uploads.algorithm, one.last, one.name)
    await one.registry.cancel_upload(one.last)
    return web.Response(status=204)


async def _finish(one: call.Call, identity: str, algorithm: str, digest: str) -> web.StreamResponse:
    async with one.registry.uploads.open(identity, algorithm) as upload:
        await _receive(one, upload)
        await one.registry.commit_upload(upload, one.name, digest)
        return _created(one, digest)


async def _receive(one: call.Call, upload: receive.Upload) -> None:
    length = one.request.content_length
    if text := one.header("Content-Range"):
        match = _RANGE.fullmatch(text.strip())
        if match is None:
            raise errors.Failure(
                "BLOB_UPLOAD_INVALID", f"Content-Range {text[:100]!r} is not <first>-<last>"
            )
        first, last = int(match[1]), int(match[2])
        if first != upload.size:
            progress = _progress(one, upload.identity, upload.size, 416)
            raise errors.Failure(
                "RANGE_INVALID",
                f"the chunk begins at byte {first}, the upload has {upload.size} bytes",
                headers=dict(progress.headers),
            )
        # curl and others send an empty last chunk as "N-N" or "N-(N-1)".
        if length and last - first + 1 != length:
            raise errors.Failure(
                "SIZE_INVALID",
                f"Content-Range {text!r} means {last - first + 1} bytes, the body has {length}",
            )
    await one.registry.uploads.receive(upload, one.request)
