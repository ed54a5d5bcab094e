"""What the resolver must know of a container's place. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from firkin.network import driver as drivers
from firkin.network import places, settings
from firkin.network.resolver import protocol


def named(driver: drivers.Driver) -> bool:
    """Whether names of containers are resolved on a network: on all but the predefined ones."""
    return driver.stored.name not in settings.PREDEFINED and not driver.stored.config_only


def client(place: places.Place, networks: Mapping[str, drivers.Driver]) -> protocol.Client | None:
    """The container as the resolver sees it; None when it has no use for one."""
    endpoints = sorted(
        place.endpoints.values(), key=lambda one: (-one.gw_priority, one.network_name)
    )
    members = tuple(
        protocol.Membership(
            network=one.network_id,
            network_name=one.network_name,
            names=one.names,
            links=one.links,
            ipv4=one.ipv4_address,
            ipv6=one.ipv6_address,
            subnets=tuple(pool.subnet for pool in driver.stored.pools if pool.subnet),
        )
        for one in endpoints
        if (driver := networks.get(one.network_id)) is not None and named(driver)
    )
    nameservers = next((one.nameservers for one in endpoints if one.nameservers), ())
    if place.sandbox is None or not (members or nameservers):
        return None
    return protocol.Client(
        id=place.container_id,
        netns=place.sandbox.path,
        members=members,
        nameservers=nameservers,
        external=any(one.gateway or one.ipv6_gateway for one in endpoints),
    )
