"""A client's session on a process's standard streams: for attach and for exec.

Output flows from the monitor to the client as the client takes it; input flows from the client to
the monitor as the process takes it. The session ends when the output does, when the client leaves,
or when the detach keys are typed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, Protocol

from firkin.engine.containers import model
from firkin.linux import tasks
from firkin.runtime import attach
from firkin.wire import detachkeys, stdcopy


class Client(Protocol):
    """The far end of a hijacked connection, or of a websocket."""

    def write(self, data: bytes) -> bool:
        """Send; false when the client is behind and :meth:`drained` should be awaited."""
        ...

    async def drained(self) -> None:
        """Wait until the client has caught up, or is gone."""
        ...

    async def read(self) -> bytes:
        """The next input; empty at its end or when the client is gone."""
        ...

    @property
    def gone(self) -> bool:
        """Whether the connection is lost (not merely half closed)."""
        ...

    async def lost(self) -> None:
        """Wait until the connection is lost."""
        ...


class Session(model.Pending):
    """One client on one process. ``raw``: no stdcopy headers, as for a terminal.

    A ``held`` session gives the client no output of the process until it is released.
    """

    def __init__(
        self,
        client: Client,
        *,
        raw: bool,
        stdin: bool = False,
        stdout: bool = True,
        stderr: bool = True,
        keys: bytes | None = None,
        closes_stdin: bool = False,
        parked: list[attach.Connection] | None = None,
        held: bool = False,
    ) -> None:
        self._client = client
        self.raw = raw
        self._stdin = stdin
        self._wanted = {1: stdout, 2: stderr}
        self._filter = detachkeys.Filter(keys) if keys is not None and stdin else None
        self._closes_stdin = closes_stdin
        self._parked = parked
        self._held = held
        loop = asyncio.get_running_loop()
        self._connected: asyncio.Future[attach.Connection | None] = loop.create_future()
        self._finished: asyncio.Future[None] = loop.create_future()
        self._connection: attach.Connection | None = None
        self._tasks = tasks.Tasks("session")
        self._congestion: asyncio.Task[None] | None = None
        self.detached = False

    def connect(self, path: str) -> None:
        """See ``Pending.connect``. A monitor that is gone is the end of the output."""
        if self._connected.done():
            return
        self._connection = self._unparked()
        if self._connection is None:
            try:
                self._connection = attach.Connection(path, self._deliver, held=self._held)
            except OSError:
                self.abandon("its monitor is gone")
                return
        self._connected.set_result(self._connection)

    def _unparked(self) -> attach.Connection | None:
        """A connection that an earlier client left parked: so they are never more than clients."""
        while self._parked:
            connection = self._parked.pop()
            if connection.adopt(self._deliver, held=self._held):
                return connection
        return None

    def abandon(self, reason: str) -> None:
        """See ``Pending.abandon``."""
        if not self._connected.done():
            self._connected.set_result(None)
        self._finish()

    def _finish(self) -> None:
        if not self._finished.done():
            self._finished.set_result(None)

    def _deliver(self, packets: list[tuple[int, bytes]] | None) -> None:
        if packets is None:
            self._finish()
            return
        if self.raw:
            data = b"".join(part for stream, part in packets if self._wanted[stream])
        else:
            data = b"".join(
                stdcopy.header(stream, len(part)) + part
                for stream, part in packets
                if self._wanted[stream]
            )
        if data and not self._client.write(data) and self._connection is not None:
            self._connection.pause()
            if self._congestion is None or self._congestion.done():
                self._congestion = self._tasks.spawn(self._decongest(), "congestion")

    async def _decongest(self) -> None:
        await self._client.drained()
        if self._connection is not None:
            self._connection.resume()

    async def first(self) -> tuple[int, int, bytes] | None:
        """See ``Connection.first``; ``None`` too when there will be no connection."""
        connection = await asyncio.shield(self._connected)
        return None if connection is None else await connection.first()

    def release(self, skip: int) -> None:
        """Give the client the output of the process, but for its first ``skip`` bytes."""
        self._held = False
        if self._connection is not None:
            self._connection.release(skip)

    async def run(self, opening: Coroutine[Any, Any, None] | None = None) -> None:
        """Serve the client until the session ends, and ``opening`` to its end in any case."""
        self._tasks.spawn(self._pump(), "input")
        leaving = self._tasks.spawn(self._client.lost(), "end of the client")
        try:
            if opening is not None:
                opened = self._tasks.spawn_quiet(opening, "opening")
                await asyncio.wait({opened, leaving}, return_when=asyncio.FIRST_COMPLETED)
                if opened.done():
                    opened.result()
            await asyncio.wait({self._finished, leaving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not self._connected.done():
                self._connected.set_result(None)
            try:
                await self._tasks.close()
            finally:
                self._leave()

    def _leave(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        if self._closes_stdin and not self._stdin and self._parked is not None:
            connection.drain()
            self._parked.append(connection)
        else:
            connection.close()

    async def _pump(self) -> None:
        """Bring the client's input to the process."""
        connection = await asyncio.shield(self._connected)
        while True:
            data = await self._client.read()
            if not data:
                break
            if not self._stdin or connection is None:
                continue
            if self._filter is not None:
                data, found = self._filter.feed(data)
                if found:
                    await connection.write(data)
                    self.detached = True
                    self._finish()
                    return
            await connection.write(data)
        if self._stdin and connection is not None and self._closes_stdin:
            connection.write_eof()
