"""The HTTP server: sockets, versions, dispatch."""

from __future__ import annotations

import asyncio
import logging
import os
import socket
import stat

from aiohttp import web

import firkin
from firkin import errdefs
from firkin.api import call, connection, routes, status, versions
from firkin.api.router import containers, exec, images, networks, system, unsupported, volumes
from firkin.engine import core as engine
from firkin.linux import tasks

log = logging.getLogger(__name__)

_BACKLOG = 4096

_HEADERS = {
    "Api-Version": versions.text(versions.NEWEST),
    "Docker-Experimental": "false",
    "Ostype": "linux",
    "Server": f"Docker/{firkin.__version__} (linux)",
}


class Server:
    """Serves the Engine API on any number of sockets."""

    def __init__(self, core: engine.Core) -> None:
        self._core = core
        self._routes = routes.Routes()
        for module in (containers, exec, images, networks, volumes, system, unsupported):
            self._routes.merge(module.ROUTES)
        self._tasks = tasks.Tasks("api")
        self._server = web.Server(self._handle, handler_cancellation=True)
        self._listeners: list[asyncio.Server] = []
        self._paths: list[str] = []

    async def listen(self, sock: socket.socket, path: str = "") -> None:
        """Serve a listening socket; ``path`` is removed at the end."""
        loop = asyncio.get_running_loop()
        made = await loop.create_unix_server(
            lambda: connection.Connection(self._server, loop), sock=sock, backlog=_BACKLOG
        )
        self._listeners.append(made)
        if path:
            self._paths.append(path)

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        client = request.protocol
        assert isinstance(client, connection.Connection)
        client.begin()
        response = await self._dispatch(request)
        client.finish(response)
        return response

    async def _dispatch(self, request: web.BaseRequest) -> web.StreamResponse:
        try:
            version, path = versions.split(request.rel_url.raw_path)
            route, variables = self._routes.find(request.method, path)
        except errdefs.FirkinError as error:
            return self._dressed(status.response(error))
        one = call.Call(self._core, request, version, variables)
        work = self._answer(route, one)
        if route.stream:
            return await work
        # The client may leave; what it asked for is done all the same, wholly or not at all.
        return await asyncio.shield(self._tasks.spawn(work, f"{request.method} {path}"))

    async def _answer(self, route: routes.Route, one: call.Call) -> web.StreamResponse:
        try:
            response = await route.handler(one)
        except (asyncio.CancelledError, ConnectionError):
            raise
        except Exception as error:
            response = status.response(error)
        return response if response.prepared else self._dressed(response)

    def _dressed(self, response: web.StreamResponse) -> web.StreamResponse:
        response.headers.update(_HEADERS)
        return response

    async def close(self) -> None:
        """Stop listening, end the streams and wait for held operations to finish."""
        for listener in self._listeners:
            listener.close()
        for path in self._paths:
            try:
                os.unlink(path)
            except FileNotFoundError:
                pass
        await self._tasks.finish(30.0)
        await self._server.shutdown(1.0)


def unix_socket(path: str, group: str) -> socket.socket:
    """A listening Unix socket at ``path``, open to root and to ``group`` if that exists.

    Takes the place of a socket that nobody listens at. Raises ``Conflict`` when somebody does, and
    ``System`` when the socket can't be made.
    """
    directory = os.path.dirname(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.makedirs(directory, mode=0o755, exist_ok=True)
        if os.path.exists(path):
            if not stat.S_ISSOCK(os.stat(path).st_mode):
                raise errdefs.Conflict(f"{path} exists and is not a socket: remove it")
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                try:
                    probe.connect(path)
                except OSError:
                    os.unlink(path)
                else:
                    raise errdefs.Conflict(
                        f"another process serves {path}: stop it or choose another --host"
                    )
        old = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(old)
        _give_to(path, group)
        sock.listen(_BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise errdefs.System(f"cannot listen on unix://{path}: {error.strerror}") from error
    except BaseException:
        sock.close()
        raise
    return sock


def _give_to(path: str, group: str) -> None:
    if not group:
        return
    import grp

    try:
        gid = grp.getgrnam(group).gr_gid
    except KeyError:
        log.info("group %s does not exist: %s is for root alone", group, path)
        return
    os.chown(path, 0, gid)
    os.chmod(path, 0o660)
