"""Registries: logging in, looking at what they have, searching."""

from __future__ import annotations

import msgspec
from aiohttp import web

from firkin import errdefs
from firkin.api import call, pulls, routes
from firkin.engine import filters
from firkin.images import filters as known
from firkin.remotes import auth
from firkin.types import base

ROUTES = routes.Routes()

_SEARCH = frozenset({"is-automated", "is-official", "stars"})
_MOST = 100


@ROUTES.add("POST", "/auth")
async def login(one: call.Call) -> web.StreamResponse:
    """SystemAuth."""
    values = await one.json(dict[str, object])
    address = values.get("serveraddress")
    identity = await one.core.images.registries.login(
        address if isinstance(address, str) else "", auth.from_config(values)
    )
    return call.reply({"Status": "Login Succeeded", "IdentityToken": identity})


@ROUTES.add("GET", "/distribution/{name...}/json")
async def describe(one: call.Call) -> web.StreamResponse:
    """DistributionInspect."""
    found = await one.core.images.registries.describe(one.var("name"), pulls.credentials(one))
    return call.reply(found)


@ROUTES.add("GET", "/images/search")
async def search(one: call.Call) -> web.StreamResponse:
    """ImageSearch."""
    term = one.text("term").strip()
    if not term:
        raise errdefs.InvalidParameter("invalid search term: give a word to search for")
    limit = one.number("limit", 25) or 25
    if not 1 <= limit <= _MOST:
        raise errdefs.InvalidParameter(f"limit {limit} is outside the range of [1, {_MOST}]")
    wanted = filters.Filters.parse(one.text("filters"), _SEARCH).values
    official = known.flag(wanted, "is-official")
    automated = known.flag(wanted, "is-automated")
    stars = [_stars(text) for text in wanted.get("stars", ())]
    results = await one.core.images.registries.search(term, limit, pulls.credentials(one))
    return call.reply(
        [
            base.to_builtins(result)
            for result in results
            if (official is None or result.is_official == official)
            and (automated is None or result.is_automated == automated)
            and all(result.star_count >= least for least in stars)
        ]
    )


def _stars(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) < 10):
        raise errdefs.InvalidParameter(f"invalid filter 'stars={text[:50]}': it is a number")
    return int(text)


class _Mount(base.Wire):
    name: str
    from_: str = msgspec.field(name="From")
    digests: list[str]


@ROUTES.add("GET", "/firkin/manifests")
async def manifest(one: call.Call) -> web.StreamResponse:
    """A manifest or index as its registry has it (an operation of this engine's own)."""
    found = await one.core.images.registries.manifest(one.text("name"), pulls.credentials(one))
    return web.Response(
        body=found.data,
        content_type=found.media_type,
        headers={"Docker-Content-Digest": found.digest},
    )


@ROUTES.add("PUT", "/firkin/manifests")
async def put_manifest(one: call.Call) -> web.StreamResponse:
    """Write the body as a manifest (an operation of this engine's own)."""
    media = one.request.headers.get("Content-Type", "")
    digest = await one.core.images.registries.put_manifest(
        one.text("name"), media, await one.body(), pulls.credentials(one)
    )
    return call.reply({"Digest": digest}, 201)


@ROUTES.add("POST", "/firkin/blobs/mount")
async def mount(one: call.Call) -> web.StreamResponse:
    """Mount blobs from one repository in another (an operation of this engine's own)."""
    wanted = await one.json(_Mount)
    missing = await one.core.images.registries.mount(
        wanted.name, wanted.digests, wanted.from_, pulls.credentials(one)
    )
    return call.reply({"Missing": missing})
