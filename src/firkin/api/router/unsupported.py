"""Operations of the Engine API that this version does not have, each answered with the reason."""

from __future__ import annotations

from aiohttp import web

from firkin import errdefs
from firkin.api import call, routes

ROUTES = routes.Routes()

_OPERATIONS = {
    "managed plugins": [
        "GET /plugins/privileges", "POST /plugins/pull", "POST /plugins/create",
    ],
}  # fmt: skip
_OF_ONE_PLUGIN = [
    "GET /plugins/{name...}/json", "DELETE /plugins/{name...}",
    "POST /plugins/{name...}/enable", "POST /plugins/{name...}/disable",
    "POST /plugins/{name...}/upgrade", "POST /plugins/{name...}/push",
    "POST /plugins/{name...}/set",
]  # fmt: skip
_SWARM = [
    "PUT /volumes/{name}",  # cluster volumes alone can be changed
    "GET /swarm", "POST /swarm/init", "POST /swarm/join", "POST /swarm/leave",
    "POST /swarm/update", "GET /swarm/unlockkey", "POST /swarm/unlock",
    "GET /nodes", "GET /nodes/{id}", "DELETE /nodes/{id}", "POST /nodes/{id}/update",
    "GET /services", "POST /services/create", "GET /services/{id}", "DELETE /services/{id}",
    "POST /services/{id}/update", "GET /services/{id}/logs",
    "GET /tasks", "GET /tasks/{id}", "GET /tasks/{id}/logs",
    "GET /configs", "POST /configs/create", "GET /configs/{id}", "DELETE /configs/{id}",
    "POST /configs/{id}/update",
]  # fmt: skip


def _refuse(what: str) -> routes.Handler:
    async def handler(one: call.Call) -> web.StreamResponse:
        raise errdefs.NotImplemented(f"{what}: not supported by this version of Firkin")

    return handler


async def _no_plugins(one: call.Call) -> web.StreamResponse:
    """None can be installed, so there are none."""
    return call.reply([])


async def _no_plugin(one: call.Call) -> web.StreamResponse:
    raise errdefs.NotFound(
        f"plugin {one.var('name')} not found: this version of Firkin has no managed plugins"
    )


async def _no_swarm(one: call.Call) -> web.StreamResponse:
    raise errdefs.Unavailable(
        "This node is not a swarm manager: this version of Firkin has no swarm mode"
    )


for _what, _operations in _OPERATIONS.items():
    for _operation in _operations:
        ROUTES.add(*_operation.split())(_refuse(_what))
ROUTES.add("GET", "/plugins")(_no_plugins)
for _operation in _OF_ONE_PLUGIN:
    ROUTES.add(*_operation.split())(_no_plugin)
for _operation in _SWARM:
    ROUTES.add(*_operation.split())(_no_swarm)
