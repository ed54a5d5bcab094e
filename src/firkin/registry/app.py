"""One HTTP request: route, handler, error body."""

from __future__ import annotations

import logging

from aiohttp import http_exceptions, web

from firkin.registry import call, core, errors, routes

log = logging.getLogger(__name__)

_READ_BUFFER = 512 * 1024
_HEADERS = {
    "Docker-Distribution-Api-Version": "registry/2.0",
    "X-Content-Type-Options": "nosniff",
}


class App:
    """Answers requests for one registry."""

    def __init__(self, registry: core.Registry) -> None:
        self._registry = registry
        self.server = web.Server(
            self._handle, access_log=None, read_bufsize=_READ_BUFFER, auto_decompress=False
        )

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            response = await self._answer(request)
        except ConnectionError:  # the client left in the middle of its request
            response = web.Response(status=400)
            response.force_close()
        except (http_exceptions.HttpProcessingError, Exception) as error:
            failure = errors.failure(error)
            if failure.code == "UNKNOWN":
                log.error("%s %s failed", request.method, request.path, exc_info=error)
            response = web.Response(
                body=failure.body(),
                status=failure.status,
                headers={"Content-Type": "application/json", **failure.headers},
            )
            if request.can_read_body and not request.content.at_eof():
                response.force_close()  # the rest of the body is not worth receiving
        if not response.prepared:
            response.headers.update(_HEADERS)
        return response

    async def _answer(self, request: web.BaseRequest) -> web.StreamResponse:
        path = request.path
        if path == "/v2":
            path = "/v2/"
        if not path.startswith("/v2/"):
            raise errors.Failure("UNSUPPORTED", f"there is nothing at {path[:300]}", status=404)
        match = routes.find(request.method, path[len("/v2/") :])
        one = call.Call(self._registry, request, match.name, match.last)
        return await match.route.handler(one)
