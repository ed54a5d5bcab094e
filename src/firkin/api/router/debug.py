"""``/debug``: what the engine is doing. Not of the Engine API, and there only with ``--debug``."""

from __future__ import annotations

import gc

from aiohttp import web

from firkin import errdefs
from firkin.api import call, routes
from firkin.engine import stacks

ROUTES = routes.Routes()


def _check(one: call.Call) -> None:
    if not one.core.config.debug:
        raise errdefs.NotFound("page not found")


@ROUTES.add("GET", "/debug/vars")
async def variables(one: call.Call) -> web.StreamResponse:
    """Numbers of memory, tasks, threads and descriptors."""
    _check(one)
    return call.reply(stacks.variables())


@ROUTES.add("GET", "/debug/tasks")
async def tasks(one: call.Call) -> web.StreamResponse:
    """The stack of each task."""
    _check(one)
    return web.Response(text=stacks.tasks())


@ROUTES.add("GET", "/debug/threads")
async def threads(one: call.Call) -> web.StreamResponse:
    """The stack of each thread."""
    _check(one)
    return web.Response(text=stacks.threads())


@ROUTES.add("POST", "/debug/gc")
async def collect(one: call.Call) -> web.StreamResponse:
    """Collect garbage now; how many objects were unreachable."""
    _check(one)
    return call.reply({"unreachable": gc.collect()})
