"""Volumes."""

from __future__ import annotations

from aiohttp import web

from firkin.api import call, routes
from firkin.engine import filters, volumes
from firkin.types import base, volume
from firkin.volumes import service

ROUTES = routes.Routes()


@ROUTES.add("GET", "/volumes")
async def listing(one: call.Call) -> web.StreamResponse:
    """VolumeList."""
    wanted = filters.Filters.parse(one.text("filters"), volumes.FILTERS)
    found, warnings = await volumes.listing(one.core, wanted)
    return call.reply({"Volumes": [base.to_builtins(v) for v in found], "Warnings": warnings})


@ROUTES.add("POST", "/volumes/create")
async def create(one: call.Call) -> web.StreamResponse:
    """VolumeCreate."""
    request = await one.json_if_any(volume.CreateRequest) or volume.CreateRequest()
    return call.reply(await volumes.create(one.core, request), 201)


@ROUTES.add("POST", "/volumes/prune")
async def prune(one: call.Call) -> web.StreamResponse:
    """VolumePrune."""
    wanted = filters.Filters.parse(one.text("filters"), volumes.PRUNE_FILTERS)
    everything = one.version < (1, 42)
    return call.reply(await volumes.prune(one.core, wanted, everything=everything))


@ROUTES.add("GET", "/volumes/{name}")
async def inspect(one: call.Call) -> web.StreamResponse:
    """VolumeInspect."""
    return call.reply(await one.core.volumes.inspect(one.var("name")))


@ROUTES.add("DELETE", "/volumes/{name}")
async def remove(one: call.Call) -> web.StreamResponse:
    """VolumeDelete."""
    await volumes.remove(one.core, one.var("name"), force=one.flag("force"))
    return call.empty()


@ROUTES.add("GET", "/volumes/{name}/export", stream=True)
async def export(one: call.Call) -> web.StreamResponse:
    """A volume's files as a tar. Not in the Engine API."""
    pieces = volumes.export(one.core, one.var("name"))
    try:
        await anext(pieces)
        response = await call.begin(one, "application/x-tar")
        async for piece in pieces:
            await response.write(piece)
        await response.write_eof()
        return response
    finally:
        await pieces.aclose()


@ROUTES.add("PUT", "/volumes/{name}/import", stream=True)
async def import_archive(one: call.Call) -> web.StreamResponse:
    """A tar into a volume, which is made if there is none. Not in the Engine API."""
    request = volume.CreateRequest(driver=one.text("driver"))
    name = service.check_name(one.var("name"))
    return call.reply(await volumes.import_(one.core, name, one.stream(), request))


@ROUTES.add("POST", "/volumes/{name}/clone")
async def clone(one: call.Call) -> web.StreamResponse:
    """A copy of a volume under another name. Not in the Engine API."""
    return call.reply(await volumes.clone(one.core, one.var("name"), one.text("name")), 201)


@ROUTES.add("POST", "/volumes/{name}/rename")
async def rename(one: call.Call) -> web.StreamResponse:
    """Another name for a volume. Not in the Engine API."""
    return call.reply(await volumes.rename(one.core, one.var("name"), one.text("name")))
