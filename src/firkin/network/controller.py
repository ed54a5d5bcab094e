"""The networks of one engine, and every container's place on them.

The controller owns what networks share: the firewall table, the host ports, the list of endpoints
and its copy in the database. What a network does is its driver's business; which of a container's
networks is its way out is ``publishing``'s.

At start it believes the database only as far as the engine and the kernel confirm it: an endpoint
stays when its container runs and its namespace is there; everything else that an earlier engine
left is removed. An endpoint is written to the database when it is complete; one that was cut off
halfway is found by what it left (a namespace file that no endpoint names, a port of a bridge).
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import logging
import os
import sqlite3
import weakref
from collections.abc import Collection, Mapping, Sequence

import msgspec

from firkin import errdefs
from firkin.linux import netlink, netns
from firkin.network import addresses as addresses_of
from firkin.network import (
    catalog,
    exposure,
    firewall,
    members,
    nameservice,
    naming,
    places,
    portmapper,
    publishing,
    relayservice,
    sandbox,
    settings,
    stock,
    views,
)
from firkin.network import driver as drivers
from firkin.network.drivers import above, default_bridge, host, none, shared
from firkin.network.drivers import bridge as bridge_driver
from firkin.store import db as database
from firkin.store import networks as store
from firkin.types import network as types

log = logging.getLogger(__name__)

_THREADS = 4


class Controller:
    """Make one per engine; :meth:`start` it before anything else.

    ``table`` is the name of the engine's own nftables table, ``firewall_rules`` a file with the
    administrator's rules in it; ``exec_root`` holds the namespaces' files. ``relay``: ports are
    published where only a process can do it, too. ``options`` are those of new networks by their
    driver, if they do not say otherwise. A bridge of the name ``none`` means: no default bridge.
    ``kinds`` make drivers beside our own, by their names.
    """

    def __init__(
        self,
        db: database.Database,
        *,
        exec_root: str,
        bridge: default_bridge.BridgeConfig,
        table: str,
        firewall_rules: str = "",
        relay: bool = True,
        options: Mapping[str, Mapping[str, str]] | None = None,
        kinds: Mapping[str, catalog.Factory] | None = None,
    ) -> None:
        bridge.check()
        self._db = db
        self._directory = os.path.join(os.path.realpath(exec_root), "netns")
        self._bridge = bridge
        self._firewall = firewall.Firewall(table, firewall_rules)
        self._ports = portmapper.PortMapper()
        self._names = nameservice.NameService(os.path.join(exec_root, "resolver"))
        self._relays = relayservice.RelayService(os.path.join(exec_root, "relay"))
        self._relaying = relay
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        threads = concurrent.futures.ThreadPoolExecutor(_THREADS, thread_name_prefix="firkin-net")
        self._host = shared.Shared(
            netlink=netlink.Socket(),
            stock=stock.Stock(self._directory, bridge.stock),
            threads=threads,
            reserved=lambda network_id: self._catalog.reserved(network_id),
            fresh=lambda network_id: self._catalog.fresh(network_id),
            check_bridge=lambda bridge: self._catalog.check_bridge(bridge),
        )
        self._catalog = catalog.Catalog(
            db,
            self._firewall,
            {
                "bridge": lambda stored: bridge_driver.BridgeDriver(stored, bridge, self._host),
                "ipvlan": lambda stored: above.AboveDriver(stored, bridge.pools, self._host),
                "macvlan": lambda stored: above.AboveDriver(stored, bridge.pools, self._host),
                "host": host.HostDriver,
                "null": none.NoneDriver,
                **(kinds or {}),
            },
            lambda network_id: self._members.users(network_id),
            options or {},
        )
        self._ways = places.Ways(
            self._firewall,
            self._ports,
            self._host,
            self._catalog.drivers,
            self._relays if relay else None,
            lambda container_id: self._members.name(container_id),
        )
        self._members = members.Members(
            self._directory, self._host, self._catalog.drivers, self._ways, self._names
        )

    # Start and end

    async def start(self, live: Collection[str]) -> None:
        """Bring all networks into being and adopt the endpoints of the containers ``live``.

        Whatever else an earlier engine of this data root left is removed, whenever it was killed.
        A user-defined network that cannot be brought back is logged, and refuses containers.
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
        await asyncio.to_thread(sandbox.remove_stale, self._directory, paths)
        remembered = {network.name: network for network in known}
        for name in settings.PREDEFINED:
            if name not in remembered:
                remembered[name] = settings.predefined(name)
        if self._bridge.name == "none":
            del remembered["bridge"]
        order = sorted(remembered.values(), key=lambda one: one.name not in settings.PREDEFINED)
        for stored in order:
            mine = [one for one in kept if one.network_id == stored.id]
            await self._catalog.bring_back(stored, mine)
            for endpoint in mine:
                self._members.adopt(endpoint)
        relayed = await self._relays.adopt()
        held = {port[:3]: one for port, one in relayed.items()}
        for place in self._members.places.values():
            self._ports.restore(place.container_id, place.ports, held)
        gone = {one.container_id for one in found} - set(self._members.places)
        await self._install()
        self._keep_stock()
        wanted = [self._ways.relayed(place) for place in self._members.places.values()]
        await self._relays.start(
            {port: one for ports in wanted for port, one in ports.items()}, relayed
        )
        await self._db.run(lambda connection: self._remember(connection, gone))
        clients = [self._members.client(place) for place in self._members.places.values()]
        await self._names.start(
            [client for client in clients if client is not None],
            wanted=any(naming.named(driver) for driver in self._catalog.drivers.values()),
        )

    async def _install(self) -> None:
        rules = [
            rule for one in self._catalog.drivers.values() if (rule := one.rules()) is not None
        ]
        redirects = [
            one for place in self._members.places.values() for one in places.redirects_of(place)
        ]
        if rules:
            await self._firewall.install(rules, redirects)

    def _keep_stock(self) -> None:
        if any(driver.pairs for driver in self._catalog.drivers.values()):
            self._host.stock.refill()

    def _remember(self, connection: sqlite3.Connection, gone: Collection[str]) -> None:
        for driver in self._catalog.drivers.values():
            store.put_network(connection, driver.stored)
        for container_id in gone:
            store.delete_endpoints(connection, container_id)

    async def close(self) -> None:
        """Let go of everything in this process. Containers keep their network as it is."""
        for driver in self._catalog.drivers.values():
            await driver.close()
        await self._names.close()
        await self._relays.close()
        await self._host.stock.close()
        self._ports.close()
        await self._firewall.close()
        await asyncio.to_thread(self._host.threads.shutdown)
        self._host.netlink.close()

    # Endpoints

    def _lock(self, container_id: str) -> asyncio.Lock:
        lock = self._locks.get(container_id)
        if lock is None:
            lock = self._locks[container_id] = asyncio.Lock()
        return lock

    async def join(self, request: types.JoinRequest) -> tuple[types.Endpoint, ...]:
        """Give a container its place on all its networks, with its ports published, or nothing.

        Raises ``NotFound`` for a network, ``Conflict`` when the container has a place already
        or an address is taken, ``InvalidParameter`` for an impossible request, ``System`` for a
        port in use and for what the kernel refuses.
        """
        wanted = [(self.driver(one.network), one) for one in request.endpoints]
        catalog.check_together([driver for driver, _ in wanted], request.name)
        ids = [driver.stored.id for driver, _ in wanted]
        async with self._lock(request.container_id), self._catalog.held(ids):
            if request.container_id in self._members.places:
                raise errdefs.Conflict(
                    f"container {request.name} is already connected to its networks"
                )
            async with contextlib.AsyncExitStack() as undo:
                box = await self._members.make_sandbox(wanted[0][0])
                place = places.Place(request.container_id, request.name, box)
                undo.push_async_callback(self._members.discard, place)
                for driver, one in wanted:
                    await self._members.connect(place, driver, one, request)
                await self._ways.open(place, request.ports)
                await self._members.introduce(place)
                self._members.places[request.container_id] = place
                made = tuple(place.endpoints.values())
                await self._db.run(lambda connection: _put(connection, made))
                undo.pop_all()
            if box is not None:
                box.close()
            return made

    async def attach(self, request: types.JoinRequest) -> types.Endpoint:
        """Give a running container its place on one more network, or change nothing.

        ``request`` has one endpoint; its ports are published when the container had no way out
        until now. Raises as :meth:`join`, and ``Forbidden`` when the container is on that network.
        """
        (wanted,) = request.endpoints
        driver = self.driver(wanted.network)
        async with self._lock(request.container_id), self._catalog.held([driver.stored.id]):
            place = self._members.place(request.container_id, request.name)
            if driver.stored.id in place.endpoints:
                raise errdefs.Forbidden(
                    f"endpoint with name {request.name} already exists in network "
                    f"{driver.stored.name}"
                )
            alone = members.alone(place)
            others = [
                self._catalog.drivers[i]
                for i in place.endpoints
                if alone is None or i != alone.network_id
            ]
            catalog.check_together([*others, driver], request.name)
            before, published = place.ways(), publishing.merged(place.ports)
            async with contextlib.AsyncExitStack() as undo:
                undo.push_async_callback(self._members.take_back, place, driver, published)
                made = await self._members.connect(place, driver, wanted, request)
                await self._ways.open(place, published or request.ports, before)
                await self._members.introduce(place)
                endpoints = [one for one in place.endpoints.values() if one is not alone]
                await self._db.run(lambda connection: _put(connection, endpoints, alone))
                undo.pop_all()
            if alone is not None:
                del place.endpoints[alone.network_id]
            members.close(place)
            return place.endpoints[made.network_id]

    async def detach(self, container_id: str, network_id: str) -> types.Endpoint | None:
        """Take a running container off a network; returns the endpoint that it had there.

        Its published ports move to its next way out, if there is one. One that is taken off its
        last network has its namespace still: it is on network ``none`` then.
        """
        async with self._lock(container_id):
            place = self._members.places.get(container_id)
            endpoint = place.endpoints.get(network_id) if place is not None else None
            if place is None or endpoint is None:
                return None
            if place.sandbox is None:
                raise errdefs.Forbidden(
                    "container cannot be disconnected from host network - container can only be "
                    "disconnected from host network when it is created with another one"
                )
            before, published = place.ways(), publishing.merged(place.ports)
            if endpoint in before.values():
                await self._ways.close(place)
            del place.endpoints[network_id]
            await self._catalog.drivers[network_id].release(endpoint, place.sandbox)
            if not place.endpoints:
                nowhere = self.driver("none")
                request = types.EndpointRequest(network="none")
                alone = await nowhere.connect(place.sandbox, request, container_id)
                place.endpoints[nowhere.stored.id] = alone
            try:
                await self._ways.open(place, published, before)
                await self._members.introduce(place)
            finally:
                endpoints = list(place.endpoints.values())
                await self._db.run(lambda connection: _put(connection, endpoints, endpoint))
                members.close(place)
            return endpoint

    async def republish(self, container_id: str, ports: Sequence[types.PublishedPort]) -> None:
        """Publish these ports of a running container in place of those that are, or change nothing.

        Raises as :meth:`join` for ports that can't be published.
        """
        async with self._lock(container_id):
            place = self._members.place(container_id, container_id[:12])
            before = publishing.merged(place.ports)
            await self._ways.republish(place, ports)
            endpoints = list(place.endpoints.values())
            try:
                await self._db.run(lambda connection: _put(connection, endpoints))
            except BaseException:
                await self._ways.republish(place, before)
                raise

    async def release(self, container_id: str) -> None:
        """End a container's place; its addresses and ports are free on return.

        A container that has none is fine.
        """
        async with self._lock(container_id):
            place = self._members.places.get(container_id)
            if place is None:
                return
            await self._members.discard(place)
            await self._db.run(lambda connection: store.delete_endpoints(connection, container_id))

    async def rename(self, container_id: str, old: str, new: str) -> None:
        """Let a running container be found by another name; one that has no place is fine."""
        async with self._lock(container_id):
            place = self._members.places.get(container_id)
            if place is None:
                return
            for network_id, endpoint in place.endpoints.items():
                names = tuple(new if name == old else name for name in endpoint.names)
                place.endpoints[network_id] = msgspec.structs.replace(endpoint, names=names)
            place.name = new
            endpoints = list(place.endpoints.values())
            await self._db.run(lambda connection: _put(connection, endpoints))
            await self._members.introduce(place)

    def endpoints(self, container_id: str) -> tuple[types.Endpoint, ...]:
        """The container's places on its networks, the first that it joined first."""
        place = self._members.places.get(container_id)
        return tuple(place.endpoints.values()) if place is not None else ()

    # Networks

    def driver(self, reference: str) -> drivers.Driver:
        """The network of an id, a name, or the beginning of exactly one id.

        Raises ``NotFound``, or ``InvalidParameter`` for a beginning that fits several.
        """
        return self._catalog.driver(reference)

    def kinds(self) -> list[str]:
        """The names of all network drivers."""
        return self._catalog.names()

    def networks(self) -> list[types.Network]:
        """All networks, without their containers, as NetworkList shows them."""
        return [views.describe(driver) for driver in self.every()]

    def every(self) -> list[drivers.Driver]:
        """All networks' drivers."""
        return list(self._catalog.drivers.values())

    def users(self, network_id: str) -> list[types.Endpoint]:
        """The endpoints of running containers on a network."""
        return self._members.users(network_id)

    def inspect(self, reference: str, names: Mapping[str, str]) -> types.Network:
        """One network with its containers; ``names`` gives containers' names by their ids.

        Raises ``NotFound``, or ``InvalidParameter`` for an id's beginning that fits several.
        """
        driver = self.driver(reference)
        return views.with_containers(driver, self.users(driver.stored.id), names)

    async def create(self, request: types.CreateRequest) -> store.StoredNetwork:
        """Make a user-defined network; whatever it raises, nothing is left.

        Raises ``Conflict`` for a name that is taken, ``Forbidden`` for a subnet that is, and as
        :func:`settings.check` and the driver do.
        """
        driver = await self._catalog.create(request)
        self._keep_stock()
        if naming.named(driver):
            self._names.want()
        return driver.stored

    async def remove(self, reference: str) -> store.StoredNetwork:
        """Remove a user-defined network.

        Raises ``NotFound``, and ``Forbidden`` when it is predefined or in use.
        """
        return await self._catalog.remove(reference)

    async def reload(self) -> None:
        """Put the firewall back whole, with the administrator's rules as they are now.

        Raises ``System`` for rules that cannot be; those before stay.
        """
        await self._firewall.reload()

    async def exposure(self) -> list[exposure.Reach]:
        """Every way by which a published port is reached from outside of its container."""
        addresses = await self._ways.run(lambda: addresses_of.named(self._host.netlink))
        endpoints = [
            one for place in self._members.places.values() for one in place.endpoints.values()
        ]
        return exposure.ways(endpoints, addresses, relay=self._relaying)

    async def warnings(self) -> list[str]:
        """What on this host keeps containers' packets from passing, for ``info``."""
        rules = [rule for driver in self.every() if (rule := driver.rules()) is not None]
        return await self._firewall.warnings([rule.bridge for rule in rules])


def _put(
    connection: sqlite3.Connection,
    endpoints: Collection[types.Endpoint],
    gone: types.Endpoint | None = None,
) -> None:
    if gone is not None:
        store.delete_endpoint(connection, gone.network_id, gone.container_id)
    for endpoint in endpoints:
        store.put_endpoint(connection, endpoint)
