"""A container's network namespace, and the interfaces in it.

Making a namespace with a veth pair costs about ten milliseconds of kernel time, giving it an
address less than one. So a few are made in advance (``stock``): the far end is up and has no
address, the end on the host is no port of any bridge yet. A container takes one and configures it
over a netlink socket that was opened inside. The kernel ends a namespace and its pair by itself
when the last process has left and nothing keeps it; that takes tens of milliseconds and nobody
waits for it.

Namespaces are files in one directory, with random names; interfaces on the host's side are called
``vethfk`` and eight digits. Both make leftovers of a killed engine easy to find.

All methods block for at most some milliseconds: call them from a worker thread. What the kernel
refuses is an ``OSError``.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import socket
from collections.abc import Collection, Mapping
from typing import TypeVar

from firkin import errdefs
from firkin.linux import netlink, netns, sysctl

T = TypeVar("T")

PREFIX = "vethfk"
FIRST = "eth0"
MTU = 1500


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


class Pair:
    """A veth pair: ``name`` at ``index`` in a sandbox, ``host_name`` at ``host_index`` outside."""

    def __init__(self, name: str, index: int, host_name: str, host_index: int) -> None:
        self.name = name
        self.index = index
        self.host_name = host_name
        self.host_index = host_index


class Sandbox:
    """A network namespace kept at ``path``, with a netlink socket that works inside it.

    ``spare`` is a pair that no network has taken yet.
    """

    def __init__(self, path: str, inside: netlink.Socket | None = None) -> None:
        self.path = path
        self.spare: Pair | None = None
        self._inside = inside

    @classmethod
    def create(cls, directory: str) -> Sandbox:
        """A new namespace with only ``lo``, which is up.

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

    @property
    def inside(self) -> netlink.Socket:
        """The socket that works inside."""
        if self._inside is None:
            self._inside = netns.within(self.path, netlink.Socket)
        return self._inside

    def close(self) -> None:
        """Let go of the socket; it is opened again when needed."""
        if self._inside is not None:
            self._inside.close()
            self._inside = None

    def discard(self) -> None:
        """Undo :meth:`create`; the interfaces inside go with it."""
        self.close()
        netns.remove(self.path)

    def add_pair(self, host: netlink.Socket, name: str) -> Pair:
        """A new pair, whose end inside is called ``name``."""
        host_name = PREFIX + secrets.token_hex(4)
        fd = os.open(self.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            host.request(netlink.add_veth(host_name, name, fd, MTU))
        finally:
            os.close(fd)
        _set_if_there(("net", "ipv6", "conf", host_name, "disable_ipv6"), "1")
        inner = self.inside.link(name)
        if inner is None:
            raise errdefs.System(f"interface {name} vanished from {self.path}")
        self.inside.request(netlink.set_link(inner.index, up=True))
        return Pair(name, inner.index, host_name, socket.if_nametoindex(host_name))

    def take_pair(self, host: netlink.Socket, name: str) -> Pair:
        """The spare pair under the name ``name``, or a new one."""
        pair, self.spare = self.spare, None
        if pair is None:
            return self.add_pair(host, name)
        if pair.name != name:
            self.inside.request(
                netlink.set_link(pair.index, up=False, name=name),
                netlink.set_link(pair.index, up=True),
            )
            pair.name = name
        return pair

    def free_name(self, prefix: str = "eth") -> str:
        """The first of eth0, eth1... that no interface has."""
        if self.spare is not None:  # which is the only one
            return prefix + "0"
        taken = {link.name for link in self.inside.links()}
        return next(name for number in range(4096) if (name := f"{prefix}{number}") not in taken)

    def configure(
        self,
        name: str,
        index: int,
        addresses: Collection[tuple[str, int]],
        *,
        mac: str = "",
        mtu: int = MTU,
        sysctls: Mapping[str, str] | None = None,
    ) -> None:
        """Give an interface its addresses with their prefix lengths, and bring it up.

        ``sysctls`` are parameters of it, such as ``net.ipv4.conf.IFNAME.log_martians``.
        """
        settings: dict[str, str] = {}
        if any(":" in address for address, _ in addresses):
            settings |= {
                f"net.ipv6.conf.IFNAME.{key}": value
                for key, value in (("accept_dad", "0"), ("accept_ra", "0"), ("disable_ipv6", "0"))
            }
        settings |= sysctls or {}
        if settings:
            netns.within(self.path, lambda: _write_all(settings, name))
        # The MAC address comes after the IP address: its change is what arp_notify announces.
        self.inside.request(
            *(netlink.add_address(index, address, length) for address, length in addresses),
            netlink.set_link(index, up=True, mac=mac, mtu=mtu if mtu != MTU else 0),
        )

    def route(self, name: str, gateway: str) -> None:
        """Send everything else to ``gateway``, which is reached by the interface ``name``."""
        self.inside.request(netlink.add_default_route(gateway, self._index(name)))

    def unroute(self, name: str, gateway: str) -> None:
        """Undo :meth:`route`; a route that is not there any more is fine."""
        try:
            self.inside.request(netlink.delete_default_route(gateway, self._index(name)))
        except (ProcessLookupError, FileNotFoundError):
            pass

    def _index(self, name: str) -> int:
        link = self.inside.link(name)
        if link is None:
            raise FileNotFoundError(f"the container has no interface {name}")
        return link.index

    def delete(self, name: str) -> None:
        """Delete an interface inside; one that is not there is fine."""
        link = self.inside.link(name)
        if link is not None:
            self.inside.request(netlink.delete_link(link.index))


def _write_all(settings: Mapping[str, str], interface: str) -> None:
    for name, value in settings.items():
        parts = [interface if part == "IFNAME" else part for part in name.split(".")]
        try:
            sysctl.write(parts, value)
        except FileNotFoundError as error:
            raise errdefs.InvalidParameter(
                f"cannot set {name} to {value}: the kernel has no such parameter for interface "
                f"{interface}"
            ) from error


def _set_if_there(name: str | tuple[str, ...], value: str) -> None:
    try:
        sysctl.write(name, value)
    except FileNotFoundError:  # a kernel without IPv6, or an interface that is already gone
        pass


def remove_stale(directory: str, keep: Collection[str]) -> None:
    """Remove all namespaces in ``directory`` whose paths are not in ``keep``."""
    try:
        names = os.listdir(directory)
    except FileNotFoundError:
        return
    for name in names:
        path = os.path.join(directory, name)
        if path not in keep:
            netns.remove(path)
