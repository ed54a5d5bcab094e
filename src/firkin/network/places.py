"""A running container's place: its sandbox, its endpoints, the way out, its published ports."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TypeVar

import msgspec

from firkin import errdefs
from firkin.linux import conntrack, sockets
from firkin.network import driver as drivers
from firkin.network import firewall as firewalls
from firkin.network import portmapper, publishing, relayservice, ruleset, sandbox
from firkin.network.drivers import shared
from firkin.network.relay import protocol as relay_protocol
from firkin.types import network as types

log = logging.getLogger(__name__)

T = TypeVar("T")

VERSIONS = (4, 6)
_HAS_IPV6 = "/proc/net/if_inet6"


class Place:
    """One container's. ``endpoints`` are by network id; ``sandbox`` None is the host's own."""

    def __init__(self, container_id: str, name: str, box: sandbox.Sandbox | None) -> None:
        self.container_id = container_id
        self.name = name
        self.sandbox = box
        self.endpoints: dict[str, types.Endpoint] = {}

    @property
    def ports(self) -> tuple[types.PublishedPort, ...]:
        """The ports that are published now."""
        return tuple(port for one in self.endpoints.values() for port in one.ports)

    def ways(self) -> dict[int, types.Endpoint | None]:
        """The way out for each IP version."""
        return {one: publishing.gateway(self.endpoints.values(), one) for one in VERSIONS}


class Ways:
    """Opens and closes the ways out of places, and the ways in: published ports."""

    def __init__(
        self,
        firewall: firewalls.Firewall,
        ports: portmapper.PortMapper,
        host: shared.Shared,
        networks: Mapping[str, drivers.Driver],
        relays: relayservice.RelayService | None,
        name_of: Callable[[str], str],
    ) -> None:
        self._firewall = firewall
        self._ports = ports
        self._host = host
        self._networks = networks
        self._relays = relays
        self._name_of = name_of

    async def run(self, work: Callable[[], T]) -> T:
        """Run what blocks; what the kernel refuses becomes ``System``."""
        try:
            return await self._host.run(work)
        except OSError as error:
            raise errdefs.System(f"cannot set up the container's network: {error}") from error

    async def open(
        self,
        place: Place,
        wanted: Sequence[types.PublishedPort],
        before: Mapping[int, types.Endpoint | None] | None = None,
    ) -> None:
        """Route the place and publish its ports, by the endpoints that it has now.

        ``before`` are the ways out until now; what has changed is changed. On return the endpoints
        carry the ports. When it fails nothing of the ports is left, and routes are as they come.
        """
        before = before or {}
        ways = place.ways()
        changed = [
            (version, before.get(version), ways[version])
            for version in VERSIONS
            if _id(before.get(version)) != _id(ways[version])
        ]
        box = place.sandbox
        if box is not None and changed:
            await self.run(lambda: _route(box, place, changed))
        await self.publish(place, wanted, ways)

    async def publish(
        self,
        place: Place,
        wanted: Sequence[types.PublishedPort],
        ways: Mapping[int, types.Endpoint | None],
    ) -> None:
        """Publish these ports, in place of those that were."""
        await self.close(place)
        kinds = {version: self._publishing(way, version) for version, way in ways.items()}
        relay = self._relays is not None and os.path.exists(_HAS_IPV6)
        chosen = publishing.wanted(wanted, kinds[4], kinds[6], relay=relay)
        if not chosen:
            return
        async with contextlib.AsyncExitStack() as undo:
            undo.push_async_callback(self.close, place)
            routed = [version for version in VERSIONS if (k := kinds[version]) and k.routed]
            versions = publishing.versions(kinds[4], kinds[6], relay=relay)
            real = await self._reserve(place, chosen, versions, routed)
            real += _unmapped(chosen, routed)
            for port in real:
                way = ways[publishing.version_of(port)] or ways[4]
                assert way is not None
                current = place.endpoints[way.network_id]
                place.endpoints[way.network_id] = msgspec.structs.replace(
                    current, ports=(*current.ports, port)
                )
            redirects = redirects_of(place)
            await self._firewall.publish(redirects)
            await self._forget_connections(redirects)
            if self._relays is not None:
                await self._relays.put(self.relayed(place))
            undo.pop_all()

    def relayed(self, place: Place) -> dict[relay_protocol.Port, socket.socket]:
        """The ports of a place that the relay listens on, with their sockets."""
        found = {}
        for endpoint in place.endpoints.values():
            for port in publishing.relayed(endpoint) if self._relays is not None else ():
                held = self._ports.hearing(place.container_id, port[:3])
                if held is not None:
                    found[port] = held
        return found

    async def republish(self, place: Place, wanted: Sequence[types.PublishedPort]) -> None:
        """The same for a place whose ways stay as they are: these ports, or those before.

        A port that stays keeps the host port that was chosen for it.
        """
        before = publishing.merged(place.ports)
        try:
            await self.publish(place, publishing.kept(wanted, before), place.ways())
        except BaseException:
            await self.publish(place, before, place.ways())
            raise

    def _publishing(self, way: types.Endpoint | None, version: int) -> drivers.Publishing | None:
        if way is None:
            return None
        driver = self._networks.get(way.network_id)
        return driver.publishing(version) if driver is not None else None

    async def _reserve(
        self,
        place: Place,
        ports: Sequence[types.PublishedPort],
        versions: Mapping[str, Sequence[int]],
        routed: Collection[int],
    ) -> list[types.PublishedPort]:
        held = [
            port
            for port in ports
            if (publishing.version_of(port) not in routed if port.host_ip else versions[port.proto])
        ]
        try:
            return list(self._ports.reserve(place.container_id, held, versions))
        except errdefs.System as error:
            text = f"{error}{await self._remedy(error, place)}"
            raise errdefs.System(
                f"driver failed programming external connectivity on endpoint {place.name}: {text}"
            ) from error

    async def _remedy(self, error: errdefs.System, place: Place) -> str:
        """Who has the port, and what to do."""
        if not isinstance(error, portmapper.InUse):
            return ""
        if error.holder == place.container_id:
            return ": this container asks for it twice"
        if error.holder:
            name = self._name_of(error.holder)
            return f" by container {name}: stop that one, or publish on another port"
        found = await self.run(lambda: sockets.owner(error.proto, error.number))
        who = f"{found.name} (pid {found.pid})" if found else "another program"
        return (
            f": address already in use by {who} on this host: stop it, or publish on another port"
        )

    async def close(self, place: Place) -> None:
        """Take back all published ports of a place; none is fine."""
        redirects = redirects_of(place)
        if self._relays is not None:
            await self._relays.drop(self.relayed(place))
        if redirects:
            try:
                await self._firewall.withdraw(redirects)
            except errdefs.FirkinError as error:
                log.error("ports of container %s stay redirected: %s", place.container_id, error)
            await self._forget_connections(redirects)
        self._ports.release(place.container_id)
        for network_id, endpoint in place.endpoints.items():
            if endpoint.ports:
                place.endpoints[network_id] = msgspec.structs.replace(endpoint, ports=())

    async def _forget_connections(self, redirects: Collection[ruleset.Redirect]) -> None:
        """Let senders of UDP that never pause follow the change of the rules."""
        ports = {one.host_port for one in redirects if one.proto == "udp" and one.host_port}
        if not ports:
            return
        try:
            await self._host.run(lambda: conntrack.forget(socket.IPPROTO_UDP, ports))
        except OSError as error:
            log.warning("UDP flows that are under way keep their old destination: %s", error)


def redirects_of(place: Place) -> list[ruleset.Redirect]:
    """What the firewall does for a place."""
    return [one for endpoint in place.endpoints.values() for one in publishing.redirects(endpoint)]


def _id(endpoint: types.Endpoint | None) -> str:
    return endpoint.id if endpoint is not None else ""


def _unmapped(
    ports: Sequence[types.PublishedPort], versions: Sequence[int]
) -> list[types.PublishedPort]:
    """The ports as they are where nothing is redirected: the container's own."""
    any_address = {4: "", 6: "::"}
    return [
        msgspec.structs.replace(
            port, host_port=0, host_port_end=0, host_ip=port.host_ip or any_address[version]
        )
        for port in ports
        for version in versions
        if not port.host_ip or publishing.version_of(port) == version
    ]


def _route(
    box: sandbox.Sandbox,
    place: Place,
    changed: Sequence[tuple[int, types.Endpoint | None, types.Endpoint | None]],
) -> None:
    for version, old, new in changed:
        if old is not None and old.network_id in place.endpoints:
            box.unroute(old.interface, _gateway(old, version))
        if new is not None:
            box.route(new.interface, _gateway(new, version))


def _gateway(endpoint: types.Endpoint, version: int) -> str:
    return endpoint.gateway if version == 4 else endpoint.ipv6_gateway
