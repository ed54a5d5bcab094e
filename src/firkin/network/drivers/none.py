"""The ``none`` network: a namespace with a loopback interface and nothing else."""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import Collection

from firkin import errdefs
from firkin.linux import netns
from firkin.network import endpoint as endpoints
from firkin.network import ruleset
from firkin.store import networks as store
from firkin.types import network as types


class NoneDriver:
    """The Driver of the network ``none``."""

    def __init__(self, stored: store.StoredNetwork, directory: str) -> None:
        self.stored = stored
        self._directory = directory

    async def start(self, live: Collection[types.Endpoint]) -> None:
        return None

    def rules(self) -> ruleset.Network | None:
        return None

    def _create(self) -> str:
        try:
            sandbox = endpoints.Sandbox.create(self._directory)
        except OSError as error:
            raise errdefs.System(f"cannot make a network namespace: {error}") from error
        sandbox.inside.close()
        return sandbox.path

    async def connect(self, request: types.EndpointRequest) -> types.Endpoint:
        work = asyncio.get_running_loop().run_in_executor(None, self._create)
        try:
            path = await asyncio.shield(work)
        except asyncio.CancelledError:
            work.add_done_callback(_discard)
            raise
        return types.Endpoint(
            id=secrets.token_hex(32),
            network_id=self.stored.id,
            network_name=self.stored.name,
            container_id=request.container_id,
            netns=path,
        )

    async def release(self, endpoint: types.Endpoint) -> None:
        if os.path.dirname(endpoint.netns) == self._directory:
            netns.remove(endpoint.netns)

    def ipam(self) -> types.IPAM:
        return types.IPAM()

    def options(self) -> dict[str, str]:
        return {}

    async def close(self) -> None:
        return None


def _discard(work: asyncio.Future[str]) -> None:
    if not work.cancelled() and work.exception() is None:
        netns.remove(work.result())
