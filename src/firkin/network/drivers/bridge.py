"""A bridge network: one Linux bridge, its subnets, addresses translated on the way out.

The bridge outlives the engine, and so do the containers' places on it. When the engine starts it
makes the bridge, or adopts the one that is there, and repairs what is missing.

Which subnet: what the user gave (``--subnet``; ``default_bridge`` for that one); else the one
remembered; else the first of the default address pools that overlaps no network of this engine and
no address or route of the host.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import Collection

import msgspec

from firkin import errdefs
from firkin.linux import netlink
from firkin.network import addresses, ipam, ruleset, sandbox
from firkin.network import driver as drivers
from firkin.network.drivers import bridge_link, bridge_options, default_bridge, shared
from firkin.store import networks as store
from firkin.types import network as types


class BridgeDriver:
    """The Driver of one bridge network."""

    namespaced = True
    exclusive = False
    pairs = True

    def __init__(
        self, stored: store.StoredNetwork, config: default_bridge.BridgeConfig, host: shared.Shared
    ) -> None:
        self._default = stored.name == "bridge"
        if self._default:
            stored = msgspec.structs.replace(stored, enable_ipv6=config.ipv6)
        self.stored = stored
        self._config = config
        self._host = host
        self._options = bridge_options.parse(stored.options, internal=stored.internal)
        if self._default:
            self._options = msgspec.structs.replace(
                self._options, icc=config.icc, masquerade=config.masquerade
            )
        self._name = config.name if self._default else self._options.name or f"br-{stored.id[:12]}"
        self._mtu = self._options.mtu or config.mtu
        self._index = 0
        self._ours = False
        self._space: ipam.Space | None = None

    # Start and end

    async def start(self, live: Collection[types.Endpoint]) -> None:
        if self._host.fresh(self.stored.id):
            self._host.check_bridge(self._name)
        self._index = await self._host.run(lambda: self._set_up(list(live)))
        self._space = addresses.space(self.stored.pools)
        shared.restore(self._space, live, self.stored.name)

    def _versions(self) -> list[int]:
        wanted = ((4, self.stored.enable_ipv4), (6, self.stored.enable_ipv6))
        return [version for version, enabled in wanted if enabled]

    def _set_up(self, live: Collection[types.Endpoint]) -> int:
        """Make the bridge what it should be; its index. Blocks."""
        host = self._host.netlink
        try:
            link = host.link(self._name)
            if link is not None and link.kind != "bridge":
                raise errdefs.System(
                    f"interface {self._name} exists and is not a bridge but a "
                    f"{link.kind or 'device'}: give another name with --bridge or the option "
                    f"{bridge_options.PREFIX}bridge.name"
                )
            # Known before anything can fail: what was here before is not ours to remove.
            adopted = link is not None and (
                self.stored.adopted or (self._host.fresh(self.stored.id) and not self._default)
            )
            self.stored = msgspec.structs.replace(self.stored, adopted=adopted)
            self._ours = not adopted
            pools = self._choose(host, link, bool(live))
            self.stored = msgspec.structs.replace(self.stored, pools=pools)
            if link is None:
                mac = ipam.mac_of(ipam.parse_address(pools[0].gateway)) if pools else ""
                host.request(netlink.add_bridge(self._name, mac, self._mtu))
                link = host.link(self._name)
                assert link is not None
            mtu = self._options.mtu if adopted else self._mtu
            host.request(netlink.set_link(link.index, up=True, mtu=mtu))
            if not adopted:
                bridge_link.set_addresses(host, link.index, self._own_addresses())
            ipv6 = self.stored.enable_ipv6 and self._options.mode6 != "isolated"
            bridge_link.set_parameters(
                self._name,
                internal=self.stored.internal,
                ipv6=ipv6,
                forward=self._config.forward,
            )
            if not self._host.fresh(self.stored.id):
                bridge_link.repair_ports(host, link.index, live, isolated=not self._options.icc)
            return link.index
        except OSError as error:
            raise errdefs.System(f"cannot set up the bridge {self._name}: {error}") from error

    def _choose(
        self, host: netlink.Socket, link: netlink.Link | None, in_use: bool
    ) -> list[types.IPAMPool]:
        own = link.index if link else -1
        taken = addresses.on_host(host, 4, without=own)
        if self.stored.enable_ipv6:
            taken += addresses.on_host(host, 6, without=own)
        pools = self.stored.pools
        if self._default:
            mine = [one for one in host.addresses() if one.index == own]
            pools = default_bridge.pools(
                self._config, self.stored.pools, mine, [] if in_use else taken
            )
        if self._host.fresh(self.stored.id):
            addresses.check_free(host, pools, without=own)
        taken += self._host.reserved(self.stored.id)
        found = addresses.complete(
            pools, versions=self._versions(), default=self._config.pools, taken=taken
        )
        return default_bridge.gateways(self._config, found) if self._default else found

    def _own_addresses(self) -> list[tuple[str, int]]:
        """Addresses of the bridge itself, with their prefix lengths."""
        found = []
        for pool in self.stored.pools:
            subnet = ipam.parse_subnet(pool.subnet)
            mode = self._options.mode4 if subnet.version == 4 else self._options.mode6
            if mode == "isolated" or (subnet.version == 4 and self._options.inhibit_ipv4):
                continue
            found.append((pool.gateway, subnet.prefixlen))
        return found

    async def remove(self) -> None:
        if not self._ours:
            return

        def work() -> None:
            link = self._host.netlink.link(self._name)
            if link is not None and link.kind == "bridge":
                self._host.netlink.request(netlink.delete_link(link.index))

        try:
            await self._host.run(work)
        except OSError as error:
            raise errdefs.System(f"cannot delete the bridge {self._name}: {error}") from error

    def rules(self) -> ruleset.Network | None:
        subnets = [ipam.parse_subnet(pool.subnet) for pool in self.stored.pools]
        modes = {4: self._options.mode4, 6: self._options.mode6}
        masquerade = tuple(
            subnet
            for subnet in subnets
            if self._options.masquerade
            and not self.stored.internal
            and modes[subnet.version].startswith("nat")
        )
        hosts = {4: self._options.host4, 6: self._options.host6}
        return ruleset.Network(
            bridge=self._name,
            subnets=tuple(subnets),
            icc=self._options.icc,
            internal=self.stored.internal,
            masquerade=masquerade,
            leaves_as=tuple(
                (subnet, ipam.parse_address(hosts[subnet.version]))
                for subnet in masquerade
                if hosts[subnet.version]
            ),
            unprotected="nat-unprotected" in modes.values(),
            routed=tuple(version for version, mode in modes.items() if mode == "routed"),
        )

    def publishing(self, version: int) -> drivers.Publishing | None:
        if self.stored.internal or version not in self._versions():
            return None
        mode = self._options.mode4 if version == 4 else self._options.mode6
        binding = self._options.host_binding or self._config.binding
        return drivers.Publishing(routed=mode == "routed", binding=binding)

    # Endpoints

    async def connect(
        self, place: sandbox.Sandbox | None, request: types.EndpointRequest, container_id: str
    ) -> types.Endpoint:
        space = self._space
        if space is None or place is None:
            raise errdefs.Unavailable(f"network {self.stored.name} is not set up")
        mac = ipam.parse_mac(request.mac_address) if request.mac_address else ""
        ipv6 = shared.has_ipv6(request)
        versions = [one for one in self._versions() if one == 4 or ipv6]
        if not versions or (request.ipv6_address and not ipv6):
            raise errdefs.InvalidParameter(
                f"network {self.stored.name} wants an IPv6 address, and the container's kernel "
                "parameters switch IPv6 off (disable_ipv6)"
            )
        if request.ipv6_address and not self.stored.enable_ipv6:
            raise errdefs.InvalidParameter(
                f"invalid IPv6 address {request.ipv6_address}: network {self.stored.name} has no "
                "IPv6: create it with --ipv6"
            )
        async with contextlib.AsyncExitStack() as undo:
            given: dict[int, tuple[ipam.Allocator, ipam.Address]] = {}
            for version in versions:
                wanted = request.ipv4_address if version == 4 else request.ipv6_address
                given[version] = space.allocate(version, wanted)
                undo.callback(space.release, str(given[version][1]))
            first = next(iter(given.values()))[1]
            fields: dict[str, str | int] = {"mac_address": mac or ipam.mac_of(first)}
            for version, (subnet, address) in given.items():
                fields |= shared.fields(version, subnet, address, internal=self.stored.internal)
                if self._default and (gateway := self._config.gateway(version)):
                    fields["gateway" if version == 4 else "ipv6_gateway"] = gateway
            inside = [(str(address), one.subnet.prefixlen) for one, address in given.values()]
            inside += [(text, 16 if ":" not in text else 64) for text in request.link_local]
            work = asyncio.get_running_loop().run_in_executor(
                self._host.threads,
                self._wire, place, request, inside, str(fields["mac_address"]),
            )  # fmt: skip
            undo.push_async_callback(self._unwire, place, work)
            try:
                pair = await sandbox.settle(work)
            except OSError as error:
                shown = ", ".join(address for address, _ in inside)
                raise errdefs.System(
                    f"cannot give the container its address {shown}: {error}"
                ) from error
            undo.pop_all()
        return types.Endpoint(
            id=secrets.token_hex(32),
            network_id=self.stored.id,
            network_name=self.stored.name,
            container_id=container_id,
            netns=place.path,
            interface=pair.name,
            host_interface=pair.host_name,
            gw_priority=request.gw_priority,
            **fields,  # type: ignore[arg-type]
        )

    def _wire(
        self,
        place: sandbox.Sandbox,
        request: types.EndpointRequest,
        inside: list[tuple[str, int]],
        mac: str,
    ) -> sandbox.Pair:
        host = self._host.netlink
        name, sysctls = shared.interface(place, request, self._options.interface_prefix)
        pair = place.take_pair(host, name)
        try:
            mtu = self._mtu if self._mtu != sandbox.MTU else 0
            host.request(
                netlink.set_link(pair.host_index, up=True, master=self._index, mtu=mtu),
                netlink.set_port(pair.host_name, isolated=not self._options.icc),
            )
            place.configure(name, pair.index, inside, mac=mac, mtu=self._mtu, sysctls=sysctls)
        except BaseException:
            place.delete(name)
            raise
        return pair

    async def _unwire(self, place: sandbox.Sandbox, work: asyncio.Future[sandbox.Pair]) -> None:
        if not work.cancelled() and work.exception() is None:
            await self._host.run(lambda: place.delete(work.result().name))

    async def release(self, endpoint: types.Endpoint, place: sandbox.Sandbox | None) -> None:
        if place is not None:
            await self._host.run(lambda: place.delete(endpoint.interface))
        else:
            self._host.stock.forget(endpoint.host_interface)
        if self._space is not None:
            self._space.release(endpoint.ipv4_address)
            self._space.release(endpoint.ipv6_address)

    # Views

    def ipam(self) -> types.IPAM:
        return shared.shown_ipam(self.stored)

    def subnets(self) -> dict[str, types.SubnetStatus]:
        return addresses.status(self._space) if self._space is not None else {}

    def options(self) -> dict[str, str]:
        if not self._default:
            return {}
        prefix = bridge_options.PREFIX
        return {
            prefix + "bridge.default_bridge": "true",
            prefix + "bridge.enable_icc": str(self._options.icc).lower(),
            prefix + "bridge.enable_ip_masquerade": str(self._options.masquerade).lower(),
            prefix + "bridge.host_binding_ipv4": self._config.binding or "0.0.0.0",
            prefix + "bridge.name": self._config.name,
            prefix + "driver.mtu": str(self._mtu),
        }

    async def close(self) -> None:
        return None
