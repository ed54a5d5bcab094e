"""SystemPing, SystemInfo, SystemVersion, SystemDataUsage and SystemEvents."""

from __future__ import annotations

import functools

from aiohttp import web

from firkin import errdefs
from firkin.api import call, older, routes
from firkin.engine import check, diskusage, filters, quota, system, times
from firkin.types import base, event

ROUTES = routes.Routes()

_KINDS = frozenset({"container", "image", "volume", "build-cache"})


def _ping(one: call.Call, body: bytes) -> web.Response:
    headers = {
        "Builder-Version": "2" if one.core.config.features.get("buildkit", True) else "1",
        "Swarm": "inactive",
        "Cache-Control": "no-cache, no-store, must-revalidate",
        "Pragma": "no-cache",
    }
    return web.Response(body=body, content_type="text/plain", charset="utf-8", headers=headers)


@ROUTES.add("GET", "/_ping")
async def ping(one: call.Call) -> web.StreamResponse:
    """SystemPing."""
    return _ping(one, b"OK")


@ROUTES.add("HEAD", "/_ping")
async def ping_head(one: call.Call) -> web.StreamResponse:
    """SystemPingHead."""
    return _ping(one, b"")


@ROUTES.add("GET", "/info")
async def info(one: call.Call) -> web.StreamResponse:
    """SystemInfo."""
    return call.reply(older.info(await system.info(one.core), one.version))


@ROUTES.add("GET", "/version")
async def version(one: call.Call) -> web.StreamResponse:
    """SystemVersion."""
    return call.reply(await system.version(one.core))


@ROUTES.add("GET", "/system/df")
async def disk_usage(one: call.Call) -> web.StreamResponse:
    """SystemDataUsage."""
    kinds = set(one.texts("type"))
    if unknown := kinds - _KINDS:
        raise errdefs.InvalidParameter(
            f"unknown object type: {', '.join(sorted(unknown))}: use {', '.join(sorted(_KINDS))}"
        )
    found = await diskusage.shown(one.core, kinds=kinds, version=one.version)
    if (root := found.get("DataRoot")) is not None:
        now = await quota.state(one.core, root["Size"])
        root.update(quota.describe(now) if now is not None else {})
    return call.reply(older.disk_usage(found, one.version, verbose=one.flag("verbose")))


@functools.lru_cache(64)
def _text(message: event.Message, old: bool) -> bytes:
    """An event as a line of JSON: made once for all who listen."""
    shown = base.to_builtins(message)
    if old and message.type in ("container", "image"):
        shown["status"] = message.action
        if message.actor.id:
            shown["id"] = message.actor.id
        if "image" in message.actor.attributes:
            shown["from"] = message.actor.attributes["image"]
    return base.encode(shown) + b"\n"


@ROUTES.add("GET", "/events", stream=True)
async def events(one: call.Call) -> web.StreamResponse:
    """SystemEvents."""
    wanted = filters.Filters.parse(one.text("filters"), system.EVENT_FILTERS)
    since = times.parse(one.text("since"), "since") if one.given("since") else None
    until = times.parse(one.text("until"), "until") if one.given("until") else None
    found = system.events(one.core, wanted, since=since, until=until)
    accepted = one.request.headers.get("Accept", "")
    sequence = "application/json-seq" in accepted
    kind = (
        "application/json-seq"
        if sequence
        else next(
            (k for k in ("application/x-ndjson", "application/jsonl") if k in accepted),
            "application/json",
        )
    )
    response = await call.begin(one, kind)
    old = one.version < (1, 52)
    async for message in found:
        if one.version < (1, 46) and (message.type, message.action) == ("image", "create"):
            continue
        await response.write((b"\x1e" if sequence else b"") + _text(message, old))
    await response.write_eof()
    return response


@ROUTES.add("POST", "/system/check")
async def compare(one: call.Call) -> web.StreamResponse:
    """Firkin's own: what the engine believes against what is there; ``repair=1``, ``deep=1``."""
    found = await check.check(one.core, repair=one.flag("repair"), deep=one.flag("deep"))
    return call.reply({"Differences": [difference.describe() for difference in found]})
