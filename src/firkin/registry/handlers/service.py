"""Endpoints of the service itself: health, metrics, and the Engine's search."""

from __future__ import annotations

from aiohttp import web

from firkin.registry import call, metrics
from firkin.registry.index import repositories

_RESULTS = 25
_MOST = 100


async def health(one: call.Call) -> web.StreamResponse:
    """GET /health: 200 when the index and the storage work, 503 with the reason when not."""
    registry = one.registry
    try:
        await registry.db.note(lambda c: c.execute("SELECT 1").fetchone())
        await registry.run(registry.storage.check)
    except Exception as error:
        response = call.json({"status": "unavailable", "reason": str(error)})
        response.set_status(503)
        return response
    return call.json({"status": "ok"})


async def figures(one: call.Call) -> web.StreamResponse:
    """GET /metrics: for Prometheus."""
    values = await one.registry.db.read(metrics.states)
    text = await one.registry.run(metrics.text, values)
    return web.Response(body=text, headers={"Content-Type": metrics.CONTENT_TYPE})


async def search(one: call.Call) -> web.StreamResponse:
    """GET /v1/search: what an engine asks for ``docker search HOST/TERM``.

    Names that contain the term, the shortest first; only those that the caller may pull.
    """
    term = one.query("q").strip().lower()
    limit = one.count(_MOST, _RESULTS) or _RESULTS
    identity = await one.access.whole(one.identity)
    found: list[str] = []
    last = ""
    while page := await one.registry.db.read(repositories.listing, last, 1000, term):
        found += [name for name in page if "pull" in identity.allowed(name)]
        last = page[-1]
    found.sort(key=lambda name: (len(name), name))
    results = [
        {
            "name": name, "description": "", "star_count": 0,
            "is_official": False, "is_automated": False, "is_trusted": False,
        }
        for name in found[:limit]
    ]  # fmt: skip
    return call.json(
        {
            "query": term, "num_results": len(found), "num_pages": -(-len(found) // limit),
            "page": 1, "page_size": limit, "results": results,
        }
    )  # fmt: skip
