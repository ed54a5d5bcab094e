"""The ``host`` network: no namespace; the container has the host's interfaces.

Nothing is published there, since nothing needs to be: ports in a request are ignored.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection

from firkin.network import driver, ruleset, sandbox
from firkin.store import networks as store
from firkin.types import network as types


class HostDriver:
    """The Driver of the network ``host``."""

    namespaced = False
    exclusive = True
    pairs = False

    def __init__(self, stored: store.StoredNetwork) -> None:
        self.stored = stored

    async def start(self, live: Collection[types.Endpoint]) -> None:
        return None

    def rules(self) -> ruleset.Network | None:
        return None

    def publishing(self, version: int) -> driver.Publishing | None:
        return None

    async def connect(
        self, place: sandbox.Sandbox | None, request: types.EndpointRequest, container_id: str
    ) -> types.Endpoint:
        return types.Endpoint(
            id=secrets.token_hex(32),
            network_id=self.stored.id,
            network_name=self.stored.name,
            container_id=container_id,
            netns=place.path if place else "",
        )

    async def release(self, endpoint: types.Endpoint, place: sandbox.Sandbox | None) -> None:
        return None

    async def remove(self) -> None:
        return None

    def ipam(self) -> types.IPAM:
        return types.IPAM()

    def subnets(self) -> dict[str, types.SubnetStatus]:
        return {}

    def options(self) -> dict[str, str]:
        return {}

    async def close(self) -> None:
        return None
