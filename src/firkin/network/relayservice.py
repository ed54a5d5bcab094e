"""The engine's side of the relay: starts it, hands it ports, starts it again.

A port is handed over as the bound socket that holds it. The engine keeps a copy, so that a relay
which is killed loses nothing: connections wait in the socket for the next one. The relay keeps one
too, so that an engine which is killed finds the ports again.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import select
import socket
from collections.abc import Callable, Collection, Mapping
from typing import Any, TypeVar

from firkin import errdefs
from firkin.linux import pidfd, tasks
from firkin.network import helper, sandbox
from firkin.network.relay import protocol

log = logging.getLogger(__name__)

T = TypeVar("T")

_TIMEOUT = 15.0
_AGAIN = 1.0


class RelayService:
    """One per controller. ``directory`` holds the socket and the process's log."""

    def __init__(self, directory: str) -> None:
        self._path = os.path.join(directory, "relay.sock")
        self._ports: dict[protocol.Port, socket.socket] = {}
        self._connection: socket.socket | None = None
        self._pid = 0
        self._lock = asyncio.Lock()
        self._tasks = tasks.Tasks("relay")
        self._watching = False

    async def adopt(self) -> dict[protocol.Port, socket.socket]:
        """The ports that a process of an earlier engine has, with their sockets."""
        async with self._lock:
            found = await asyncio.to_thread(self._reach)
        return found or {}

    async def start(
        self,
        wanted: Mapping[protocol.Port, socket.socket],
        found: Mapping[protocol.Port, socket.socket],
    ) -> None:
        """Have these ports relayed, of which those that were ``found`` are already, and no others.

        A failure is logged.
        """
        self._ports = {port: held for port, held in wanted.items() if port in found}
        if self._ports:
            self._watch()
        gone = [port for port in found if port not in wanted]
        missing = {port: held for port, held in wanted.items() if port not in found}
        try:
            await self._work(lambda: self._drop(gone))
            await self.put(missing)
        except errdefs.System as error:
            log.error("%s", error)
        for port in gone:
            found[port].close()

    async def put(self, ports: Mapping[protocol.Port, socket.socket]) -> None:
        """Relay these ports. Raises ``System``: then none is."""
        if not ports:
            return
        self._ports.update(ports)
        try:
            await self._work(lambda: self._put(ports))
        except BaseException:
            await self.drop(ports)
            raise
        self._watch()

    async def drop(self, ports: Collection[protocol.Port]) -> None:
        """End the relaying of ports and their connections; unknown ones are fine."""
        known = [port for port in ports if self._ports.pop(port, None) is not None]
        if known and self._connection is not None:
            with contextlib.suppress(errdefs.System):  # the next process will not know them
                await self._work(lambda: self._drop(known))

    async def _work(self, work: Callable[[], T]) -> T:
        async with self._lock:
            try:
                return await sandbox.settle(asyncio.get_running_loop().run_in_executor(None, work))
            except (OSError, ValueError, EOFError) as error:
                self._forget()
                raise errdefs.System(f"the relay does not answer: {error!r}") from error

    def _put(self, ports: Mapping[protocol.Port, socket.socket]) -> None:
        try:
            self._hand_over(ports)
        except (OSError, EOFError) as error:  # it has ended this very moment
            log.debug("handing ports to the relay once more: %r", error)
            self._forget()
            self._hand_over(ports)

    def _hand_over(self, ports: Mapping[protocol.Port, socket.socket]) -> None:
        """Hand over these ports; all of them to a process that has just been reached."""
        if not self._alive():
            found = self._connected()
            self._drop([port for port in found if port not in self._ports])
            ports = {port: held for port, held in self._ports.items() if port not in found}
        failure: errdefs.System | None = None
        for port, held in ports.items():
            try:
                self._order("put", port, [held.fileno()])
            except errdefs.System as error:
                failure = failure or error
        if failure is not None:
            raise failure

    def _drop(self, ports: Collection[protocol.Port]) -> None:
        for port in ports:
            self._order("drop", port)

    def _alive(self) -> bool:
        """Whether the connection is there; a process that has ended has closed it."""
        if self._connection is None:
            return False
        # It says nothing that was not asked for, so what can be read is the end.
        poll = select.poll()
        poll.register(self._connection, select.POLLIN)
        if poll.poll(0):
            self._forget()
            return False
        return True

    def _connected(self) -> Collection[protocol.Port]:
        """Be connected to a process, to a new one if need be; the ports that it has."""
        found = self._reach()
        if found is None:
            helper.spawn("firkin.network.relay.server", self._path, socket.SOCK_SEQPACKET)
            found = self._reach()
            if found is None:
                raise ConnectionError("it was just started and cannot be reached")
        for held in found.values():
            held.close()
        return list(found)

    def _reach(self) -> dict[protocol.Port, socket.socket] | None:
        """Connect to a process that runs and speaks our language; None if there is none."""
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        connection.settimeout(_TIMEOUT)
        found: dict[protocol.Port, socket.socket] = {}
        try:
            connection.connect(self._path)
            hello, _ = protocol.receive(connection)
            if hello["version"] == protocol.VERSION:
                for _ in range(hello["ports"]):
                    message, fd = protocol.receive(connection)
                    found[protocol.Port(*message["port"])] = socket.socket(fileno=fd)
                self._pid = hello["pid"]
                self._connection = connection
                return found
            protocol.end(connection)
        except (OSError, ValueError, EOFError, KeyError, TypeError) as error:
            log.debug("no relay at %s: %r", self._path, error)
        for held in found.values():
            held.close()
        connection.close()
        return None

    def _order(self, op: str, port: protocol.Port, sockets: Collection[int] = ()) -> None:
        if self._connection is None:
            raise ConnectionError("not connected")
        protocol.send(self._connection, {"op": op, "port": port}, list(sockets))
        answer: dict[str, Any] = protocol.receive(self._connection)[0]
        if answer.get("error"):
            raise errdefs.System(
                f"cannot relay port {port.port}/{port.proto} to {port.target}: {answer['error']}"
            )

    def _forget(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _watch(self) -> None:
        if not self._watching:
            self._watching = True
            self._tasks.spawn(self._keep(), "watch")

    async def _keep(self) -> None:
        """Have a process as long as there are ports."""
        try:
            while self._ports:
                fd = pidfd.open_process(self._pid)
                if fd is not None:
                    try:
                        await pidfd.wait(fd)
                    finally:
                        os.close(fd)
                if not self._ports:
                    return
                log.warning("the relay has ended; starting it again")
                try:
                    await self._work(lambda: self._put({}))
                except errdefs.System as error:
                    log.error("%s", error)
                    await asyncio.sleep(_AGAIN)
        finally:
            self._watching = False

    async def close(self) -> None:
        """Let go of the connection. The process goes on as long as it has ports."""
        await self._tasks.close()
        self._forget()
