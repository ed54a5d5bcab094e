"""Layers being fetched, each once however many pulls want it.

::

    waiting ──> downloading ──> complete     the layer is in the content store, and unpacked
                     └────────> failed       every pull that waits for it gets the error

A transfer runs as long as a pull wants it. The last one to let go of it ends it; what has arrived
by then stays as the beginning of the blob (:meth:`firkin.content.store.Store.resume`), for a later
pull of this or of the next engine process. The number of transfers at one time is limited.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Callable

from firkin import errdefs
from firkin.content import store as contents
from firkin.images import layers, stream, tarstream
from firkin.linux import tasks
from firkin.types import image as types

Fetch = Callable[[int], AsyncIterator[bytes]]
"""The blob's bytes from an offset on."""

Listener = Callable[["Transfer"], None]

_INTERVAL = 0.1


class Clock:
    """Says when progress is to be told again."""

    def __init__(self) -> None:
        self._told = 0.0

    def due(self) -> bool:
        """Whether the last time that this was true is long enough ago."""
        now = time.monotonic()
        if now - self._told < _INTERVAL:
            return False
        self._told = now
        return True


class Transfer:
    """One layer on its way. Listeners are called on the event loop when anything changes."""

    def __init__(self, descriptor: types.Descriptor) -> None:
        self.descriptor = descriptor
        self.phase = "waiting"
        self.current = 0
        self.listeners: list[Listener] = []
        self.task: asyncio.Task[layers.Received] | None = None
        self._clock = Clock()

    def move(self, phase: str) -> None:
        self.phase = phase
        self._tell()

    def advance(self, current: int) -> None:
        self.current = current
        if self._clock.due():
            self._tell()

    def _tell(self) -> None:
        for listener in list(self.listeners):
            listener(self)


class Transfers:
    """All transfers of one image store."""

    def __init__(self, owner: layers.Layers, limit: int) -> None:
        self._owner = owner
        self._running: dict[str, Transfer] = {}
        self._tasks = tasks.Tasks("transfers")
        self.resize(limit)

    def resize(self, limit: int) -> None:
        """How many run at one time, from now on."""
        self._room = asyncio.Semaphore(limit)

    @contextlib.asynccontextmanager
    async def use(
        self, descriptor: types.Descriptor, fetch: Fetch, listener: Listener
    ) -> AsyncIterator[asyncio.Task[layers.Received]]:
        """Take part in the transfer of a layer, which is begun when there is none yet.

        Yields the task; wait for it shielded. What it received belongs to all who take part.
        """
        digest = descriptor.digest
        transfer = self._running.get(digest)
        if transfer is None:
            transfer = self._running[digest] = Transfer(descriptor)
            work = self._run(transfer, fetch)
            transfer.task = self._tasks.spawn_quiet(work, f"fetch {digest[7:19]}")
        assert transfer.task is not None
        transfer.listeners.append(listener)
        listener(transfer)
        try:
            yield transfer.task
        finally:
            transfer.listeners.remove(listener)
            if not transfer.listeners:
                if self._running.get(digest) is transfer:
                    del self._running[digest]
                await asyncio.shield(self._end(transfer))

    async def _end(self, transfer: Transfer) -> None:
        assert transfer.task is not None
        transfer.task.cancel()
        await asyncio.wait([transfer.task])
        if not transfer.task.cancelled() and transfer.task.exception() is None:
            await self._owner.discard(transfer.task.result())

    async def _run(self, transfer: Transfer, fetch: Fetch) -> layers.Received:
        try:
            async with self._room:
                transfer.move("downloading")
                received = await self._receive(transfer, fetch)
        except BaseException:
            # The next pull begins anew, even while others still hold on to the failure.
            if self._running.get(transfer.descriptor.digest) is transfer:
                del self._running[transfer.descriptor.digest]
            transfer.move("failed")
            raise
        transfer.move("complete")
        return received

    async def _receive(self, transfer: Transfer, fetch: Fetch) -> layers.Received:
        descriptor = transfer.descriptor
        store = self._owner.store
        while True:
            writer = await asyncio.to_thread(store.resume, descriptor.digest)
            try:
                begun = writer.size
                return await self._attempt(transfer, writer, fetch)
            except errdefs.InvalidParameter:
                # Not to be kept. A beginning from before may have been spoilt by a power cut.
                await asyncio.to_thread(writer.abort)
                if not begun:
                    raise
            finally:
                await asyncio.to_thread(writer.suspend)

    async def _attempt(
        self, transfer: Transfer, writer: contents.Resumed, fetch: Fetch
    ) -> layers.Received:
        descriptor = transfer.descriptor
        offset = writer.size
        if offset > descriptor.size:
            raise errdefs.InvalidParameter(
                f"{descriptor.digest} has more than the {descriptor.size} bytes announced"
            )
        loop = asyncio.get_running_loop()

        async def counted() -> AsyncIterator[bytes]:
            at = offset
            transfer.advance(at)
            if at < descriptor.size:
                async with contextlib.aclosing(fetch(offset)) as chunks:  # type: ignore[type-var]
                    async for chunk in chunks:
                        at += len(chunk)
                        yield chunk
                        transfer.advance(at)

        def work(buffer: stream.Buffer) -> layers.Received:
            reader = tarstream.Reader(buffer.take)
            there = writer.replay()
            first = next(there, None)
            head = bytes(first[: tarstream.BLOCK]) if first else reader.peek(tarstream.BLOCK)
            sink = self._owner.sink(loop, head, f"the layer {descriptor.digest}", writer)
            try:
                if first:
                    sink.replay((first,))
                for part in there:
                    sink.replay((part,))
                for parts in reader.rest():
                    sink.write(parts)
                return sink.finish(descriptor.digest, descriptor.size)
            finally:
                sink.close()

        return await stream.consume(counted(), work, "fetch a layer")

    async def close(self) -> None:
        """End all transfers."""
        await self._tasks.close()
