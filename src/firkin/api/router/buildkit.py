"""The doors of BuildKit's protocol: ``POST /grpc`` and ``POST /session``, both hijacked.

What is behind them is made, and its libraries are loaded, when the first client knocks.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from aiohttp import web

from firkin import errdefs
from firkin.api import call, hijack, routes

if TYPE_CHECKING:
    from firkin.buildkit import service, transport


def doors(make: Callable[[], service.Doors]) -> routes.Routes:
    """The routes of one engine; ``make`` is called once, when it is needed."""
    table = routes.Routes()
    made: list[service.Doors] = []

    def behind() -> service.Doors:
        if not made:
            made.append(make())
        return made[0]

    @table.add("POST", "/grpc", stream=True)
    async def grpc(one: call.Call) -> web.StreamResponse:
        """The client calls us."""
        _check(one)
        return await _serve(one, behind().server.protocol())

    @table.add("POST", "/session", stream=True)
    async def session(one: call.Call) -> web.StreamResponse:
        """We call the client."""
        _check(one)
        async with behind().sessions.announced(one.request.headers) as opened:
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
    asked = headers.get("Upgrade", "")
    if asked.lower() != "h2c":
        what = f"protocol {asked[:80]} not supported" if asked else "no upgrade protocol specified"
        raise errdefs.InvalidParameter(
            f"{what}: this is a door for HTTP/2: ask with Connection: Upgrade and Upgrade: h2c"
        )
