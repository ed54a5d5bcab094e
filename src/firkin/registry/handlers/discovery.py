"""What there is: tags, referrers, repositories."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from firkin.registry import call, manifest, names
from firkin.registry.index import manifests, repositories, tags

_PAGE = 100
_LARGEST = 10_000


async def version(one: call.Call) -> web.StreamResponse:
    """GET /v2/: this is a registry, and the caller may use it."""
    return call.json({})


async def tag_list(one: call.Call) -> web.StreamResponse:
    """GET /v2/<name>/tags/list: in the order of their bytes."""
    limit = one.count(_LARGEST, -1)
    last = one.query("last")
    ask = limit + 1 if limit > 0 else limit
    found = await one.registry.db.read(tags.listing, one.name, last, ask)
    headers = {}
    if 0 < limit < len(found):
        found = found[:limit]
        headers = call.next_link(one.location("tags", "list"), n=limit, last=found[-1])
    return call.json({"name": one.name, "tags": found}, headers)


async def referrers(one: call.Call) -> web.StreamResponse:
    """GET /v2/<name>/referrers/<digest>: an index of what has this digest as its subject."""
    subject = names.digest(one.last)
    wanted, last = one.query("artifactType"), one.query("last")
    limit = one.count(_PAGE * 10, _PAGE * 10) or _PAGE * 10
    found = await one.registry.db.read(
        manifests.referrers, one.name, subject, wanted, last, limit + 1
    )
    headers = {"OCI-Filters-Applied": "artifactType"} if wanted else {}
    if len(found) > limit:
        found = found[:limit]
        parameters = {"n": limit, "last": found[-1].digest}
        if wanted:
            parameters["artifactType"] = wanted
        headers |= call.next_link(one.location("referrers", subject), **parameters)
    index = {
        "schemaVersion": 2,
        "mediaType": manifest.OCI_INDEX,
        "manifests": [_descriptor(item) for item in found],
    }
    return call.json(index, headers, manifest.OCI_INDEX)


def _descriptor(item: manifests.Stored) -> dict[str, Any]:
    made: dict[str, Any] = {
        "mediaType": item.media_type,
        "digest": item.digest,
        "size": item.size,
    }
    if item.artifact_type:
        made["artifactType"] = item.artifact_type
    if annotations := manifest.decode(item.content).annotations:
        made["annotations"] = annotations
    return made


async def catalog(one: call.Call) -> web.StreamResponse:
    """GET /v2/_catalog: Docker's list of repositories, of those that the caller may pull."""
    limit = one.count(_LARGEST, _PAGE)
    identity = await one.access.whole(one.identity)
    last = one.query("last")
    found: list[str] = []
    while len(found) <= limit:
        page = await one.registry.db.read(repositories.listing, last, _PAGE)
        if not page:
            break
        found += [name for name in page if "pull" in identity.allowed(name)]
        last = page[-1]
    headers = {}
    if 0 < limit < len(found):
        headers = call.next_link("/v2/_catalog", n=limit, last=found[limit - 1])
    return call.json({"repositories": found[:limit]}, headers)
