"""Networks whose containers sit on the wire of one of the host's interfaces: macvlan and ipvlan.

The parent interface (``-o parent=eth0``) stays the host's; every container has an interface above
it. A parent such as ``eth0.50`` that does not exist is made: the VLAN 50 of eth0; it goes with the
network. Nothing is translated and nothing is published: containers have addresses of their own out
there, and by design of the kernel the host itself does not reach them through the parent.
"""

from __future__ import annotations

import asyncio
import contextlib
import errno
import os
import secrets
from collections.abc import Collection, Sequence

import msgspec

from firkin import errdefs
from firkin.linux import netlink
from firkin.network import addresses, ipam, ruleset, sandbox
from firkin.network import driver as drivers
from firkin.network.drivers import bridge_options, shared
from firkin.store import networks as store
from firkin.types import network as types

_MISSING = (errno.EOPNOTSUPP, errno.ENODEV, errno.EPROTONOSUPPORT)


class AboveDriver:
    """The Driver of one macvlan or ipvlan network, by ``stored.driver``."""

    namespaced = True
    exclusive = False
    pairs = False

    def __init__(
        self, stored: store.StoredNetwork, pools: Sequence[ipam.Pool], host: shared.Shared
    ) -> None:
        self.stored = stored
        self._pools = pools
        self._host = host
        self._kind = stored.driver
        options = stored.options
        self._mode = options.get(f"{self._kind}_mode") or (
            "bridge" if self._kind == "macvlan" else "l2"
        )
        self._flag = options.get("ipvlan_flag") or "bridge"
        _check("mode", self._mode, netlink.modes(self._kind))
        _check("flag", self._flag, ("bridge", "private", "vepa"))
        self._parent = options.get("parent", "")
        self._internal = stored.internal or not self._parent
        if self._parent:
            bridge_options.check_interface(self._parent, "the parent interface")
        self._parent = self._parent or f"dm-{stored.id[:12]}"
        mtu = options.get(bridge_options.PREFIX + "driver.mtu", "")
        self._mtu = bridge_options.check_mtu(int(mtu)) if mtu.isdigit() else 0
        self._index = 0
        self._space: ipam.Space | None = None

    # Start and end

    async def start(self, live: Collection[types.Endpoint]) -> None:
        self._index = await self._host.run(self._set_up)
        self._space = addresses.space(self.stored.pools)
        shared.restore(self._space, live, self.stored.name)

    def _set_up(self) -> int:
        """Find or make the parent, and see that the kernel has such interfaces. Blocks."""
        host = self._host.netlink
        link = host.link(self._parent)
        made = False
        if link is None:
            self._make_parent(host)
            made = True
            link = host.link(self._parent)
            assert link is not None
        if self._host.fresh(self.stored.id):
            self._try(host, link.index)
        versions = [4] * self.stored.enable_ipv4 + [6] * self.stored.enable_ipv6
        pools = addresses.complete(
            self.stored.pools,
            versions=versions,
            default=self._pools,
            taken=[
                *(one for version in versions for one in addresses.on_host(host, version)),
                *self._host.reserved(self.stored.id),
            ],
        )
        adopted = self.stored.adopted or (self._host.fresh(self.stored.id) and not made)
        self.stored = msgspec.structs.replace(self.stored, pools=pools, adopted=adopted)
        return link.index

    def _make_parent(self, host: netlink.Socket) -> None:
        if "parent" not in self.stored.options:
            self._ask(host, netlink.add_dummy(self._parent), "dummy")
            return
        base, dot, tag = self._parent.rpartition(".")
        below = host.link(base) if dot else None
        if below is None or not tag.isdigit() or not 0 < int(tag) < 4095:
            raise errdefs.InvalidParameter(
                f"this host has no interface {self._parent}: give one that it has, or a VLAN of it "
                "such as eth0.50"
            )
        self._ask(host, netlink.add_vlan(self._parent, below.index, int(tag)), "vlan")

    def _ask(self, host: netlink.Socket, message: netlink.Message, kind: str) -> None:
        try:
            host.request(message)
        except OSError as error:
            if error.errno in _MISSING:
                raise errdefs.NotImplemented(
                    f"this kernel has no {kind} interfaces: load its module {kind} or use another "
                    "driver"
                ) from error
            raise errdefs.System(
                f"cannot make a {kind} interface on {self._parent}: {error}"
            ) from error

    def _try(self, host: netlink.Socket, parent: int) -> None:
        name = "fktry" + secrets.token_hex(4)
        fd = os.open("/proc/self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._ask(host, self._message(name, parent, fd), self._kind)
        finally:
            os.close(fd)
        if (link := host.link(name)) is not None:
            host.request(netlink.delete_link(link.index))

    def _message(self, name: str, parent: int, netns: int) -> netlink.Message:
        if self._kind == "macvlan":
            return netlink.add_macvlan(name, parent, self._mode, netns, self._mtu)
        return netlink.add_ipvlan(name, parent, self._mode, self._flag, netns, self._mtu)

    async def remove(self) -> None:
        if self.stored.adopted or not self._index:
            return

        def work() -> None:
            link = self._host.netlink.link(self._parent)
            if link is not None and link.kind in ("vlan", "dummy"):
                self._host.netlink.request(netlink.delete_link(link.index))

        try:
            await self._host.run(work)
        except OSError as error:
            raise errdefs.System(f"cannot delete {self._parent}: {error}") from error

    def rules(self) -> ruleset.Network | None:
        return None

    def publishing(self, version: int) -> drivers.Publishing | None:
        return None

    # Endpoints

    async def connect(
        self, place: sandbox.Sandbox | None, request: types.EndpointRequest, container_id: str
    ) -> types.Endpoint:
        space = self._space
        if space is None or place is None:
            raise errdefs.Unavailable(f"network {self.stored.name} is not set up")
        mac = ipam.parse_mac(request.mac_address) if request.mac_address else ""
        async with contextlib.AsyncExitStack() as undo:
            fields: dict[str, str | int] = {}
            inside = []
            for version, wanted in ((4, request.ipv4_address), (6, request.ipv6_address)):
                if space.of(version) and (version == 4 or shared.has_ipv6(request)):
                    subnet, address = space.allocate(version, wanted)
                    undo.callback(space.release, str(address))
                    inside.append((str(address), subnet.subnet.prefixlen))
                    internal = self._internal or self._mode.startswith("l3")
                    fields |= shared.fields(version, subnet, address, internal=internal)
                    mac = mac or ipam.mac_of(address)
                elif wanted:
                    raise errdefs.InvalidParameter(
                        f"network {self.stored.name} has no IPv{version} for {wanted}"
                    )
            mac = mac if self._kind == "macvlan" else ""
            work = asyncio.get_running_loop().run_in_executor(
                self._host.threads, self._wire, place, request, inside, mac
            )
            undo.push_async_callback(self._unwire, place, work)
            try:
                name = await sandbox.settle(work)
            except OSError as error:
                raise errdefs.System(
                    f"cannot put an interface on {self._parent} into the container: {error}"
                ) from error
            undo.pop_all()
        return types.Endpoint(
            id=secrets.token_hex(32),
            network_id=self.stored.id,
            network_name=self.stored.name,
            container_id=container_id,
            netns=place.path,
            interface=name,
            mac_address=mac,
            gw_priority=request.gw_priority,
            **fields,  # type: ignore[arg-type]
        )

    def _wire(
        self,
        place: sandbox.Sandbox,
        request: types.EndpointRequest,
        inside: list[tuple[str, int]],
        mac: str,
    ) -> str:
        name, sysctls = shared.interface(place, request)
        fd = os.open(place.path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            self._host.netlink.request(self._message(name, self._index, fd))
        finally:
            os.close(fd)
        try:
            link = place.inside.link(name)
            assert link is not None
            place.configure(name, link.index, inside, mac=mac, sysctls=sysctls)
            if self._mode.startswith("l3") and not self._internal:
                place.inside.request(netlink.add_default_link(link.index))
        except BaseException:
            place.delete(name)
            raise
        return name

    async def _unwire(self, place: sandbox.Sandbox, work: asyncio.Future[str]) -> None:
        if not work.cancelled() and work.exception() is None:
            await self._host.run(lambda: place.delete(work.result()))

    async def release(self, endpoint: types.Endpoint, place: sandbox.Sandbox | None) -> None:
        if place is not None:
            await self._host.run(lambda: place.delete(endpoint.interface))
        if self._space is not None:
            self._space.release(endpoint.ipv4_address)
            self._space.release(endpoint.ipv6_address)

    # Views

    def ipam(self) -> types.IPAM:
        return shared.shown_ipam(self.stored)

    def subnets(self) -> dict[str, types.SubnetStatus]:
        return addresses.status(self._space) if self._space is not None else {}

    def options(self) -> dict[str, str]:
        return {}

    async def close(self) -> None:
        return None


def _check(what: str, value: str, known: Collection[str]) -> None:
    if value not in known:
        raise errdefs.InvalidParameter(
            f"invalid {what} {value!r} of the network: use one of {', '.join(known)}"
        )
