"""Networks: the predefined ones."""

from __future__ import annotations

from aiohttp import web

from firkin import errdefs
from firkin.api import call, routes
from firkin.engine import filters
from firkin.types import base, network

ROUTES = routes.Routes()
FILTERS = frozenset({"dangling", "driver", "id", "label", "name", "scope", "type"})


@ROUTES.add("GET", "/networks")
async def listing(one: call.Call) -> web.StreamResponse:
    """NetworkList."""
    wanted = filters.Filters.parse(one.text("filters"), FILTERS)
    kinds = wanted.get("type")
    found = [
        base.to_builtins(item)
        for item in one.core.network.networks()
        if wanted.matches("name", item.name)
        and wanted.prefix("id", item.id)
        and wanted.exact("driver", item.driver)
        and wanted.exact("scope", item.scope)
        and wanted.labels(item.labels)
        and (not kinds or "builtin" in kinds)
        and not wanted.flag("dangling")
    ]
    return call.reply(found)


@ROUTES.add("POST", "/networks/create")
async def create(one: call.Call) -> web.StreamResponse:
    """NetworkCreate."""
    body = await one.json(dict)
    name = body.get("Name")
    if not isinstance(name, str) or not name:
        raise errdefs.InvalidParameter("a network needs a Name")
    made = await one.core.network.create(network.Network(name=name, id=""))
    return call.reply({"Id": made.id, "Warning": ""}, 201)


@ROUTES.add("POST", "/networks/prune")
async def prune(one: call.Call) -> web.StreamResponse:
    """NetworkPrune: the predefined networks are never pruned."""
    filters.Filters.parse(one.text("filters"), frozenset({"label", "label!", "until"}))
    return call.reply({"NetworksDeleted": None})


@ROUTES.add("POST", "/networks/{id}/connect")
async def connect(one: call.Call) -> web.StreamResponse:
    """NetworkConnect."""
    raise errdefs.NotImplemented(
        f"network {one.var('id')}: connecting a container after its creation is not supported by "
        "this version: choose its network with --network"
    )


@ROUTES.add("POST", "/networks/{id}/disconnect")
async def disconnect(one: call.Call) -> web.StreamResponse:
    """NetworkDisconnect."""
    raise errdefs.NotImplemented(
        f"network {one.var('id')}: disconnecting a container is not supported by this version"
    )


@ROUTES.add("GET", "/networks/{id}")
async def inspect(one: call.Call) -> web.StreamResponse:
    """NetworkInspect."""
    names = {container.id: container.name for container in one.core.containers}
    return call.reply(one.core.network.inspect(one.var("id"), names))


@ROUTES.add("DELETE", "/networks/{id}")
async def remove(one: call.Call) -> web.StreamResponse:
    """NetworkDelete."""
    await one.core.network.remove(one.var("id"))
    return call.empty()
