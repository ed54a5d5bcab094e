"""The networks of one engine, and every container's place on them.

The controller owns what networks share: the firewall table, the host ports, the list of endpoints
and its copy in the database. What a network does is its driver's business; which of a container's
networks is its way out is ``publishing``'s.

At start it believes the database only as far as the engine and the kernel confirm it: an endpoint
stays when its container runs and its namespace is there; everything else that an earlier engine
left is removed. An endpoint is written to the database when it is complete; one that was cut off
halfway is found by what it left (a namespace file that no endpoint names, a port of a bridge). A
network is written before it is made and forgotten after it is gone, so nothing of it can be left
without a row.
"""

from __future__ import annotations

import asyncio
import collections
import concurrent.futures
import contextlib
import logging
import os
import sqlite3
import weakref
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence

import msgspec

from firkin import errdefs
from firkin.linux import netlink, netns, sysctl
from firkin.network import driver as drivers
from firkin.network import (
    firewall,
    ipam,
    nameservice,
    naming,
    places,
    portmapper,
    publishing,
    sandbox,
    settings,
    stock,
    views,
)
from firkin.network.drivers import bridge as bridge_driver
from firkin.network.drivers import broken, host, none, shared
from firkin.network.resolver import protocol
from firkin.store import db as database
from firkin.store import networks as store
from firkin.types import network as types

log = logging.getLogger(__name__)

