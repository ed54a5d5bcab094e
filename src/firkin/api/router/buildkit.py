"""The doors of BuildKit's protocol: ``POST /grpc`` and ``POST /session``, both hijacked."""

from __future__ import annotations

from aiohttp import web

from firkin import errdefs
from firkin.api import call, hijack, routes
from firkin.buildkit import session as sessions
from firkin.buildkit import transport


def doors(server: transport.Server, known: sessions.Sessions) -> routes.Routes:
    """The routes of one engine."""
    table = routes.Routes()

    @table.add("POST", "/grpc", stream=True)
    async def grpc(one: call.Call) -> web.StreamResponse:
        """The client calls us."""
        _check(one)
        connection = server.protocol()
        return await _serve(one, connection)

    @table.add("POST", "/session", stream=True)
    async def session(one: call.Call) -> web.StreamResponse:
        """We call the client."""
        _check(one)
        headers = one.request.headers
        methods = known.methods(headers.getall(sessions.METHOD_HEADER, []))
        async with known.opened(headers, methods) as opened:
            return await _serve(one, opened.channel.connection)

    return table


async def _serve(one: call.Call, connection: transport.Ended) -> web.StreamResponse:
    http = one.request.protocol
    taken = hijack.hand_over(one.request, connection, "h2c")
    try:
        await connection.over()
    finally:
        http.connection_lost(None)
    return taken


def _check(one: call.Call) -> None:
    headers = one.request.headers
    if headers.get("Upgrade", "").lower() != "h2c":
        raise errdefs.InvalidParameter(
            "this is a door for HTTP/2: ask with Connection: Upgrade and Upgrade: h2c"
        )
