"""The engine's side of the resolver: starts it, tells it who is where, starts it again.

The listening socket is made here and handed to the process, so there is nothing to wait for; it
lies in the exec root, and an engine that starts later finds the same process by it. What the
resolver should know is kept here, and told whole to every process that has just been reached.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import socket
from collections.abc import Iterable

import msgspec

from firkin import errdefs
from firkin.linux import pidfd, tasks
from firkin.network import helper
from firkin.network.resolver import protocol

log = logging.getLogger(__name__)

_TIMEOUT = 15.0
_AGAIN = 1.0
_MAX_LINE = 64 << 20


class NameService:
    """One per controller. ``directory`` holds the socket and the process's log."""

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, "resolver.sock")
        self._clients: dict[str, protocol.Client] = {}
        self._wanted = False
        self._connection: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None
        self._lock = asyncio.Lock()
        self._tasks = tasks.Tasks("resolver")
        self._closed = False
        self._pid = 0

    async def start(self, clients: Iterable[protocol.Client], *, wanted: bool) -> None:
        """Take over what runs, or start it if ``wanted``: if there are networks with names."""
        self._clients = {client.id: client for client in clients}
        if wanted or self._clients:
            self.want()
        elif os.path.exists(self._path):
            # Without containers it has nothing to do; a process that is left is told so.
            with contextlib.suppress(errdefs.FirkinError):
                async with self._lock:
                    if await self._reach() is not None:
                        await self._tell(protocol.Order(op="sync"))

    def want(self) -> None:
        """Have the process ready soon."""
        if not self._wanted:
            self._wanted = True
            self._tasks.spawn(self._keep(), "start")

    async def put(self, client: protocol.Client) -> None:
        """Let a container be found and find others; on return it can.

        Raises ``System`` when it cannot.
        """
        self._clients[client.id] = client
        self.want()
        async with self._lock:
            fresh = await self._connected()
            failed = fresh.failed.get(client.id) if fresh is not None else None
            if fresh is None:
                answer = await self._tell(protocol.Order(op="put", clients=[client]))
                failed = answer.failed.get(client.id)
        if failed:
            raise errdefs.System(f"cannot serve names to container {client.id[:12]}: {failed}")

    async def drop(self, client_id: str) -> None:
        """Forget a container, as soon as may be; nobody waits for it."""
        if self._clients.pop(client_id, None) is not None:
            self._tasks.spawn(self._drop(client_id), "drop")

    async def _drop(self, client_id: str) -> None:
        async with self._lock:
            if client_id not in self._clients and self._connection is not None:
                with contextlib.suppress(errdefs.System):  # the next process will not know it
                    await self._tell(protocol.Order(op="drop", id=client_id))

    async def _keep(self) -> None:
        """Have a process; when it ends, start another one."""
        while not self._closed:
            try:
                async with self._lock:
                    await self._connected()
                    fd = pidfd.open_process(self._pid)
            except errdefs.FirkinError as error:
                log.error("the resolver: %s", error)
                await asyncio.sleep(_AGAIN)
                continue
            if fd is not None:
                try:
                    await pidfd.wait(fd)
                finally:
                    os.close(fd)
            log.warning("the resolver has ended; starting it again")
            async with self._lock:
                self._forget()
            await asyncio.sleep(_AGAIN if fd is None else 0)

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection[1].close()
            self._connection = None

    async def _connected(self) -> protocol.Answer | None:
        """Be connected; the answer to the whole that a new connection is told, else None."""
        if self._connection is not None and not self._connection[0].at_eof():
            return None
        self._forget()
        if await self._reach() is None:
            await asyncio.to_thread(
                helper.spawn, "firkin.network.resolver.server", self._path, socket.SOCK_STREAM
            )
            if await self._reach() is None:
                raise errdefs.System("cannot reach the resolver that was just started")
        return await self._tell(protocol.Order(op="sync", clients=list(self._clients.values())))

    async def _reach(self) -> protocol.Hello | None:
        """Connect to a process that runs and speaks our language; None if there is none."""
        try:
            async with asyncio.timeout(_TIMEOUT):
                self._connection = await asyncio.open_unix_connection(self._path, limit=_MAX_LINE)
                line = await self._connection[0].readline()
                hello = msgspec.json.decode(line, type=protocol.Hello)
                if hello.version == protocol.VERSION:
                    self._pid = hello.pid
                    return hello
                await self._tell(protocol.Order(op="quit"))
        except (OSError, TimeoutError, msgspec.DecodeError, errdefs.System) as error:
            log.debug("no resolver at %s: %s", self._path, error)
        self._forget()
        return None

    async def _tell(self, order: protocol.Order) -> protocol.Answer:
        if self._connection is None:
            raise errdefs.System("the resolver is not connected")
        reader, writer = self._connection
        try:
            async with asyncio.timeout(_TIMEOUT):
                writer.write(msgspec.json.encode(order) + b"\n")
                await writer.drain()
                line = await reader.readline()
                return msgspec.json.decode(line, type=protocol.Answer)
        except (OSError, TimeoutError, msgspec.DecodeError) as error:
            self._forget()
            raise errdefs.System(f"the resolver does not answer: {error!r}") from error

    async def close(self) -> None:
        """Let go of the connection. The process goes on as long as it has containers."""
        self._closed = True
        await self._tasks.close()
        self._forget()
