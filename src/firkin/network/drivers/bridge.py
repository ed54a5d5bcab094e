"""A bridge network: one Linux bridge, one subnet, addresses translated on the way out.

The bridge outlives the engine, and so do the containers' places on it. When the engine starts it
makes the bridge, or adopts the one that is there, and repairs what is missing.

Which subnet: ``--bip`` if given; else the one remembered, unless the host meanwhile uses it for
something else; else the address that an existing bridge has; else the first of the default address
pools that overlaps no address and no route of the host.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import ipaddress
import logging
import re
import secrets
import socket
from collections.abc import Collection

import msgspec

from firkin import errdefs
from firkin.linux import conntrack, netlink, netns, sysctl
from firkin.network import endpoint as endpoints
from firkin.network import firewall as firewalls
from firkin.network import ipam, portmapper, ruleset
from firkin.store import networks as store
from firkin.types import network as types

log = logging.getLogger(__name__)

_INTERFACE_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,14}")
_OPTION = "com.docker.network."


class BridgeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How the default bridge is set up.

    ``bip``: its address in CIDR form, "" to choose. ``stock``: how many network namespaces are
    kept ready; each is a namespace and a veth pair in the kernel.
    """

    name: str = "firkin0"
    bip: str = ""
    pools: tuple[ipam.Pool, ...] = ipam.DEFAULT_POOLS
    mtu: int = 1500
    stock: int = 4

    def check(self) -> None:
        """Raises ``InvalidParameter`` for what cannot work."""
        if not _INTERFACE_NAME.fullmatch(self.name):
            raise errdefs.InvalidParameter(
                f"{self.name!r} cannot be the name of a bridge: write at most 15 letters, digits, "
                "dots, dashes and underscores"
            )
        if not 68 <= self.mtu <= 65535:
            raise errdefs.InvalidParameter(f"the MTU {self.mtu} is not between 68 and 65535")
        if self.bip:
            ipam.parse_bip(self.bip)
        ipam.check_pools(self.pools)


