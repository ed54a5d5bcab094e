"""The containers that have a place on networks, and the steps of which joins and leaves are made.

What an engine asks for is the controller's; each step here is one of several, all of which are
undone together.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Mapping, Sequence

import msgspec

from firkin import errdefs
from firkin.network import driver as drivers
from firkin.network import nameservice, naming, places, sandbox, stock
from firkin.network.drivers import shared
from firkin.network.resolver import protocol
from firkin.types import network as types


class Members:
    """The places of running containers, by container. ``directory`` holds their namespaces."""

    def __init__(
        self,
        directory: str,
        host: shared.Shared,
        networks: Mapping[str, drivers.Driver],
        ways: places.Ways,
        names: nameservice.NameService,
    ) -> None:
        self.places: dict[str, places.Place] = {}
        self._directory = directory
        self._host = host
        self._networks = networks
        self._ways = ways
        self._names = names

    def name(self, container_id: str) -> str:
        """The container's name, or the beginning of its id when it has no place."""
        place = self.places.get(container_id)
        return place.name if place is not None else container_id[:12]

    def client(self, place: places.Place) -> protocol.Client | None:
        """The container as the resolver is told of it; None when it has no use for names."""
        return naming.client(place, self._networks)

    async def introduce(self, place: places.Place) -> None:
        """Tell the resolver where a container is now."""
        client = self.client(place)
        if client is not None:
            await self._names.put(client)
        else:
            await self._names.drop(place.container_id)

    def adopt(self, endpoint: types.Endpoint) -> None:
        """Take over the endpoint of a container that kept running."""
        place = self.places.get(endpoint.container_id)
        if place is None:
            box = sandbox.Sandbox(endpoint.netns) if endpoint.netns else None
            name = endpoint.names[0] if endpoint.names else endpoint.container_id[:12]
            place = places.Place(endpoint.container_id, name, box)
            self.places[endpoint.container_id] = place
        place.endpoints[endpoint.network_id] = endpoint

    def place(self, container_id: str, name: str) -> places.Place:
        """A running container's place. Raises ``Conflict`` when it has none."""
        place = self.places.get(container_id)
        if place is None:
            raise errdefs.Conflict(f"container {name} is not running")
        return place

    def users(self, network_id: str) -> list[types.Endpoint]:
        """The endpoints of running containers on a network."""
        return [
            place.endpoints[network_id]
            for place in self.places.values()
            if network_id in place.endpoints
        ]

    async def make_sandbox(self, first: drivers.Driver) -> sandbox.Sandbox | None:
        """A sandbox for a container whose first network this is; None for the host's own.

        Raises ``System``.
        """
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

    async def connect(
        self,
        place: places.Place,
        driver: drivers.Driver,
        wanted: types.EndpointRequest,
        request: types.JoinRequest,
    ) -> types.Endpoint:
        """Give a place its endpoint on a network. Raises as the driver does."""
        made = await driver.connect(place.sandbox, wanted, request.container_id)
        endpoint = msgspec.structs.replace(
            made,
            names=tuple(dict.fromkeys((*request.names, *wanted.aliases))),
            links=wanted.links,
            nameservers=request.nameservers,
        )
        place.endpoints[driver.stored.id] = endpoint
        return endpoint

    async def take_back(
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
            await self.introduce(place)
        close(place)

    async def discard(self, place: places.Place) -> None:
        """End a place: its ports, endpoints, names and namespace."""
        await self._names.drop(place.container_id)
        await self._ways.close(place)
        for network_id, endpoint in list(place.endpoints.items()):
            driver = self._networks.get(network_id)
            if driver is not None:
                await driver.release(endpoint, None)
        box = place.sandbox
        if box is not None and os.path.dirname(box.path) == self._directory:
            self._host.stock.discard(box)
        self.places.pop(place.container_id, None)


def alone(place: places.Place) -> types.Endpoint | None:
    """The endpoint on network none of a container that was taken off all others."""
    return next((one for one in place.endpoints.values() if one.network_name == "none"), None)


def close(place: places.Place) -> None:
    """Let go of what a place keeps open; it is opened again when needed."""
    if place.sandbox is not None:
        place.sandbox.close()
