"""What containers may use, and what they do use: update and statistics."""

from __future__ import annotations

from aiohttp import web

from firkin.api import call, routes
from firkin.engine.containers import update
from firkin.types import update as update_types

ROUTES = routes.Routes()


@ROUTES.add("POST", "/containers/{id}/update")
async def update_container(one: call.Call) -> web.StreamResponse:
    """ContainerUpdate."""
    subject = one.core.containers.get(one.var("id"))
    request = await one.json(update_types.UpdateRequest)
    warnings = await update.update(one.core, subject, request)
    return call.reply(update_types.UpdateResponse(warnings=warnings))