class BridgeDriver:
    """The Driver of the default bridge."""

    def __init__(
        self,
        stored: store.StoredNetwork,
        config: BridgeConfig,
        directory: str,
        firewall: firewalls.Firewall,
        ports: portmapper.PortMapper,
    ) -> None:
        config.check()
        self.stored = stored
        self._config = config
        self._directory = directory
        self._firewall = firewall
        self._ports = ports
        self._thread = concurrent.futures.ThreadPoolExecutor(2, thread_name_prefix="firkin-bridge")
        self._addresses: ipam.Allocator | None = None
        self._stock: endpoints.Stock | None = None

    # Start

    async def start(self, live: Collection[types.Endpoint]) -> None:
        loop = asyncio.get_running_loop()
        index, address = await loop.run_in_executor(self._thread, self._set_up, list(live))
        self.stored = msgspec.structs.replace(
            self.stored, subnet=str(address.network), gateway=str(address.ip)
        )
        self._addresses = ipam.Allocator(address.network, address.ip)
        for endpoint in live:
            if not self._addresses.restore(ipam.parse_address(endpoint.ipv4_address)):
                log.warning(
                    "container %s keeps address %s, which network %s (%s) does not have: "
                    "restart it to give it a new one",
                    endpoint.container_id, endpoint.ipv4_address, self.stored.name, address.network,
                )  # fmt: skip
            self._ports.restore(endpoint.id, endpoint.ports)
        self._stock = endpoints.Stock(self._directory, index, self._config.mtu, self._config.stock)
        self._stock.refill()

    def _set_up(self, live: Collection[types.Endpoint]) -> tuple[int, ipaddress.IPv4Interface]:
        """Make the bridge what it should be; its index and address. Blocks."""
        name = self._config.name
        host = netlink.Socket()
        try:
            link = host.link(name)
            if link is not None and link.kind != "bridge":
                raise errdefs.System(
                    f"interface {name} exists and is not a bridge but {link.kind or 'a device'}: "
                    "give another name with --bridge"
                )
            address = self._choose(host, link, bool(live))
            if link is None:
                mac = ipam.mac_of(address.ip)
                host.request(netlink.add_bridge(name, mac, self._config.mtu))
                link = host.link(name)
                assert link is not None
            host.request(netlink.set_link(link.index, up=True, mtu=self._config.mtu))
            self._set_address(host, link.index, address)
            self._set_parameters()
            self._repair_ports(host, link.index, live)
            return link.index, address
        except OSError as error:
            raise errdefs.System(f"cannot set up the bridge {name}: {error}") from error
        finally:
            host.close()

    def _choose(
        self, host: netlink.Socket, link: netlink.Link | None, in_use: bool
    ) -> ipaddress.IPv4Interface:
        own = link.index if link else -1
        addresses = host.addresses()
        taken = [address.network for address in addresses if address.index != own]
        taken += [network for network, index in host.routed() if index != own]
        if self._config.bip:
            return ipam.parse_bip(self._config.bip)
        if self.stored.subnet:
            subnet = ipaddress.IPv4Network(self.stored.subnet)
            if in_use or not any(subnet.overlaps(network) for network in taken):
                return ipaddress.IPv4Interface(f"{self.stored.gateway}/{subnet.prefixlen}")
            log.warning("subnet %s is used elsewhere on this host by now, taking another", subnet)
        for address in addresses:
            if address.index == own and address.prefix_len <= 30:
                return ipaddress.IPv4Interface(f"{address.address}/{address.prefix_len}")
        subnet = ipam.choose_subnet(self._config.pools, taken)
        return ipaddress.IPv4Interface(f"{subnet[1]}/{subnet.prefixlen}")

    @staticmethod
    def _set_address(host: netlink.Socket, index: int, address: ipaddress.IPv4Interface) -> None:
        wanted = (str(address.ip), address.network.prefixlen)
        found = [one for one in host.addresses() if one.index == index]
        if any((one.address, one.prefix_len) == wanted for one in found):
            return
        for one in found:
            host.request(netlink.delete_address(index, one.address, one.prefix_len))
        host.request(netlink.add_address(index, *wanted))

    def _set_parameters(self) -> None:
        name = self._config.name
        if sysctl.write("net.ipv4.ip_forward", "1"):
            log.info("IPv4 forwarding was off on this host and is on now, for all interfaces")
        # Ports published on 127.0.0.1: see the firewall's guard chain for the other side of it.
        sysctl.write(("net", "ipv4", "conf", name, "route_localnet"), "1")
        # No container may reach the host by a link-local address that nobody gave out.
        with contextlib.suppress(FileNotFoundError):
            sysctl.write(("net", "ipv6", "conf", name, "disable_ipv6"), "1")

    @staticmethod
    def _repair_ports(host: netlink.Socket, bridge: int, live: Collection[types.Endpoint]) -> None:
        """Delete the ports that no running container has; put back those of running ones."""
        keep = {endpoint.host_interface for endpoint in live}
        for link in host.links():
            if link.name in keep and link.master != bridge:
                host.request(netlink.set_link(link.index, master=bridge, up=True))
            elif (
                link.name.startswith(endpoints.PREFIX)
                and link.master == bridge
                and link.name not in keep
            ):
                with contextlib.suppress(OSError):  # it may end by itself at this moment
                    host.request(netlink.delete_link(link.index))

    def rules(self) -> ruleset.Network | None:
        return ruleset.Network(
            bridge=self._config.name, subnet=ipaddress.IPv4Network(self.stored.subnet)
        )

    # Endpoints

    async def connect(self, request: types.EndpointRequest) -> types.Endpoint:
        if self._addresses is None or self._stock is None:
            raise errdefs.Unavailable(f"network {self.stored.name} is not set up yet")
        identity = secrets.token_hex(32)
        mac = ipam.parse_mac(request.mac_address) if request.mac_address else ""
        async with contextlib.AsyncExitStack() as undo:
            undo.callback(self._ports.release, identity)
            ports = self._reserve(identity, request)
            address = self._addresses.allocate(request.ipv4_address)
            undo.callback(self._addresses.release, address)
            wire = await self._take(self._stock)
            undo.push_async_callback(self._discard, wire.sandbox)
            endpoint = types.Endpoint(
                id=identity,
                network_id=self.stored.id,
                network_name=self.stored.name,
                container_id=request.container_id,
                netns=wire.sandbox.path,
                interface=endpoints.INTERFACE,
                host_interface=wire.host_interface,
                mac_address=mac or ipam.mac_of(address),
                ipv4_address=str(address),
                prefix_len=self._addresses.subnet.prefixlen,
                gateway=str(self._addresses.gateway),
                ports=ports,
            )
            await self._configure(wire, endpoint)
            published = redirects(endpoint)
            undo.push_async_callback(self._firewall.withdraw, published)
            await self._firewall.publish(published)
            await self._forget_connections(published)
            undo.pop_all()
        wire.sandbox.inside.close()
        return endpoint

    def _reserve(
        self, holder: str, request: types.EndpointRequest
    ) -> tuple[types.PublishedPort, ...]:
        try:
            return self._ports.reserve(holder, request.ports)
        except errdefs.System as error:
            name = request.container_name or request.container_id[:12]
            raise errdefs.System(
                f"driver failed programming external connectivity on endpoint {name}: {error}"
            ) from error

    @staticmethod
    async def _take(stock: endpoints.Stock) -> endpoints.Wire:
        try:
            return await stock.take()
        except OSError as error:
            raise errdefs.System(f"cannot make a network namespace: {error}") from error

    async def _configure(self, wire: endpoints.Wire, endpoint: types.Endpoint) -> None:
        work = asyncio.get_running_loop().run_in_executor(
            self._thread,
            wire.configure,
            endpoint.ipv4_address,
            endpoint.prefix_len,
            endpoint.gateway,
            endpoint.mac_address,
        )
        try:
            await endpoints.settle(work)
        except OSError as error:
            raise errdefs.System(
                f"cannot give the container its address {endpoint.ipv4_address}: {error}"
            ) from error

    async def _discard(self, sandbox: endpoints.Sandbox) -> None:
        loop = asyncio.get_running_loop()
        await endpoints.settle(loop.run_in_executor(self._thread, sandbox.discard))

    async def release(self, endpoint: types.Endpoint) -> None:
        published = redirects(endpoint)
        try:
            await self._firewall.withdraw(published)
        except errdefs.FirkinError as error:
            log.error("ports of container %s stay redirected: %s", endpoint.container_id, error)
        await self._forget_connections(published)
        self._ports.release(endpoint.id)
        if self._addresses is not None:
            self._addresses.release(ipam.parse_address(endpoint.ipv4_address))
        loop = asyncio.get_running_loop()
        await endpoints.settle(loop.run_in_executor(self._thread, netns.remove, endpoint.netns))
        if self._stock is not None:
            self._stock.forget(endpoint.host_interface)

    async def _forget_connections(self, published: Collection[ruleset.Redirect]) -> None:
        """Let senders of UDP that never pause follow the change of the rules."""
        ports = {redirect.host_port for redirect in published if redirect.proto == "udp"}
        if not ports:
            return
        loop = asyncio.get_running_loop()
        work = loop.run_in_executor(self._thread, conntrack.forget, socket.IPPROTO_UDP, ports)
        try:
            await endpoints.settle(work)
        except OSError as error:
            log.warning("UDP flows that are under way keep their old destination: %s", error)

    # Views

    def ipam(self) -> types.IPAM:
        pool = types.IPAMPool(subnet=self.stored.subnet, gateway=self.stored.gateway)
        return types.IPAM(config=[pool])

    def options(self) -> dict[str, str]:
        return {
            _OPTION + "bridge.default_bridge": "true",
            _OPTION + "bridge.enable_icc": "true",
            _OPTION + "bridge.enable_ip_masquerade": "true",
            _OPTION + "bridge.host_binding_ipv4": "0.0.0.0",
            _OPTION + "bridge.name": self._config.name,
            _OPTION + "driver.mtu": str(self._config.mtu),
        }

    async def close(self) -> None:
        if self._stock is not None:
            await self._stock.close()
        self._thread.shutdown()


def redirects(endpoint: types.Endpoint) -> list[ruleset.Redirect]:
    """What the firewall must do for the endpoint's published ports."""
    return [
        ruleset.Redirect(
            proto=port.proto,
            host_ip=ipaddress.IPv4Address(port.host_ip or "0.0.0.0"),
            host_port=port.host_port,
            container_ip=ipaddress.IPv4Address(endpoint.ipv4_address),
            container_port=port.container_port,
        )
        for port in endpoint.ports
    ]
