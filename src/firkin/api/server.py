"""The HTTP server: sockets, versions, dispatch."""

from __future__ import annotations

import asyncio
import itertools
import logging
import os
import secrets
import socket
import time
from typing import TYPE_CHECKING

from aiohttp import web

import firkin
from firkin import errdefs
from firkin.api import (
    authorization,
    call,
    connection,
    hijack,
    listeners,
    routes,
    secure,
    status,
    versions,
)
from firkin.api.router import (
    archive,
    build,
    buildkit,
    containers,
    debug,
    exec,
    hostsecrets,
    images,
    networks,
    registries,
    resources,
    system,
    unsupported,
    volumes,
)
from firkin.engine import config as configuration
from firkin.engine import core as engine
from firkin.engine import logbook
from firkin.linux import tasks

if TYPE_CHECKING:
    from firkin.api import metrics
    from firkin.buildkit import service

log = logging.getLogger(__name__)

_HEADERS = {
    "Api-Version": versions.text(versions.NEWEST),
    "Ostype": "linux",
    "Server": f"Docker/{firkin.__version__} (linux)",
}


def table() -> routes.Routes:
    """Every operation that an engine answers."""
    found = routes.Routes()
    for module in (
        archive,
        build,
        containers,
        resources,
        exec,
        images,
        networks,
        registries,
        hostsecrets,
        volumes,
        system,
        debug,
        unsupported,
    ):
        found.merge(module.ROUTES)
    return found


class Server:
    """Serves the Engine API on any number of sockets."""

    def __init__(self, core: engine.Core, certificates: secure.Certificates | None = None) -> None:
        self._core = core
        self._certificates = certificates
        self._routes = table()
        self._routes.merge(buildkit.doors(self._buildkit))
        self._tasks = tasks.Tasks("api")
        self._census = connection.Census()
        self._server = web.Server(self._handle, handler_cancellation=True)
        self._listeners: list[asyncio.Server] = []
        self._paths: list[str] = []
        self._metrics: metrics.Metrics | None = None
        self._run = secrets.token_hex(3)
        self._counter = itertools.count(1)

    def _buildkit(self) -> service.Doors:
        from firkin.buildkit import service

        return service.Service(self._core)

    async def measure(self, address: str) -> None:
        """Measure from now on, and serve the metrics at ``ADDRESS:PORT``. Raises ``System``."""
        from firkin.api import metrics

        self._metrics = metrics.Metrics(self._core)
        await self._metrics.listen(address)

    async def listen(self, listener: listeners.Listener) -> None:
        """Serve a listening socket; its path is removed at the end."""
        loop = asyncio.get_running_loop()

        def plain() -> asyncio.Protocol:
            return connection.Connection(self._server, loop, self._census)

        def inner() -> asyncio.Protocol:
            return connection.Connection(self._server, loop)

        def encrypted() -> asyncio.Protocol:
            assert self._certificates is not None
            return secure.Layer(self._certificates.context, inner, self._census)

        factory = encrypted if listener.secure else plain
        if listener.sock.family == socket.AF_UNIX:
            made = await loop.create_unix_server(
                factory, sock=listener.sock, backlog=listeners.BACKLOG
            )
        else:
            made = await loop.create_server(factory, sock=listener.sock, backlog=listeners.BACKLOG)
        self._listeners.append(made)
        if listener.path:
            self._paths.append(listener.path)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        client = request.protocol
        assert isinstance(client, connection.Connection)
        client.begin()
        response = await self._dispatch(request)
        client.finish(response)
        return response

    async def _dispatch(self, request: web.BaseRequest) -> web.StreamResponse:
        logbook.REQUEST.set(f"{self._run}{next(self._counter):x}")
        try:
            version, path = versions.split(request.rel_url.raw_path)
            route, variables = self._routes.find(request.method, path)
        except errdefs.FirkinError as error:
            return self._dressed(status.response(error))
        version = versions.meant(version, request.headers.get("User-Agent", ""))
        one = call.Call(self._core, request, version, variables)
        began = time.monotonic()
        work = self._answer(route, one)
        if route.stream:
            client = request.protocol
            assert isinstance(client, connection.Connection)
            client.streaming = True
            response = await work
        else:
            # The client may leave; what it asked for is done all the same, wholly or not at all.
            response = await asyncio.shield(self._tasks.spawn(work, f"{request.method} {path}"))
        seconds = time.monotonic() - began
        log.debug("%s %s: %d in %.1f ms", request.method, path, response.status, seconds * 1000)
        if self._metrics is not None:
            self._metrics.observe(route, seconds, response.status)
        return response

    async def _answer(self, route: routes.Route, one: call.Call) -> web.StreamResponse:
        try:
            if authorization.wanted(self._core):
                response = await self._authorized(route, one)
            else:
                response = await route.handler(one)
        except ConnectionError:  # the client went away in the middle of its answer
            return hijack.Taken()
        except Exception as error:
            response = status.response(error)
        return response if response.prepared else self._dressed(response)

    async def _authorized(self, route: routes.Route, one: call.Call) -> web.StreamResponse:
        question = await authorization.request(one)
        try:
            response = await route.handler(one)
        except ConnectionError:
            raise
        except Exception as error:
            response = status.response(error)
        sent = response.prepared or isinstance(response, hijack.Taken)
        try:
            await authorization.response(self._core, question, response)
        except errdefs.FirkinError as error:
            if not sent:
                raise
            log.warning("%s, after the answer was sent", error)
        return response

    def _dressed(self, response: web.StreamResponse) -> web.StreamResponse:
        experimental = str(self._core.config.experimental).lower()
        response.headers.update({**_HEADERS, "Docker-Experimental": experimental})
        return response

    def reload(self, config: configuration.Config) -> None:
        """Take over what has changed outside: the certificates, for new connections.

        Raises ``InvalidParameter`` for such that can't be used; the old ones stay then.
        """
        if self._certificates is not None:
            self._certificates.reload(config)

    async def close(self) -> None:
        """Stop listening, end the streams and wait for held operations to finish."""
        for listener in self._listeners:
            listener.close()
        for path in self._paths:
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass
        if self._metrics is not None:
            await self._metrics.close()
        await self._tasks.finish(30.0)
        await self._server.shutdown(1.0)
