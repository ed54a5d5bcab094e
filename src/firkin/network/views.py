"""Networks in the words of the Engine API. Pure."""

from __future__ import annotations

import datetime
from collections.abc import Iterable, Mapping

import msgspec

from firkin.network import driver as drivers
from firkin.types import network as types


def describe(driver: drivers.Driver) -> types.Network:
    """A network without its containers."""
    stored = driver.stored
    created = datetime.datetime.fromtimestamp(stored.created, datetime.UTC)
    return types.Network(
        name=stored.name,
        id=stored.id,
        created=created.isoformat().replace("+00:00", "Z"),
        driver=stored.driver,
        enable_ipv4=stored.enable_ipv4,
        enable_ipv6=stored.enable_ipv6,
        internal=stored.internal,
        attachable=stored.attachable,
        config_only=stored.config_only,
        config_from=types.ConfigReference(network=stored.config_from),
        ipam=driver.ipam(),
        options={**driver.options(), **stored.options},
        labels=stored.labels,
    )


def with_containers(
    driver: drivers.Driver, endpoints: Iterable[types.Endpoint], names: Mapping[str, str]
) -> types.Network:
    """A network with its running containers, whose names are given by id."""
    containers = {
        endpoint.container_id: types.NetworkContainer(
            name=names.get(endpoint.container_id, ""),
            endpoint_id=endpoint.id,
            mac_address=endpoint.mac_address,
            ipv4_address=_cidr(endpoint.ipv4_address, endpoint.prefix_len),
            ipv6_address=_cidr(endpoint.ipv6_address, endpoint.ipv6_prefix_len),
        )
        for endpoint in endpoints
    }
    return msgspec.structs.replace(describe(driver), containers=containers)


def _cidr(address: str, length: int) -> str:
    return f"{address}/{length}" if address else ""
