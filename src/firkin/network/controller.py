"""The networks of one engine, and every container's place on one.

The controller owns what networks share: the firewall table, the host ports, the list of endpoints
and its copy in the database. What a network does is its driver's business.

At start it believes the database only as far as the engine and the kernel confirm it: an endpoint
stays when its container runs and its namespace is there; everything else that an earlier engine
left is removed. An endpoint is written to the database when it is complete; one that was cut off
halfway is found by what it left (a namespace file that no endpoint names, a port of the bridge).
"""

from __future__ import annotations

import asyncio
import datetime
import logging
import os
import secrets
import sqlite3
import time
import weakref
from collections.abc import Collection, Mapping

import msgspec

from firkin import errdefs
from firkin.linux import netns, sysctl
from firkin.network import driver as drivers
from firkin.network import endpoint as endpoints
from firkin.network import firewall, portmapper, ruleset
from firkin.network.drivers import bridge as bridge_driver
from firkin.network.drivers import host, none
from firkin.store import db as database
from firkin.store import networks as store
from firkin.types import network as types

log = logging.getLogger(__name__)

PREDEFINED = {"bridge": "bridge", "host": "host", "none": "null"}
"""Names of the networks that always exist, and their drivers as the API calls them."""


class Controller:
    """Make one per engine; :meth:`start` it before anything else.

    ``table`` is the name of the engine's own nftables table; ``exec_root`` holds the namespaces'
    files. A bridge of the name ``none`` means: no default bridge.
    """

    def __init__(
        self,
        db: database.Database,
        *,
        exec_root: str,
        bridge: bridge_driver.BridgeConfig,
        table: str,
    ) -> None:
        bridge.check()
        self._db = db
        self._directory = os.path.join(os.path.realpath(exec_root), "netns")
        self._bridge = bridge
        self._firewall = firewall.Firewall(table)
        self._ports = portmapper.PortMapper()
        self._drivers: dict[str, drivers.Driver] = {}
        self._endpoints: dict[str, types.Endpoint] = {}
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()

    # Start and end

    async def start(self, live: Collection[str]) -> None:
        """Bring all networks into being and adopt the endpoints of the containers ``live``.

        Whatever else an earlier engine of this data root left is removed, whenever it was killed.
        Once per controller. Raises ``System`` when the host cannot do it.
        """
        running = set(live)
        known, found = await self._db.run(lambda c: (store.all_networks(c), store.all_endpoints(c)))
        kept = [
            endpoint
            for endpoint in found
            if endpoint.container_id in running
            and (not endpoint.netns or netns.exists(endpoint.netns))
        ]
        paths = {endpoint.netns for endpoint in kept}
        await asyncio.to_thread(endpoints.remove_stale, self._directory, paths)
        self._drivers = {}
        self._endpoints = {}
        remembered = {network.name: network for network in known}
        for name in PREDEFINED:
            if name == "bridge" and self._bridge.name == "none":
                continue
            driver = self._driver(remembered.get(name) or _new(name))
            mine = [one for one in kept if one.network_id == driver.stored.id]
            await driver.start(mine)
            self._drivers[driver.stored.id] = driver
            self._endpoints.update({one.container_id: one for one in mine})
        gone = {one.container_id for one in found} - set(self._endpoints)
        await self._install()
        await self._db.run(lambda connection: self._remember(connection, gone))

    def _driver(self, stored: store.StoredNetwork) -> drivers.Driver:
        if stored.driver == "bridge":
            return bridge_driver.BridgeDriver(
                stored, self._bridge, self._directory, self._firewall, self._ports
            )
        if stored.driver == "host":
            return host.HostDriver(stored)
        return none.NoneDriver(stored, self._directory)

    async def _install(self) -> None:
        rules = [rule for one in self._drivers.values() if (rule := one.rules()) is not None]
        redirects: list[ruleset.Redirect] = []
        for endpoint in self._endpoints.values():
            redirects += bridge_driver.redirects(endpoint)
        if rules:
            await self._firewall.install(rules, redirects)

    def _remember(self, connection: sqlite3.Connection, gone: Collection[str]) -> None:
        for driver in self._drivers.values():
            store.put_network(connection, driver.stored)
        for container_id in gone:
            store.delete_endpoints(connection, container_id)

    async def close(self) -> None:
        """Let go of everything in this process. Containers keep their network as it is."""
        for driver in self._drivers.values():
            await driver.close()
        self._ports.close()
        await asyncio.to_thread(self._firewall.close)

    # Endpoints

    def _lock(self, container_id: str) -> asyncio.Lock:
        lock = self._locks.get(container_id)
        if lock is None:
            lock = self._locks[container_id] = asyncio.Lock()
        return lock

    async def connect(self, request: types.EndpointRequest) -> types.Endpoint:
        """Give a container its place on a network, with its ports published, or nothing at all.

        Raises ``NotFound`` for the network, ``Conflict`` when the container has a place already
        or its address is taken, ``InvalidParameter`` for an impossible request, ``System`` for a
        port in use and for what the kernel refuses.
        """
        driver = self._find(request.network)
        async with self._lock(request.container_id):
            present = self._endpoints.get(request.container_id)
            if present is not None:
                raise errdefs.Conflict(
                    f"container {request.container_name or request.container_id[:12]} is already "
                    f"connected to network {present.network_name}"
                )
            endpoint = await driver.connect(request)
            self._endpoints[request.container_id] = endpoint
            try:
                await self._db.run(lambda connection: store.put_endpoint(connection, endpoint))
            except BaseException:
                await self._release(request.container_id)
                raise
            return endpoint

    async def release(self, container_id: str) -> None:
        """End a container's place on its network; its address and ports are free on return.

        A container that has none is fine.
        """
        async with self._lock(container_id):
            await self._release(container_id)

    async def _release(self, container_id: str) -> None:
        endpoint = self._endpoints.get(container_id)
        if endpoint is None:
            return
        await self._drivers[endpoint.network_id].release(endpoint)
        self._endpoints.pop(container_id, None)
        await self._db.run(lambda connection: store.delete_endpoints(connection, container_id))

    def endpoint(self, container_id: str) -> types.Endpoint | None:
        """The container's place on its network, if it has one."""
        return self._endpoints.get(container_id)

    # Networks

    def _find(self, reference: str) -> drivers.Driver:
        """The network of a name, an id or the beginning of exactly one id."""
        for driver in self._drivers.values():
            if reference in (driver.stored.id, driver.stored.name):
                return driver
        matches = [one for one in self._drivers.values() if one.stored.id.startswith(reference)]
        if not reference or not matches:
            raise errdefs.NotFound(f"network {reference} not found")
        if len(matches) > 1:
            raise errdefs.InvalidParameter(
                f"network {reference} is ambiguous ({len(matches)} matches found on ID prefix): "
                "write more of its id"
            )
        return matches[0]

    def networks(self) -> list[types.Network]:
        """All networks, without their containers, as NetworkList shows them."""
        return [_describe(driver) for driver in self._drivers.values()]

    def inspect(self, reference: str, names: Mapping[str, str]) -> types.Network:
        """One network with its containers; ``names`` gives containers' names by their ids.

        Raises ``NotFound``, or ``InvalidParameter`` for an id's beginning that fits several.
        """
        driver = self._find(reference)
        containers = {
            endpoint.container_id: types.NetworkContainer(
                name=names.get(endpoint.container_id, ""),
                endpoint_id=endpoint.id,
                mac_address=endpoint.mac_address,
                ipv4_address=_cidr(endpoint),
            )
            for endpoint in self._endpoints.values()
            if endpoint.network_id == driver.stored.id
        }
        return msgspec.structs.replace(_describe(driver), containers=containers)

    async def create(self, network: types.Network) -> types.Network:
        """Make a user-defined network: not supported yet, so this always raises."""
        if network.name in PREDEFINED:
            raise errdefs.Forbidden(
                f"operation is not permitted on predefined {network.name} network"
            )
        raise errdefs.NotImplemented(
            f"cannot create network {network.name}: this engine has the networks "
            f"{', '.join(PREDEFINED)} only; user-defined networks are not supported"
        )

    async def remove(self, reference: str) -> None:
        """Remove a user-defined network. Raises ``NotFound``, ``Forbidden`` for the others."""
        name = self._find(reference).stored.name
        raise errdefs.Forbidden(f"{name} is a pre-defined network and cannot be removed")

    async def warnings(self) -> list[str]:
        """What on this host keeps containers' packets from passing, for ``info``."""
        if not any(driver.rules() for driver in self._drivers.values()):
            return []
        found = []
        if sysctl.read("net.ipv4.ip_forward") != "1":
            found.append("WARNING: IPv4 forwarding is disabled")
        try:
            for chain in await self._firewall.foreign_drops():
                found.append(
                    f"WARNING: the firewall chain {chain} drops forwarded packets by policy: "
                    f"allow those from and to {self._bridge.name}, or published ports and "
                    "outgoing connections of containers do not work"
                )
        except errdefs.System as error:
            found.append(f"WARNING: cannot read the host's firewall: {error}")
        return found


def _new(name: str) -> store.StoredNetwork:
    return store.StoredNetwork(
        id=secrets.token_hex(32), name=name, driver=PREDEFINED[name], created=time.time()
    )


def _cidr(endpoint: types.Endpoint) -> str:
    return f"{endpoint.ipv4_address}/{endpoint.prefix_len}" if endpoint.ipv4_address else ""


def _describe(driver: drivers.Driver) -> types.Network:
    stored = driver.stored
    created = datetime.datetime.fromtimestamp(stored.created, datetime.UTC)
    return types.Network(
        name=stored.name,
        id=stored.id,
        created=created.isoformat().replace("+00:00", "Z"),
        driver=stored.driver,
        ipam=driver.ipam(),
        options={**driver.options(), **stored.options},
        labels=stored.labels,
    )
