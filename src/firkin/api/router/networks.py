"""Networks."""

from __future__ import annotations

from aiohttp import web

from firkin import errdefs
from firkin.api import call, routes
from firkin.engine import filters, networks
from firkin.types import container, network

ROUTES = routes.Routes()


@ROUTES.add("GET", "/networks")
async def listing(one: call.Call) -> web.StreamResponse:
    """NetworkList."""
    wanted = filters.Filters.parse(one.text("filters"), networks.FILTERS)
    return call.reply(networks.listing(one.core, wanted))


@ROUTES.add("POST", "/networks/create")
async def create(one: call.Call) -> web.StreamResponse:
    """NetworkCreate."""
    request = await one.json(network.CreateRequest)
    if one.version < (1, 47):  # which had no such member
        request.enable_ipv4 = None
    made = await networks.create(one.core, request)
    return call.reply({"Id": made, "Warning": ""}, 201)


@ROUTES.add("POST", "/networks/prune")
async def prune(one: call.Call) -> web.StreamResponse:
    """NetworkPrune."""
    wanted = filters.Filters.parse(one.text("filters"), networks.PRUNE_FILTERS)
    return call.reply(await networks.prune(one.core, wanted))


@ROUTES.add("POST", "/networks/reload")
async def reload(one: call.Call) -> web.StreamResponse:
    """Firkin's own: put the firewall's rules back."""
    await one.core.network.reload()
    return call.empty()


@ROUTES.add("GET", "/firkin/exposure")
async def exposure(one: call.Call) -> web.StreamResponse:
    """Firkin's own: by which addresses published ports are reached."""
    return call.reply(await one.core.network.exposure())


@ROUTES.add("POST", "/networks/{id}/connect")
async def connect(one: call.Call) -> web.StreamResponse:
    """NetworkConnect."""
    request = await one.json(container.ConnectRequest)
    if not request.container:
        raise errdefs.InvalidParameter("the request names no Container to connect")
    await networks.connect(one.core, one.var("id"), request.container, request.endpoint_config)
    return call.empty(200)


@ROUTES.add("POST", "/networks/{id}/disconnect")
async def disconnect(one: call.Call) -> web.StreamResponse:
    """NetworkDisconnect."""
    request = await one.json(network.DisconnectRequest)
    if not request.container:
        raise errdefs.InvalidParameter("the request names no Container to disconnect")
    await networks.disconnect(one.core, one.var("id"), request.container, force=request.force)
    return call.empty(200)


@ROUTES.add("GET", "/networks/{id}")
async def inspect(one: call.Call) -> web.StreamResponse:
    """NetworkInspect."""
    status = one.version >= (1, 52)
    shown = networks.inspect(one.core, one.var("id"), status=status)
    if one.given("scope") and one.text("scope") != shown["Scope"]:
        raise errdefs.NotFound(
            f"network {one.var('id')} not found in scope {one.text('scope')}: its scope is "
            f"{shown['Scope']}"
        )
    return call.reply(shown)


@ROUTES.add("DELETE", "/networks/{id}")
async def remove(one: call.Call) -> web.StreamResponse:
    """NetworkDelete."""
    await networks.remove(one.core, one.var("id"))
    return call.empty()
