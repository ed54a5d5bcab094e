"""``/v2/<name>/manifests/<reference>``."""

from __future__ import annotations

import sqlite3

from aiohttp import web

from firkin.registry import call, errors, manifest, names, notify
from firkin.registry.index import manifests, tags

_MAX_TAGS = 100


async def get(one: call.Call) -> web.StreamResponse:
    """GET and HEAD: the manifest exactly as it was pushed."""
    reference = names.reference(one.last)
    if one.proxy is not None:
        await one.proxy.manifest(one.name, reference)
    found = await one.registry.db.read(manifests.get, one.name, reference)
    headers = {
        "Docker-Content-Digest": found.digest,
        "Content-Type": found.media_type,
        "ETag": f'"{found.digest}"',
    }
    if one.header("If-None-Match") in (headers["ETag"], found.digest):
        return web.Response(status=304, headers=headers)
    if one.head:
        headers["Content-Length"] = str(found.size)
        return web.Response(headers=headers)
    return web.Response(body=found.content, headers=headers)


async def put(one: call.Call) -> web.StreamResponse:
    """PUT: check it, store it, and let the tag stand for it."""
    reference = names.reference(one.last)
    more = tuple(one.request.query.getall("tag", ()))
    if len(more) > _MAX_TAGS:
        raise errors.Failure("TAG_INVALID", f"more than {_MAX_TAGS} tags at once", status=414)
    for tag in more:
        if not names.is_tag(tag):
            raise errors.Failure("TAG_INVALID", f"{tag[:200]!r} is not a tag")
    content = await _body(one.request)
    parsed = manifest.parse(content, one.header("Content-Type"))
    by_digest = ":" in reference
    wanted = reference if by_digest else one.query("digest")
    algorithm = names.digest(wanted).partition(":")[0] if wanted else names.CANONICAL
    digest = names.digest_of(content, algorithm)
    if wanted and digest != wanted:
        raise errors.Failure(
            "DIGEST_INVALID",
            f"the manifest has the digest {digest}, not {wanted}",
            detail={"digest": wanted, "found": digest},
        )
    named = more if by_digest else (reference, *more)

    def store(c: sqlite3.Connection) -> None:
        manifests.put(c, one.name, digest, parsed, content, named)
        size = len(content)
        notify.queue(
            c, one,
            *(
                notify.Event("push", one.name, digest, tag, parsed.media_type, size)
                for tag in named or ("",)
            ),
        )  # fmt: skip

    await one.registry.db.write(store)
    response = web.Response(
        status=201,
        headers={
            "Location": one.location("manifests", digest),
            "Docker-Content-Digest": digest,
        },
    )
    if parsed.subject:
        response.headers["OCI-Subject"] = parsed.subject
    for tag in more:
        response.headers.add("OCI-Tag", tag)
    return response


async def delete(one: call.Call) -> web.StreamResponse:
    """DELETE: a tag alone, or a manifest with the tags that stand for it."""
    reference = names.reference(one.last)

    def remove(c: sqlite3.Connection) -> None:
        if ":" in reference:
            manifests.delete(c, one.name, reference)
            notify.queue(c, one, notify.Event("delete", one.name, reference))
        else:
            tags.delete(c, one.name, reference)
            notify.queue(c, one, notify.Event("delete", one.name, "", reference))

    await one.registry.db.write(remove)
    return web.Response(status=202)


async def _body(request: web.BaseRequest) -> bytes:
    content = bytearray()
    announced = request.content_length or 0
    while announced <= manifest.LIMIT:
        part = await request.content.readany()
        if not part:
            return bytes(content)
        content += part
        announced = max(announced, len(content))
    raise errors.Failure(
        "MANIFEST_INVALID", f"a manifest may have {manifest.LIMIT} bytes", status=413
    )
