"""One HTTP request: route, rights, handler, error body, log line."""

from __future__ import annotations

import asyncio
import logging
import time

from aiohttp import HttpVersion11, web

from firkin.registry import accesslog, call, connection, core, errors, metrics, proxy, routes
from firkin.registry.access import access
from firkin.registry.web import render

log = logging.getLogger(__name__)

_HEADERS = {
    "Docker-Distribution-Api-Version": "registry/2.0",
    "X-Content-Type-Options": "nosniff",
}


def _invite(request: web.BaseRequest) -> None:
    """Tell a client that asked beforehand to send its body; who may not was told so by now."""
    waits = request.headers.get("Expect", "").lower() == "100-continue"
    if waits and request.version >= HttpVersion11 and request.transport is not None:
        request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")


class App:
    """Answers requests for one registry."""

    def __init__(
        self, registry: core.Registry, lines: accesslog.AccessLog, cache: proxy.Proxy | None
    ) -> None:
        self._registry = registry
        self._access = access.Access(registry)
        self._lines = lines
        self._proxy = cache
        self.server = web.Server(self._handle)

    def protocol(self) -> connection.Connection:
        """The protocol of a new connection."""
        return connection.Connection(self.server, asyncio.get_running_loop())

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        started = time.perf_counter()
        client = request.protocol
        assert isinstance(client, connection.Connection)
        client.begin()
        one = call.Call(self._registry, self._access, self._proxy, request)
        label = "none"
        try:
            match = routes.find(request.method, request.path)
            one.name, one.last = match.name, match.last
            label = match.label
            await self._admit(one, match.route.action)
            _invite(request)
            response = await match.route.handler(one)
        except ConnectionError:  # the client left in the middle of its request
            response = web.Response(status=400)
            response.force_close()
        except Exception as error:
            response = self._failed(one, error)
        if not response.prepared:
            response.headers.update(_HEADERS)
        client.finish()
        self._account(one, response, label, time.perf_counter() - started)
        return response

    async def _admit(self, one: call.Call, action: str) -> None:
        if action == "public" or (action == "metrics" and self._registry.config.public_metrics):
            return
        if action == "push" and self._proxy is not None:
            raise errors.Failure(
                "UNSUPPORTED", "this registry is a cache of another one: push there"
            )
        if action in ("page", "login"):
            one.identity = await self._access.visit(one.request, named=action == "login")
            return
        one.identity = await self._access.admit(one.request, action if one.name else "", one.name)

    def _failed(self, one: call.Call, error: Exception) -> web.Response:
        request = one.request
        failure = errors.failure(error)
        if failure.status >= 500:
            log.error("%s %s failed", request.method, request.path, exc_info=error)
        if request.path.startswith("/ui/"):
            response = render.failed(failure)
        else:
            response = web.Response(
                body=failure.body(),
                status=failure.status,
                headers={"Content-Type": "application/json", **failure.headers},
            )
        if request.can_read_body and not request.content.at_eof():
            response.force_close()  # the rest of the body is not worth receiving
        return response

    def _account(
        self, one: call.Call, response: web.StreamResponse, label: str, seconds: float
    ) -> None:
        request = one.request
        method = request.method if label != "none" else "other"
        sent = response.content_length or 0
        metrics.REQUESTS.labels(method, label, str(response.status)).inc()
        metrics.SECONDS.labels(label).observe(seconds)
        if request.method != "HEAD":
            metrics.SENT.inc(sent)
        if self._lines.active:
            self._lines.write(
                {
                    "remote": access.address(request), "user": one.identity.user,
                    "method": request.method, "path": request.path_qs[:2000],
                    "status": response.status, "bytes": sent,
                    "seconds": round(seconds, 6),
                    "agent": request.headers.get("User-Agent", "")[:300],
                }
            )  # fmt: skip
