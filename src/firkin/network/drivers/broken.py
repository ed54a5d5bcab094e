"""A network that could not be brought back when the engine started: it is there to be removed."""

from __future__ import annotations

from firkin import errdefs
from firkin.network import sandbox
from firkin.network.drivers import host
from firkin.store import networks as store
from firkin.types import network as types


class BrokenDriver(host.HostDriver):
    """The Driver of a network that refuses containers, for a reason."""

    namespaced = True
    exclusive = False

    def __init__(self, stored: store.StoredNetwork, reason: str) -> None:
        super().__init__(stored)
        self._reason = reason

    async def connect(
        self, place: sandbox.Sandbox | None, request: types.EndpointRequest, container_id: str
    ) -> types.Endpoint:
        raise errdefs.Unavailable(
            f"network {self.stored.name} is out of order since the engine was started: "
            f"{self._reason}: mend that and start the engine again, or remove the network"
        )
