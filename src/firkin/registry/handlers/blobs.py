"""``/v2/<name>/blobs/<digest>``."""

from __future__ import annotations

from aiohttp import web

from firkin.registry import call, errors, names, proxy, send
from firkin.registry.index import blobs

_FOREVER = "max-age=31536000, immutable"


async def get(one: call.Call) -> web.StreamResponse:
    """GET and HEAD: the blob, or the range of it that is asked for."""
    registry = one.registry
    digest = names.digest(one.last)
    try:
        found = await registry.blob(one.name, digest)
    except errors.Failure:
        if one.proxy is None:
            raise
        return await _fetched(one, one.proxy, digest)
    headers = {
        "Docker-Content-Digest": digest,
        "Content-Type": "application/octet-stream",
        "Accept-Ranges": "bytes",
        "ETag": f'"{digest}"',
        "Cache-Control": _FOREVER,
    }
    if one.header("If-None-Match") == headers["ETag"]:
        return web.Response(status=304, headers=headers)
    wanted = one.header("Range")
    if one.header("If-Range") not in ("", headers["ETag"]):
        wanted = ""
    part = send.interval(wanted, found.size)
    headers["Content-Length"] = str(part.length)
    if part.partial:
        end = part.start + part.length - 1
        headers["Content-Range"] = f"bytes {part.start}-{end}/{found.size}"
    response = web.StreamResponse(status=206 if part.partial else 200, headers=headers)
    if one.head:
        await response.prepare(one.request)
        await response.write_eof()
        return response
    if seconds := registry.config.s3.redirect:
        place = await registry.run(registry.storage.url, digest, seconds)
        if place:
            return web.Response(
                status=307,
                headers={"Location": place, "Docker-Content-Digest": digest,
                         "Cache-Control": "no-store"},
            )  # fmt: skip
    reader = await registry.run(registry.storage.open, digest, part.start, part.length)
    return await send.send(one.request, response, reader, part, registry.pool)


async def _fetched(one: call.Call, cache: proxy.Proxy, digest: str) -> web.StreamResponse:
    """A blob that a cache does not have yet."""
    if one.head:
        size = await cache.size(one.name, digest)
    else:
        download = await cache.blob(one.name, digest)
        size = download.size
    headers = {
        "Docker-Content-Digest": digest,
        "Content-Type": "application/octet-stream",
        "Content-Length": str(size),
        "ETag": f'"{digest}"',
    }
    response = web.StreamResponse(headers=headers)
    if not one.head:
        return await cache.send(one.request, response, download)
    await response.prepare(one.request)
    await response.write_eof()
    return response


async def delete(one: call.Call) -> web.StreamResponse:
    """DELETE: the repository no longer has it; its bytes go when no repository has them."""
    digest = names.digest(one.last)
    await one.registry.db.write(blobs.unlink, one.name, digest)
    return web.Response(status=202, headers={"Docker-Content-Digest": digest})
