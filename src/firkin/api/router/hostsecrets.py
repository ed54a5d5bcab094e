"""Secrets of this host."""

from __future__ import annotations

from aiohttp import web

from firkin import errdefs
from firkin.api import call, routes
from firkin.engine import filters, secretstore
from firkin.engine.containers import secretfiles
from firkin.types import base, secret

ROUTES = routes.Routes()


@ROUTES.add("GET", "/secrets")
async def listing(one: call.Call) -> web.StreamResponse:
    """SecretList."""
    wanted = filters.Filters.parse(one.text("filters"), secretstore.FILTERS)
    found = one.core.secrets.listing(wanted)
    return call.reply([base.to_builtins(secretstore.describe(item)) for item in found])


@ROUTES.add("POST", "/secrets/create")
async def create(one: call.Call) -> web.StreamResponse:
    """SecretCreate."""
    made = await one.core.secrets.create(await one.json(secret.Spec))
    one.core.events.publish("secret", "create", made, {"name": one.core.secrets.get(made).name})
    return call.reply({"ID": made}, 201)


@ROUTES.add("GET", "/secrets/{id}")
async def inspect(one: call.Call) -> web.StreamResponse:
    """SecretInspect."""
    return call.reply(secretstore.describe(one.core.secrets.get(one.var("id"))))


@ROUTES.add("DELETE", "/secrets/{id}")
async def remove(one: call.Call) -> web.StreamResponse:
    """SecretDelete."""
    found = one.core.secrets.get(one.var("id"))
    if users := secretfiles.users(one.core, found.id):
        raise errdefs.Conflict(
            f"secret {found.name} is in use by {', '.join(users)}: remove those containers first"
        )
    await one.core.secrets.remove(found.id)
    one.core.events.publish("secret", "remove", found.id, {"name": found.name})
    return call.empty()


@ROUTES.add("POST", "/secrets/{id}/update")
async def update(one: call.Call) -> web.StreamResponse:
    """SecretUpdate."""
    version = one.number("version", 0) or 0
    await one.core.secrets.update(one.var("id"), version, await one.json(secret.Spec))
    return web.Response(status=200)
