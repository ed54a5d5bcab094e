"""The contract of a network.

A driver object stands for one network of its kind, from the engine's start to its end::

    start(live)          once, before anything else; brings the network into being or adopts it,
     │                   and takes over the endpoints of containers that kept running
     ├── connect(request) ──► Endpoint     any number of times, concurrently
     ├── release(endpoint)                 once per endpoint
     └── close()         the engine stops; the network, and containers on it, go on

``start`` is idempotent over processes: it finds what an engine that was killed at any moment has
left. ``live`` are the stored endpoints of running containers; others' are released already, or
never were complete.

``connect`` makes the whole endpoint or nothing: when it fails or is cancelled, no namespace,
interface, address, port or rule of it is left. ``release`` does not fail for what is already
gone, and returns as soon as the address and ports can be used again; the kernel may need longer
to end the interface.

The controller serialises calls for one container; a driver must allow calls for different ones at
the same time. Drivers neither read nor write endpoints in the database: the controller does.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

from firkin.network import ruleset
from firkin.store import networks as store
from firkin.types import network as types


class Driver(Protocol):
    """One network. See the module's text for the lifecycle."""

    stored: store.StoredNetwork

    async def start(self, live: Collection[types.Endpoint]) -> None:
        """Bring the network into being and take over ``live``. Raises ``System``."""

    def rules(self) -> ruleset.Network | None:
        """What the firewall must know of the network, after ``start``; None for nothing."""

    async def connect(self, request: types.EndpointRequest) -> types.Endpoint:
        """Make a container's endpoint, all or nothing."""

    async def release(self, endpoint: types.Endpoint) -> None:
        """End an endpoint: its published ports, its address, its interface."""

    def ipam(self) -> types.IPAM:
        """Subnets and gateways, as NetworkInspect shows them."""

    def options(self) -> dict[str, str]:
        """Driver options in effect, as NetworkInspect shows them."""

    async def close(self) -> None:
        """Let go of what belongs to this process; change nothing that a container uses."""
