"""Execs."""

from __future__ import annotations

from aiohttp import web

from firkin import errdefs
from firkin.api import call, hijack, routes, status
from firkin.api.router import containers
from firkin.engine.containers import execs
from firkin.types import container

ROUTES = routes.Routes()


@ROUTES.add("POST", "/containers/{id}/exec")
async def create(one: call.Call) -> web.StreamResponse:
    """ContainerExec."""
    request = await one.json(container.ExecCreateRequest)
    subject = one.core.containers.get(one.var("id"))
    session = execs.create(one.core, subject, request)
    return call.reply({"Id": session.id}, 201)


@ROUTES.add("POST", "/exec/{id}/start", stream=True)
async def start(one: call.Call) -> web.StreamResponse:
    """ExecStart."""
    request = await one.json_if_any(container.ExecStartRequest) or container.ExecStartRequest()
    session = execs.get(one.core, one.var("id"))
    execs.claim(session)
    if request.detach:
        await execs.start(one.core, session, None, size=request.console_size)
        return web.Response(status=200)
    raw = request.tty
    connection = hijack.Connection(one.request)
    await connection.take(hijack.RAW if raw or one.version < (1, 42) else hijack.MULTIPLEXED)
    try:
        await execs.start(one.core, session, connection, size=request.console_size, raw=raw)
    except errdefs.FirkinError as error:
        connection.write(execs.failure_text(status.of(error)[1], raw=raw))
    finally:
        taken = connection.close()
    return taken


@ROUTES.add("POST", "/exec/{id}/resize")
async def resize(one: call.Call) -> web.StreamResponse:
    """ExecResize."""
    rows, columns = containers.size(one)
    await execs.resize(execs.get(one.core, one.var("id")), rows, columns)
    return web.Response(status=200)


@ROUTES.add("GET", "/exec/{id}/json")
async def inspect(one: call.Call) -> web.StreamResponse:
    """ExecInspect."""
    return call.reply(execs.describe(execs.get(one.core, one.var("id"))))
