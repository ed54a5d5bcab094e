"""A container's network namespace and its veth pair, and a stock of ready-made ones.

Making a namespace with a pair costs about ten milliseconds of kernel time, giving it an address
less than one. So a few are made in advance: up, attached to the bridge, without an address; a
container takes one and configures it over a netlink socket that was opened inside. The kernel ends
a namespace and its pair by itself when the last process has left and nothing keeps it; that takes
tens of milliseconds and nobody waits for it.

Namespaces are files in one directory, with random names; interfaces on the host's side are called
``vethfk`` and eight digits. Both make leftovers of a killed engine easy to find.
"""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import logging
import os
import secrets
from collections.abc import Collection
from typing import TypeVar

from firkin import errdefs
from firkin.linux import netlink, netns, sysctl, tasks

log = logging.getLogger(__name__)

T = TypeVar("T")

PREFIX = "vethfk"
INTERFACE = "eth0"
_REFILL_DELAY = 0.05
_LINGER = 0.5


async def settle(work: asyncio.Future[T]) -> T:
    """Wait for work in a thread. When cancelled, pass that on once the work has ended.

    A thread cannot be stopped; what it works on must not be taken away meanwhile.
    """
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        if not work.done():
            await asyncio.wait([work])
        raise


class Sandbox:
    """A network namespace kept at ``path``, with a netlink socket that works inside it."""

    def __init__(self, path: str, inside: netlink.Socket) -> None:
        self.path = path
        self.inside = inside

    @classmethod
    def create(cls, directory: str) -> Sandbox:
        """A new namespace with only ``lo``, which is up. Blocks; raises ``OSError``.

        Interfaces that come later have no IPv6; ``lo`` keeps ::1.
        """

        def prepare() -> netlink.Socket:
            inside = netlink.Socket()
            try:
                inside.request(netlink.set_link(1, up=True))
                _set_if_there("net.ipv6.conf.default.disable_ipv6", "1")
                # Tell the neighbours when an address comes with another MAC than it had before.
                _set_if_there("net.ipv4.conf.default.arp_notify", "1")
            except BaseException:
                inside.close()
                raise
            return inside

        os.makedirs(directory, mode=0o711, exist_ok=True)
        path = os.path.join(directory, secrets.token_hex(6))
        return cls(path, netns.create(path, prepare))

    def discard(self) -> None:
        """Undo :meth:`create`; a veth pair inside goes with it."""
        self.inside.close()
        netns.remove(self.path)


class Wire:
    """A sandbox whose ``eth0`` is the far end of the port ``host_interface`` of a bridge."""

    def __init__(self, sandbox: Sandbox, host_interface: str, index: int) -> None:
        self.sandbox = sandbox
        self.host_interface = host_interface
        self._index = index

    @classmethod
    def create(cls, directory: str, host: netlink.Socket, bridge: int, mtu: int) -> Wire:
        """A new sandbox wired to the bridge of that index, without an address. Blocks."""
        sandbox = Sandbox.create(directory)
        try:
            name = PREFIX + secrets.token_hex(4)
            fd = os.open(sandbox.path, os.O_RDONLY | os.O_CLOEXEC)
            try:
                # Where br_netfilter is active, a packet from a container to its own published port
                # is redirected while it is bridged, and leaves by the port that it came from.
                host.request(
                    netlink.add_veth(name, INTERFACE, fd, mtu, bridge), netlink.set_hairpin(name)
                )
            finally:
                os.close(fd)
            _set_if_there(("net", "ipv6", "conf", name, "disable_ipv6"), "1")
            link = sandbox.inside.link(INTERFACE)
            if link is None:
                raise errdefs.System(f"interface {INTERFACE} vanished from {sandbox.path}")
            sandbox.inside.request(netlink.set_link(link.index, up=True))
            return cls(sandbox, name, link.index)
        except BaseException:
            sandbox.discard()
            raise

    def configure(self, address: str, prefix_len: int, gateway: str, mac: str) -> None:
        """Give ``eth0`` its addresses and the way out. Blocks; raises ``OSError``."""
        # The MAC address comes after the IP address: its change is what arp_notify announces.
        self.sandbox.inside.request(
            netlink.add_address(self._index, address, prefix_len),
            netlink.set_link(self._index, mac=mac),
            netlink.add_default_route(gateway, self._index),
        )


def _set_if_there(name: str | tuple[str, ...], value: str) -> None:
    try:
        sysctl.write(name, value)
    except FileNotFoundError:  # a kernel without IPv6, or an interface that is already gone
        pass


def remove_stale(directory: str, keep: Collection[str]) -> None:
    """Remove all namespaces in ``directory`` whose paths are not in ``keep``. Blocks."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return
    for name in names:
        path = os.path.join(directory, name)
        if path not in keep:
            netns.remove(path)


class Stock:
    """Ready-made wires to one bridge, refilled in the background up to ``size``.

    Its worker threads also end what containers leave behind.
    """

    def __init__(self, directory: str, bridge: int, mtu: int, size: int) -> None:
        self._directory = directory
        self._bridge = bridge
        self._mtu = mtu
        self._size = size
        self._ready: collections.deque[Wire] = collections.deque()
        self._tasks = tasks.Tasks("network stock")
        self._thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="firkin-stock")
        self._host = netlink.Socket()
        self._refilling = False
        self._closed = False
        self._leaving: set[str] = set()
        self._sweeping = False

    @property
    def ready(self) -> int:
        """How many wires are waiting."""
        return len(self._ready)

    def _make(self) -> Wire:
        return Wire.create(self._directory, self._host, self._bridge, self._mtu)

    async def take(self) -> Wire:
        """A wire, made on the spot when none is ready. The caller owns it.

        Raises ``OSError``.
        """
        try:
            if self._ready:
                return self._ready.popleft()
            work = asyncio.get_running_loop().run_in_executor(self._thread, self._make)
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                work.add_done_callback(_discard_result)
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
                    wire = await asyncio.shield(work)
                except asyncio.CancelledError:
                    work.add_done_callback(_discard_result)
                    raise
                self._ready.append(wire)
        except (OSError, errdefs.FirkinError) as error:
            log.warning("cannot make network namespaces in advance: %s", error)
        finally:
            self._refilling = False

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
        for link in self._host.links():
            if link.name in names:
                try:
                    self._host.request(netlink.delete_link(link.index))
                except OSError as error:
                    log.debug("interface %s is already gone: %s", link.name, error)

    async def close(self) -> None:
        """Discard what is ready and end what was left. Wires that were taken stay."""
        self._closed = True
        await self._tasks.close()
        loop = asyncio.get_running_loop()
        wires = list(self._ready)
        self._ready.clear()

        def finish() -> None:
            for wire in wires:
                wire.sandbox.discard()
            if self._leaving:
                self._delete_links(self._leaving)

        await loop.run_in_executor(self._thread, finish)
        await loop.run_in_executor(None, self._thread.shutdown)
        self._host.close()


def _discard_result(work: asyncio.Future[Wire]) -> None:
    if not work.cancelled() and work.exception() is None:
        work.result().sandbox.discard()
