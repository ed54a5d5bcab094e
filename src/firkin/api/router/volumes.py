"""Volumes."""

from __future__ import annotations

from typing import Any

from aiohttp import web

from firkin.api import call, routes
from firkin.engine import filters, volumes
from firkin.types import base, volume

ROUTES = routes.Routes()


@ROUTES.add("GET", "/volumes")
async def listing(one: call.Call) -> web.StreamResponse:
    """VolumeList."""
    wanted = filters.Filters.parse(one.text("filters"), volumes.FILTERS)
    found: list[Any] = [base.to_builtins(v) for v in volumes.listing(one.core, wanted)]
    return call.reply({"Volumes": found, "Warnings": []})


@ROUTES.add("POST", "/volumes/create")
async def create(one: call.Call) -> web.StreamResponse:
    """VolumeCreate."""
    request = await one.json(volume.CreateRequest, optional=True)
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
    record = one.core.volumes.get(one.var("name"))
    return call.reply(one.core.volumes.describe(record))


@ROUTES.add("DELETE", "/volumes/{name}")
async def remove(one: call.Call) -> web.StreamResponse:
    """VolumeDelete."""
    await volumes.remove(one.core, one.var("name"), force=one.flag("force"))
    return call.empty()
