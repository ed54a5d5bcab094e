"""Network namespaces that are ready before a container needs one, and the end of their pairs."""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import logging
import socket
from collections.abc import Collection

from firkin import errdefs
from firkin.linux import netlink, tasks
from firkin.network import sandbox

log = logging.getLogger(__name__)

_REFILL_DELAY = 0.05
_LINGER = 0.5


class Stock:
    """Ready-made sandboxes, each with a spare pair, refilled in the background up to ``size``.

    Its worker thread also ends what containers leave behind.
    """

    def __init__(self, directory: str, size: int) -> None:
        self._directory = directory
        self._size = size
        self._ready: collections.deque[sandbox.Sandbox] = collections.deque()
        self._tasks = tasks.Tasks("network stock")
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="firkin-stock")
        self._host = netlink.Socket()
        self._refilling = False
        self._closed = False
        self._leaving: set[str] = set()
        self._sweeping = False

    @property
    def ready(self) -> int:
        """How many sandboxes are waiting."""
        return len(self._ready)

    def _make(self) -> sandbox.Sandbox:
        made = sandbox.Sandbox.create(self._directory)
        try:
            made.spare = made.add_pair(self._host, sandbox.FIRST)
        except BaseException:
            made.discard()
            raise
        return made

    async def take(self) -> sandbox.Sandbox:
        """A sandbox, made on the spot when none is ready. The caller owns it.

        Raises ``OSError``.
        """
        try:
            if self._ready:
                return self._ready.popleft()
            work = asyncio.get_running_loop().run_in_executor(self._thread, self._make)
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                work.add_done_callback(discard_result)
                raise
        finally:
            self.refill()

    def refill(self) -> None:
        """Bring the stock to its size soon."""
        if not self._refilling and not self._closed and len(self._ready) < self._size:
            self._refilling = True
            self._tasks.spawn(self._refill(), "refill")

    async def _refill(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            await asyncio.sleep(_REFILL_DELAY)
            while len(self._ready) < self._size and not self._closed:
                work = loop.run_in_executor(self._thread, self._make)
                try:
                    made = await asyncio.shield(work)
                except asyncio.CancelledError:
                    work.add_done_callback(discard_result)
                    raise
                self._ready.append(made)
        except (OSError, errdefs.FirkinError) as error:
            log.warning("cannot make network namespaces in advance: %s", error)
        finally:
            self._refilling = False

    def discard(self, box: sandbox.Sandbox) -> None:
        """End the sandbox of a container that has ended, soon: the kernel takes milliseconds."""
        self._thread.submit(_discard, box)

    def forget(self, host_interface: str) -> None:
        """Make sure, in a while, that the kernel has deleted a pair whose sandbox is removed."""
        self._leaving.add(host_interface)
        if not self._sweeping and not self._closed:
            self._sweeping = True
            self._tasks.spawn(self._sweep(), "sweep")

    async def _sweep(self) -> None:
        try:
            while self._leaving:
                await asyncio.sleep(_LINGER)
                names, self._leaving = self._leaving, set()
                loop = asyncio.get_running_loop()
                await loop.run_in_executor(self._thread, self._delete_links, names)
        finally:
            self._sweeping = False

    def _delete_links(self, names: Collection[str]) -> None:
        for name in names:
            try:
                self._host.request(netlink.delete_link(socket.if_nametoindex(name)))
            except OSError as error:
                log.debug("interface %s is already gone: %s", name, error)

    async def close(self) -> None:
        """Discard what is ready and end what was left. Those that were taken stay."""
        self._closed = True
        await self._tasks.close()
        loop = asyncio.get_running_loop()
        ready = list(self._ready)
        self._ready.clear()

        def finish() -> None:
            for one in ready:
                one.discard()
            if self._leaving:
                self._delete_links(self._leaving)

        await loop.run_in_executor(self._thread, finish)
        await loop.run_in_executor(None, self._thread.shutdown)
        self._host.close()


def _discard(box: sandbox.Sandbox) -> None:
    try:
        box.discard()
    except OSError as error:
        log.warning("network namespace %s stays until the next start: %s", box.path, error)


def discard_result(work: asyncio.Future[sandbox.Sandbox]) -> None:
    """A callback for a sandbox that nobody wants any more once it is made."""
    if not work.cancelled() and work.exception() is None:
        work.result().discard()
