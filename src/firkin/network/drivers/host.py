"""The ``host`` network: no namespace; the container has the host's interfaces.

Nothing is published there, since nothing needs to be: ports in a request are ignored.
"""

from __future__ import annotations

import secrets
from collections.abc import Collection

from firkin.network import ruleset
from firkin.store import networks as store
from firkin.types import network as types


class HostDriver:
    """The Driver of the network ``host``."""

    def __init__(self, stored: store.StoredNetwork) -> None:
        self.stored = stored

    async def start(self, live: Collection[types.Endpoint]) -> None:
        return None

    def rules(self) -> ruleset.Network | None:
        return None

    async def connect(self, request: types.EndpointRequest) -> types.Endpoint:
        return types.Endpoint(
            id=secrets.token_hex(32),
            network_id=self.stored.id,
            network_name=self.stored.name,
            container_id=request.container_id,
            netns="",
        )

    async def release(self, endpoint: types.Endpoint) -> None:
        return None

    def ipam(self) -> types.IPAM:
        return types.IPAM()

    def options(self) -> dict[str, str]:
        return {}

    async def close(self) -> None:
        return None
