"""The contract of a network.

A driver object stands for one network of its kind, from its making or the engine's start to the
network's removal or the engine's end::

    start(live)          once, before anything else; brings the network into being or adopts it,
     │                   and takes over the endpoints of containers that kept running
     ├── connect(sandbox, request) ──► Endpoint     any number of times, concurrently
     ├── release(endpoint)                          once per endpoint
     ├── remove()        the network ends; it has no endpoint. Nothing comes after it but close
     └── close()         the engine stops; the network, and containers on it, go on

``start`` is idempotent over processes: it finds what an engine that was killed at any moment has
left. ``live`` are the stored endpoints of running containers; others' are released already, or
never were complete.

``connect`` puts an interface with its addresses into the container's sandbox, or nothing at all:
when it fails or is cancelled, no interface, address or rule of it is left. The way out of the
sandbox and published ports are not the driver's business: the controller chooses one of the
container's endpoints that has a gateway. ``release`` does not fail for what is already gone (the
sandbox may be), and returns as soon as the address can be used again; the kernel may need longer
to end the interface.

The controller serialises calls for one container; a driver must allow calls for different ones at
the same time. Drivers neither read nor write the database: the controller does, and keeps
``stored`` as the driver leaves it after ``start``.

A driver from another package (``firkin.extensions``, the group ``firkin.network_drivers``) is made
of two objects: a :class:`Kind`, one for the engine, whose ``network`` makes a Driver for each
network that names it. ``firkin.conformance.networks`` tests the drivers that it makes.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Protocol

import msgspec

from firkin.network import ruleset, sandbox
from firkin.store import networks as store
from firkin.types import network as types


class Publishing(msgspec.Struct, frozen=True, kw_only=True):
    """How a network publishes ports.

    ``routed``: without redirection from the host's ports. ``binding``: the address that ports get
    which name none, "" for every address of the host.
    """

    routed: bool = False
    binding: str = ""


class Driver(Protocol):
    """One network. See the module's text for the lifecycle."""

    stored: store.StoredNetwork

    namespaced: bool
    """Whether a container on it has a network namespace of its own."""

    exclusive: bool
    """Whether a container on it can be on no other network."""

    pairs: bool
    """Whether it uses a sandbox's spare pair."""

    async def start(self, live: Collection[types.Endpoint]) -> None:
        """Bring the network into being and take over ``live``.

        Raises ``System``; ``InvalidParameter``, ``Forbidden`` and ``NotImplemented`` for what the
        network asks for and cannot have, with nothing left.
        """

    def rules(self) -> ruleset.Network | None:
        """What the firewall must know of the network, after ``start``; None for nothing."""

    def publishing(self, version: int) -> Publishing | None:
        """How ports of its containers are published for an IP version; None for not at all."""

    async def connect(
        self, place: sandbox.Sandbox | None, request: types.EndpointRequest, container_id: str
    ) -> types.Endpoint:
        """Make a container's endpoint, all or nothing. ``place`` is None without a namespace."""

    async def release(self, endpoint: types.Endpoint, place: sandbox.Sandbox | None) -> None:
        """End an endpoint. ``place`` is None when the container's sandbox ends with it."""

    async def remove(self) -> None:
        """End the network: what ``start`` made and nobody else uses."""

    def ipam(self) -> types.IPAM:
        """Subnets and gateways, as NetworkInspect shows them."""

    def subnets(self) -> dict[str, types.SubnetStatus]:
        """How many addresses of each subnet are taken."""

    def options(self) -> dict[str, str]:
        """Driver options in effect, as NetworkInspect shows them."""

    async def close(self) -> None:
        """Let go of what belongs to this process; change nothing that a container uses."""


class Kind(Protocol):
    """What makes the networks of one driver. ``name`` is that of the driver."""

    name: str

    def network(self, stored: store.StoredNetwork) -> Driver:
        """The driver of one network. Raises ``InvalidParameter`` for options that cannot be."""
