"""Which networks there are: finding, making and removing them.

A network is written to the database before it is made and forgotten after it is gone, so nothing of
it can be left without a row.
"""

from __future__ import annotations

import asyncio
import collections
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Collection, Mapping, Sequence

import msgspec

from firkin import errdefs
from firkin.network import driver as drivers
from firkin.network import firewall as firewalls
from firkin.network import ipam, settings
from firkin.network.drivers import broken, host
from firkin.store import db as database
from firkin.store import networks as store
from firkin.types import network as types

log = logging.getLogger(__name__)

Factory = Callable[[store.StoredNetwork], drivers.Driver]

_NAMING = frozenset({"com.docker.network.bridge.name", "parent"})
"""Options that name an interface which may be there already."""


class Catalog:
    """The networks of a controller, by id.

    ``kinds`` make the drivers; ``users`` gives the endpoints on a network; ``options`` are the
    default ones of new networks, by driver.
    """

    def __init__(
        self,
        db: database.Database,
        firewall: firewalls.Firewall,
        kinds: Mapping[str, Factory],
        users: Callable[[str], list[types.Endpoint]],
        options: Mapping[str, Mapping[str, str]],
    ) -> None:
        self.drivers: dict[str, drivers.Driver] = {}
        self.kinds = dict(kinds)
        self._db = db
        self._firewall = firewall
        self._users = users
        self._options = options
        self._changing = asyncio.Lock()
        self._joining: collections.Counter[str] = collections.Counter()
        self._creating: set[str] = set()

    def fresh(self, network_id: str) -> bool:
        """Whether a network is being made, not brought back."""
        return network_id in self._creating

    async def bring_back(
        self, stored: store.StoredNetwork, live: Collection[types.Endpoint]
    ) -> None:
        """Let a remembered network work again; a user-defined one that cannot is logged.

        Raises ``System`` for a predefined one.
        """
        if stored.config_only:
            self.drivers[stored.id] = host.HostDriver(stored)
            return
        driver: drivers.Driver
        try:
            if stored.driver not in self.kinds:
                raise errdefs.Unavailable(f"there is no network driver {stored.driver} any more")
            driver = self.kinds[stored.driver](stored)
            await driver.start(live)
        except errdefs.FirkinError as error:
            if stored.name in settings.PREDEFINED:
                raise
            log.error("network %s is out of order: %s", stored.name, error)
            driver = broken.BrokenDriver(stored, str(error))
        self.drivers[stored.id] = driver

    def reserved(self, network_id: str) -> list[ipam.Network]:
        """The subnets of all other networks than this one."""
        return [
            ipam.parse_subnet(pool.subnet)
            for driver in self.drivers.values()
            if driver.stored.id != network_id and not driver.stored.config_only
            for pool in driver.stored.pools
            if pool.subnet
        ]

    @contextlib.asynccontextmanager
    async def held(self, networks: Collection[str]) -> AsyncIterator[None]:
        """Keep networks from being removed meanwhile."""
        self._joining.update(networks)
        try:
            yield
        finally:
            self._joining.subtract(networks)

    def driver(self, reference: str) -> drivers.Driver:
        """The network of an id, a name, or the beginning of exactly one id.

        Raises ``NotFound``, or ``InvalidParameter`` for a beginning that fits several.
        """
        if (exact := self.drivers.get(reference)) is not None:
            return exact
        for driver in self.drivers.values():
            if reference == driver.stored.name:
                return driver
        matches = [one for one in self.drivers.values() if one.stored.id.startswith(reference)]
        if not reference or not matches:
            raise errdefs.NotFound(f"network {reference} not found")
        if len(matches) > 1:
            raise errdefs.InvalidParameter(
                f"network {reference} is ambiguous ({len(matches)} matches found on ID prefix): "
                "write more of its id"
            )
        return matches[0]

    async def create(self, request: types.CreateRequest) -> drivers.Driver:
        """Make a user-defined network. See the controller's."""
        async with self._changing:
            source = request.config_from.network if request.config_from is not None else ""
            config = self.driver(source).stored if source else None
            if config is None and not request.config_only:
                options = {**self._options.get(request.driver or "bridge", {}), **request.options}
                request = msgspec.structs.replace(request, options=options)
            stored = settings.check(request, drivers=self._drivable(), config=config)
            if any(one.stored.name == stored.name for one in self.drivers.values()):
                raise errdefs.Conflict(f"network with name {stored.name} already exists")
            driver: drivers.Driver
            if stored.config_only:
                driver = host.HostDriver(stored)
            else:
                self._check_subnets(stored)
                driver = self.kinds[stored.driver](stored)
            async with contextlib.AsyncExitStack() as undo:
                undo.push_async_callback(self._forget, stored.id)
                # Until the driver has looked, an interface that the user names may be the host's:
                # an engine that is killed before that had better leave one than remove it.
                before = msgspec.structs.replace(
                    stored, adopted=bool(_NAMING & set(stored.options))
                )
                await self._db.run(lambda connection: store.put_network(connection, before))
                undo.push_async_callback(driver.remove)
                self._creating.add(stored.id)
                undo.callback(self._creating.discard, stored.id)
                await driver.start(())
                if (rules := driver.rules()) is not None:
                    self.check_bridge(rules.bridge)
                    undo.push_async_callback(self._firewall.drop_network, rules.bridge)
                    await self._firewall.put_network(rules)
                await self._db.run(lambda connection: store.put_network(connection, driver.stored))
                undo.pop_all()
            self._creating.discard(stored.id)
            self.drivers[stored.id] = driver
            return driver

    def check_bridge(self, bridge: str) -> None:
        """Raises ``Forbidden`` when a network that is there already has a bridge."""
        for other in self.drivers.values():
            if (rules := other.rules()) is not None and rules.bridge == bridge:
                raise errdefs.Forbidden(
                    f"bridge name {bridge} is already used by network {other.stored.name}: choose "
                    "another one"
                )

    def names(self) -> list[str]:
        """The drivers' names, as ``info`` shows them."""
        return sorted(self.kinds)

    async def _forget(self, network_id: str) -> None:
        await self._db.run(lambda connection: store.delete_network(connection, network_id))

    def _drivable(self) -> set[str]:
        return set(self.kinds) - {"host", "null"}

    def _check_subnets(self, stored: store.StoredNetwork) -> None:
        """Raises ``Forbidden`` when another network of ours has an address of this one's."""
        for pool in stored.pools:
            subnet = ipam.parse_subnet(pool.subnet)
            for driver in self.drivers.values() if not ipam.everywhere(subnet) else ():
                theirs = [ipam.parse_subnet(p.subnet) for p in driver.stored.pools if p.subnet]
                other = ipam.overlapping(subnet, theirs)
                if other is not None and not driver.stored.config_only:
                    raise errdefs.Forbidden(
                        "invalid pool request: Pool overlaps with other one on this address space: "
                        f"{subnet} overlaps {other} of network {driver.stored.name}"
                    )

    async def remove(self, reference: str) -> store.StoredNetwork:
        """Remove a user-defined network. See the controller's."""
        async with self._changing:
            driver = self.driver(reference)
            stored = driver.stored
            if stored.name in settings.PREDEFINED:
                raise errdefs.Forbidden(
                    f"{stored.name} is a pre-defined network and cannot be removed"
                )
            users = self._users(stored.id)
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
            del self.drivers[stored.id]
            try:
                if (rules := driver.rules()) is not None:
                    await self._firewall.drop_network(rules.bridge)
                await driver.remove()
                await self._forget(stored.id)
            except BaseException:
                self.drivers[stored.id] = driver
                raise
            await driver.close()
            return stored

    def _check_dependents(self, stored: store.StoredNetwork) -> None:
        for other in self.drivers.values():
            if other.stored.config_from == stored.name:
                raise errdefs.Forbidden(
                    f"configuration network {stored.name} is in use by network {other.stored.name}"
                )


def check_together(wanted: Sequence[drivers.Driver], name: str) -> None:
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