_THREADS = 4


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
        self._names = nameservice.NameService(os.path.join(exec_root, "resolver"))
        self._drivers: dict[str, drivers.Driver] = {}
        self._places: dict[str, places.Place] = {}
        self._locks: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        self._changing = asyncio.Lock()
        self._joining: collections.Counter[str] = collections.Counter()
        threads = concurrent.futures.ThreadPoolExecutor(_THREADS, thread_name_prefix="firkin-net")
        self._host = shared.Shared(
            netlink=netlink.Socket(),
            stock=stock.Stock(self._directory, bridge.stock),
            threads=threads,
            reserved=self._reserved,
        )
        self._ways = places.Ways(self._firewall, self._ports, self._host, self._drivers)
        self._kinds: dict[str, Callable[[store.StoredNetwork], drivers.Driver]] = {
            "bridge": lambda stored: bridge_driver.BridgeDriver(stored, bridge, self._host),
            "host": host.HostDriver,
            "null": none.NoneDriver,
        }

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
            await self._bring_back(stored, [one for one in kept if one.network_id == stored.id])
        for place in self._places.values():
            self._ports.restore(place.container_id, place.ports)
        gone = {one.container_id for one in found} - set(self._places)
        await self._install()
        self._keep_stock()
        await self._db.run(lambda connection: self._remember(connection, gone))
        clients = [self._client(place) for place in self._places.values()]
        await self._names.start(
            [client for client in clients if client is not None],
            wanted=any(naming.named(driver) for driver in self._drivers.values()),
        )

    def _client(self, place: places.Place) -> protocol.Client | None:
        return naming.client(place, self._drivers)

    async def _introduce(self, place: places.Place) -> None:
        """Tell the resolver where a container is now."""
        client = self._client(place)
        if client is not None:
            await self._names.put(client)
        else:
            await self._names.drop(place.container_id)

    async def _bring_back(
        self, stored: store.StoredNetwork, live: Collection[types.Endpoint]
    ) -> None:
        if stored.config_only:
            self._drivers[stored.id] = host.HostDriver(stored)
            return
        driver: drivers.Driver
        try:
            if stored.driver not in self._kinds:
                raise errdefs.Unavailable(f"there is no network driver {stored.driver} any more")
            driver = self._kinds[stored.driver](stored)
            await driver.start(live)
        except errdefs.FirkinError as error:
            if stored.name in settings.PREDEFINED:
                raise
            log.error("network %s is out of order: %s", stored.name, error)
            driver = broken.BrokenDriver(stored, str(error))
        self._drivers[stored.id] = driver
        for endpoint in live:
            place = self._places.get(endpoint.container_id)
            if place is None:
                box = sandbox.Sandbox(endpoint.netns) if endpoint.netns else None
                name = endpoint.names[0] if endpoint.names else endpoint.container_id[:12]
                place = places.Place(endpoint.container_id, name, box)
                self._places[endpoint.container_id] = place
            place.endpoints[stored.id] = endpoint

    async def _install(self) -> None:
        rules = [rule for one in self._drivers.values() if (rule := one.rules()) is not None]
        redirects = [one for place in self._places.values() for one in places.redirects_of(place)]
        if rules:
            await self._firewall.install(rules, redirects)

    def _keep_stock(self) -> None:
        if any(driver.pairs for driver in self._drivers.values()):
            self._host.stock.refill()

    def _remember(self, connection: sqlite3.Connection, gone: Collection[str]) -> None:
        for driver in self._drivers.values():
            store.put_network(connection, driver.stored)
        for container_id in gone:
            store.delete_endpoints(connection, container_id)

    def _reserved(self, network_id: str) -> list[ipam.Network]:
        """The subnets of all other networks than this one."""
        return [
            ipam.parse_subnet(pool.subnet)
            for driver in self._drivers.values()
            if driver.stored.id != network_id and not driver.stored.config_only
            for pool in driver.stored.pools
            if pool.subnet
        ]

    async def close(self) -> None:
        """Let go of everything in this process. Containers keep their network as it is."""
        for driver in self._drivers.values():
            await driver.close()
        await self._names.close()
        await self._host.stock.close()
        self._ports.close()
        await asyncio.to_thread(self._firewall.close)
        await asyncio.to_thread(self._host.threads.shutdown)
        self._host.netlink.close()

    # Endpoints

    def _lock(self, container_id: str) -> asyncio.Lock:
        lock = self._locks.get(container_id)
        if lock is None:
            lock = self._locks[container_id] = asyncio.Lock()
        return lock

    @contextlib.asynccontextmanager
    async def _held(self, networks: Collection[str]) -> AsyncIterator[None]:
        """Keep networks from being removed meanwhile."""
        self._joining.update(networks)
        try:
            yield
        finally:
            self._joining.subtract(networks)

    async def join(self, request: types.JoinRequest) -> tuple[types.Endpoint, ...]:
        """Give a container its place on all its networks, with its ports published, or nothing.

        Raises ``NotFound`` for a network, ``Conflict`` when the container has a place already
        or an address is taken, ``InvalidParameter`` for an impossible request, ``System`` for a
        port in use and for what the kernel refuses.
        """
        wanted = [(self.driver(one.network), one) for one in request.endpoints]
        _check_together([driver for driver, _ in wanted], request.name)
        ids = [driver.stored.id for driver, _ in wanted]
        async with self._lock(request.container_id), self._held(ids):
            if request.container_id in self._places:
                raise errdefs.Conflict(
                    f"container {request.name} is already connected to its networks"
                )
            async with contextlib.AsyncExitStack() as undo:
                box = await self._sandbox(wanted[0][0])
                place = places.Place(request.container_id, request.name, box)
                undo.push_async_callback(self._discard, place)
                for driver, one in wanted:
                    await self._connect(place, driver, one, request)
                await self._ways.open(place, request.ports)
                await self._introduce(place)
                self._places[request.container_id] = place
                made = tuple(place.endpoints.values())
                await self._db.run(lambda connection: _put(connection, made))
                undo.pop_all()
            if box is not None:
                box.close()
            return made

    async def _sandbox(self, first: drivers.Driver) -> sandbox.Sandbox | None:
        if not first.namespaced:
            return None
        try:
            if first.pairs:
                return await self._host.stock.take()
            work = asyncio.get_running_loop().run_in_executor(
                self._host.threads, sandbox.Sandbox.create, self._directory
            )
            try:
                return await asyncio.shield(work)
            except asyncio.CancelledError:
                work.add_done_callback(stock.discard_result)
                raise
        except OSError as error:
            raise errdefs.System(f"cannot make a network namespace: {error}") from error

    async def _connect(
        self,
        place: places.Place,
        driver: drivers.Driver,
        wanted: types.EndpointRequest,
        request: types.JoinRequest,
    ) -> types.Endpoint:
        made = await driver.connect(place.sandbox, wanted, request.container_id)
        endpoint = msgspec.structs.replace(
            made,
            names=tuple(dict.fromkeys((*request.names, *wanted.aliases))),
            links=wanted.links,
            nameservers=request.nameservers,
        )
        place.endpoints[driver.stored.id] = endpoint
        return endpoint

    async def attach(self, request: types.JoinRequest) -> types.Endpoint:
        """Give a running container its place on one more network, or change nothing.

        ``request`` has one endpoint; its ports are published when the container had no way out
        until now. Raises as :meth:`join`, and ``Forbidden`` when the container is on that network.
        """
        (wanted,) = request.endpoints
        driver = self.driver(wanted.network)
        async with self._lock(request.container_id), self._held([driver.stored.id]):
            place = self._place(request.container_id, request.name)
            if driver.stored.id in place.endpoints:
                raise errdefs.Forbidden(
                    f"endpoint with name {request.name} already exists in network "
                    f"{driver.stored.name}"
                )
            alone = self._alone(place)
            others = [
                self._drivers[i] for i in place.endpoints if alone is None or i != alone.network_id
            ]
            _check_together([*others, driver], request.name)
            before, published = place.ways(), publishing.merged(place.ports)
            async with contextlib.AsyncExitStack() as undo:
                undo.push_async_callback(self._take_back, place, driver, published)
                made = await self._connect(place, driver, wanted, request)
                await self._ways.open(place, published or request.ports, before)
                await self._introduce(place)
                endpoints = [one for one in place.endpoints.values() if one is not alone]
                await self._db.run(lambda connection: _put(connection, endpoints, alone))
                undo.pop_all()
            if alone is not None:
                del place.endpoints[alone.network_id]
            _close(place)
            return place.endpoints[made.network_id]

    async def _take_back(
        self,
        place: places.Place,
        driver: drivers.Driver,
        published: Sequence[types.PublishedPort],
    ) -> None:
        """Undo an attach that failed."""
        before = place.ways()
        endpoint = place.endpoints.get(driver.stored.id)
        if endpoint is not None:
            await self._ways.close(place)
            del place.endpoints[driver.stored.id]
            await driver.release(endpoint, place.sandbox)
            await self._ways.open(place, published, before)
            await self._introduce(place)
        _close(place)

    def _alone(self, place: places.Place) -> types.Endpoint | None:
        """The endpoint on network none of a container that was taken off all others."""
        return next((one for one in place.endpoints.values() if one.network_name == "none"), None)

    async def detach(self, container_id: str, network_id: str) -> types.Endpoint | None:
        """Take a running container off a network; returns the endpoint that it had there.

        Its published ports move to its next way out, if there is one. One that is taken off its
        last network has its namespace still: it is on network ``none`` then.
        """
        async with self._lock(container_id):
            place = self._places.get(container_id)
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
            await self._drivers[network_id].release(endpoint, place.sandbox)
            if not place.endpoints:
                nowhere = self.driver("none")
                request = types.EndpointRequest(network="none")
                alone = await nowhere.connect(place.sandbox, request, container_id)
                place.endpoints[nowhere.stored.id] = alone
            try:
                await self._ways.open(place, published, before)
                await self._introduce(place)
            finally:
                endpoints = list(place.endpoints.values())
                await self._db.run(lambda connection: _put(connection, endpoints, endpoint))
                _close(place)
            return endpoint

    async def release(self, container_id: str) -> None:
        """End a container's place; its addresses and ports are free on return.

        A container that has none is fine.
        """
        async with self._lock(container_id):
            place = self._places.get(container_id)
            if place is None:
                return
            await self._discard(place)
            await self._db.run(lambda connection: store.delete_endpoints(connection, container_id))

    async def _discard(self, place: places.Place) -> None:
        await self._names.drop(place.container_id)
        await self._ways.close(place)
        for network_id, endpoint in list(place.endpoints.items()):
            driver = self._drivers.get(network_id)
            if driver is not None:
                await driver.release(endpoint, None)
        box = place.sandbox
        if box is not None and os.path.dirname(box.path) == self._directory:
            self._host.stock.discard(box)
        self._places.pop(place.container_id, None)

    async def rename(self, container_id: str, old: str, new: str) -> None:
        """Let a running container be found by another name; one that has no place is fine."""
        async with self._lock(container_id):
            place = self._places.get(container_id)
            if place is None:
                return
            for network_id, endpoint in place.endpoints.items():
                names = tuple(new if name == old else name for name in endpoint.names)
                place.endpoints[network_id] = msgspec.structs.replace(endpoint, names=names)
            place.name = new
            endpoints = list(place.endpoints.values())
            await self._db.run(lambda connection: _put(connection, endpoints))
            await self._introduce(place)

    def _place(self, container_id: str, name: str) -> places.Place:
        place = self._places.get(container_id)
        if place is None:
            raise errdefs.Conflict(f"container {name} is not running")
        return place

    def endpoints(self, container_id: str) -> tuple[types.Endpoint, ...]:
        """The container's places on its networks, the first that it joined first."""
        place = self._places.get(container_id)
        return tuple(place.endpoints.values()) if place is not None else ()

    # Networks

    def driver(self, reference: str) -> drivers.Driver:
        """The network of an id, a name, or the beginning of exactly one id.

        Raises ``NotFound``, or ``InvalidParameter`` for a beginning that fits several.
        """
        if (exact := self._drivers.get(reference)) is not None:
            return exact
        for driver in self._drivers.values():
            if reference == driver.stored.name:
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
        return [views.describe(driver) for driver in self._drivers.values()]

    def every(self) -> list[drivers.Driver]:
        """All networks' drivers."""
        return list(self._drivers.values())

    def users(self, network_id: str) -> list[types.Endpoint]:
        """The endpoints of running containers on a network."""
        return [
            place.endpoints[network_id]
            for place in self._places.values()
            if network_id in place.endpoints
        ]

    def inspect(self, reference: str, names: Mapping[str, str]) -> types.Network:
        """One network with its containers; ``names`` gives containers' names by their ids.

        Raises ``NotFound``, or ``InvalidParameter`` for an id's beginning that fits several.
        """
        driver = self.driver(reference)
        return views.with_containers(driver, self.users(driver.stored.id), names)

    async def create(self, request: types.CreateRequest) -> store.StoredNetwork:
        """Make a user-defined network.

        Raises ``Conflict`` for a name that is taken, ``Forbidden`` for a subnet that is, and as
        :func:`settings.check` and the driver do. Whatever it raises, nothing is left.
        """
        async with self._changing:
            source = request.config_from.network if request.config_from is not None else ""
            config = self.driver(source).stored if source else None
            stored = settings.check(request, drivers=self._drivable(), config=config)
            if any(one.stored.name == stored.name for one in self._drivers.values()):
                raise errdefs.Conflict(f"network with name {stored.name} already exists")
            driver: drivers.Driver
            if stored.config_only:
                driver = host.HostDriver(stored)
            else:
                self._check_subnets(stored)
                driver = self._kinds[stored.driver](stored)
            async with contextlib.AsyncExitStack() as undo:
                undo.push_async_callback(self._forget, stored.id)
                await self._db.run(lambda connection: store.put_network(connection, stored))
                undo.push_async_callback(driver.remove)
                self._host.creating.add(stored.id)
                undo.callback(self._host.creating.discard, stored.id)
                await driver.start(())
                if (rules := driver.rules()) is not None:
                    undo.push_async_callback(self._firewall.drop_network, rules.bridge)
                    await self._firewall.put_network(rules)
                await self._db.run(lambda connection: store.put_network(connection, driver.stored))
                undo.pop_all()
            self._host.creating.discard(stored.id)
            self._drivers[stored.id] = driver
            self._keep_stock()
            if naming.named(driver):
                self._names.want()
            return driver.stored

    async def _forget(self, network_id: str) -> None:
        await self._db.run(lambda connection: store.delete_network(connection, network_id))

    def _drivable(self) -> set[str]:
        return set(self._kinds) - {"host", "null"}

    def _check_subnets(self, stored: store.StoredNetwork) -> None:
        """Raises ``Forbidden`` when another network of ours has an address of this one's."""
        for pool in stored.pools:
            subnet = ipam.parse_subnet(pool.subnet)
            for driver in self._drivers.values():
                theirs = [ipam.parse_subnet(p.subnet) for p in driver.stored.pools if p.subnet]
                other = ipam.overlapping(subnet, theirs)
                if other is not None and not driver.stored.config_only:
                    raise errdefs.Forbidden(
                        "invalid pool request: Pool overlaps with other one on this address space: "
                        f"{subnet} overlaps {other} of network {driver.stored.name}"
                    )

    async def remove(self, reference: str) -> store.StoredNetwork:
        """Remove a user-defined network.

        Raises ``NotFound``, and ``Forbidden`` when it is predefined or in use.
        """
        async with self._changing:
            driver = self.driver(reference)
            stored = driver.stored
            if stored.name in settings.PREDEFINED:
                raise errdefs.Forbidden(
                    f"{stored.name} is a pre-defined network and cannot be removed"
                )
            users = self.users(stored.id)
            if users or self._joining[stored.id] > 0:
                shown = ", ".join(
                    f'name:"{one.names[0] if one.names else ""}" id:"{one.container_id[:12]}"'
                    for one in users
                )
                raise errdefs.Forbidden(
                    f"error while removing network: network {stored.name} has active endpoints "
                    f"({shown or 'a container is starting'})"
                )
            if stored.config_only:
                self._check_dependents(stored)
            del self._drivers[stored.id]
            try:
                if (rules := driver.rules()) is not None:
                    await self._firewall.drop_network(rules.bridge)
                await driver.remove()
                await self._forget(stored.id)
            except BaseException:
                self._drivers[stored.id] = driver
                raise
            await driver.close()
            return stored

    def _check_dependents(self, stored: store.StoredNetwork) -> None:
        for other in self._drivers.values():
            if other.stored.config_from == stored.name:
                raise errdefs.Forbidden(
                    f"configuration network {stored.name} is in use by network {other.stored.name}"
                )

    async def warnings(self) -> list[str]:
        """What on this host keeps containers' packets from passing, for ``info``."""
        rules = [rule for driver in self._drivers.values() if (rule := driver.rules()) is not None]
        if not rules:
            return []
        found = []
        if sysctl.read("net.ipv4.ip_forward") != "1":
            found.append("WARNING: IPv4 forwarding is disabled")
        try:
            for chain in await self._firewall.foreign_drops():
                found.append(
                    f"WARNING: the firewall chain {chain} drops forwarded packets by policy: "
                    f"allow those from and to {', '.join(rule.bridge for rule in rules)}, or "
                    "published ports and outgoing connections of containers do not work"
                )
        except errdefs.System as error:
            found.append(f"WARNING: cannot read the host's firewall: {error}")
        return found


def _check_together(wanted: Sequence[drivers.Driver], name: str) -> None:
    """Raises ``Forbidden`` or ``InvalidParameter`` for networks that one container cannot share."""
    if not wanted:
        raise errdefs.InvalidParameter(f"container {name} has no network: use none for none")
    for driver in wanted:
        if driver.stored.config_only:
            raise errdefs.Forbidden(
                f"network {driver.stored.name} is a configuration network: no container can join it"
            )
        if driver.exclusive and len(wanted) > 1:
            mode = "private (none) mode" if driver.namespaced else "host mode"
            raise errdefs.Forbidden(
                "container cannot be connected to multiple networks with one of the networks in "
                f"{mode}"
            )


def _put(
    connection: sqlite3.Connection,
    endpoints: Collection[types.Endpoint],
    gone: types.Endpoint | None = None,
) -> None:
    if gone is not None:
        store.delete_endpoint(connection, gone.network_id, gone.container_id)
    for endpoint in endpoints:
        store.put_endpoint(connection, endpoint)


def _close(place: places.Place) -> None:
    if place.sandbox is not None:
        place.sandbox.close()
