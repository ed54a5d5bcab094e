"""What containers may use, and what they do use: update and statistics."""

from __future__ import annotations

from aiohttp import web

from firkin.api import call, routes
from firkin.engine.containers import stats, update
from firkin.types import update as update_types

ROUTES = routes.Routes()


@ROUTES.add("POST", "/containers/{id}/update")
async def update_container(one: call.Call) -> web.StreamResponse:
    """ContainerUpdate."""
    request = await one.json(update_types.UpdateRequest)
    subject = one.core.containers.get(one.var("id"))
    warnings = await update.update(one.core, subject, request)
    return call.reply(update_types.UpdateResponse(warnings=warnings))


@ROUTES.add("GET", "/containers/{id}/stats", stream=True)
async def container_stats(one: call.Call) -> web.StreamResponse:
    """ContainerStats."""
    core = one.core
    subject = core.containers.get(one.var("id"))
    stream, one_shot = one.flag("stream", default=True), one.flag("one-shot")
    stats.check(stream=stream, one_shot=one_shot)
    if not stream:
        sample = core.stats.once if one_shot else core.stats.compared
        return web.Response(body=await sample(core, subject), content_type="application/json")
    response = await call.begin(one)
    async for text in core.stats.stream(core, subject):
        await response.write(text)
    await response.write_eof()
    return response
