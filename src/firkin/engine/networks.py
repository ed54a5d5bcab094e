"""NetworkList, NetworkCreate, NetworkConnect and the others: what each means."""

from __future__ import annotations

import contextlib
from typing import Any

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine import filters as filtering
from firkin.engine import times
from firkin.engine.containers import emit, etcfiles, model, netmode, networking
from firkin.network import settings
from firkin.types import base, container, network

FILTERS = frozenset({"dangling", "driver", "id", "label", "name", "scope", "type"})
PRUNE_FILTERS = frozenset({"label", "label!", "until"})
_TYPES = ("builtin", "custom")


def listing(core: engine.Core, wanted: filtering.Filters) -> list[Any]:
    """The answer of NetworkList. Raises ``InvalidParameter`` for an unknown type."""
    for kind in (kinds := wanted.get("type")):
        if kind not in _TYPES:
            raise errdefs.InvalidParameter(
                f"invalid filter: 'type'='{kind}': use builtin or custom"
            )
    dangling = wanted.flag("dangling")
    found = []
    for one in core.network.networks():
        builtin = one.name in settings.PREDEFINED
        unused = not builtin and not core.network.users(one.id)
        if (
            wanted.matches("name", one.name)
            and wanted.prefix("id", one.id)
            and wanted.exact("driver", one.driver)
            and wanted.exact("scope", one.scope)
            and wanted.labels(one.labels)
            and (not kinds or ("builtin" if builtin else "custom") in kinds)
            and (dangling is None or dangling == unused)
        ):
            found.append(base.to_builtins(one))
    return found


def inspect(core: engine.Core, reference: str, *, status: bool) -> dict[str, Any]:
    """The answer of NetworkInspect, with the use of its subnets if ``status``."""
    names = {one.id: one.name for one in core.containers}
    shown: dict[str, Any] = base.to_builtins(core.network.inspect(reference, names))
    if status and (subnets := core.network.driver(reference).subnets()):
        shown["Status"] = {"IPAM": {"Subnets": base.to_builtins(subnets)}}
    return shown


def _emit(core: engine.Core, action: str, network_id: str, name: str, driver: str) -> None:
    core.events.publish("network", action, network_id, {"name": name, "type": driver})


async def create(core: engine.Core, request: network.CreateRequest) -> str:
    """Make a network; returns its id."""
    made = await core.network.create(request)
    _emit(core, "create", made.id, made.name, made.driver)
    return made.id


async def remove(core: engine.Core, reference: str) -> None:
    """Remove a network. Raises ``NotFound`` and ``Forbidden``."""
    gone = await core.network.remove(reference)
    _emit(core, "destroy", gone.id, gone.name, gone.driver)


async def prune(core: engine.Core, wanted: filtering.Filters) -> dict[str, Any]:
    """Remove the networks that no container refers to, whether it runs or not."""
    until = times.prune_limit(wanted)
    used = {name for one in core.containers for name in one.record.networks}
    deleted = []
    for driver in core.network.every():
        stored = driver.stored
        if stored.name in settings.PREDEFINED or stored.name in used or stored.config_only:
            continue
        if until is not None and stored.created * 1e9 > until:
            continue
        if not wanted.labels(stored.labels):
            continue
        if wanted.has("label!") and wanted.labels(stored.labels, "label!"):
            continue
        with contextlib.suppress(errdefs.Forbidden, errdefs.NotFound):
            await remove(core, stored.id)
            deleted.append(stored.name)
    core.events.publish("network", "prune", "", {"reclaimed": "0"})
    return {"NetworksDeleted": deleted or None}


def _check_mode(subject: model.Container, name: str) -> None:
    """Raises ``InvalidParameter`` when the container's mode allows no change of its networks."""
    mode = subject.record.host.network_mode
    if netmode.shared_with(mode):
        raise errdefs.InvalidParameter(
            "container sharing network namespace with another container or host cannot be "
            "connected to any other network"
        )
    if "host" in (name, mode):
        raise errdefs.InvalidParameter(
            "container cannot be disconnected from host network or connected to host network"
        )
    others = subject.record.networks.keys() - {name}
    if "none" in others or (name == "none" and others):
        raise errdefs.InvalidParameter(
            "container cannot be connected to multiple networks with one of the networks in "
            "private (none) mode"
        )


def _check_alive(subject: model.Container) -> None:
    if subject.state.status in (model.Status.REMOVING, model.Status.DEAD):
        raise errdefs.Conflict(
            f"container {subject.id} is marked for removal and cannot be connected or "
            "disconnected to the network"
        )


async def connect(
    core: engine.Core, reference: str, name: str, asked: container.EndpointSettings
) -> None:
    """Let a container join one more network: at once when it runs, else when it starts.

    Raises ``NotFound``, ``Forbidden`` when it is on that network already, ``InvalidParameter``,
    ``Conflict``. Whatever it raises, nothing has changed.
    """
    subject = core.containers.get(name)
    target = core.network.driver(reference).stored
    async with subject.lock:
        _check_alive(subject)
        _check_mode(subject, target.name)
        networking.check(target.name, asked)
        before = dict(subject.record.networks)
        resolved = networking.resolv_conf(core, subject)
        if target.name in before:
            raise errdefs.Forbidden(
                f"endpoint with name {subject.name} already exists in network {target.name}"
            )
        subject.record.networks = {**before, target.name: asked}
        try:
            made = None
            if subject.running:
                made = await core.network.attach(networking.request(core, subject, target.name))
            await core.containers.save_record(subject)
        except BaseException:
            subject.record.networks = before
            raise
    if made is not None:
        home = core.home(subject.id)
        etcfiles.add_address(home, subject.record.config, made)
        etcfiles.replace(home, "resolv.conf", resolved, networking.resolv_conf(core, subject))
        emit.network(core, subject, "connect", target.name)


async def disconnect(core: engine.Core, reference: str, name: str, *, force: bool) -> None:
    """Take a container off a network. Raises as :func:`connect`."""
    target = core.network.driver(reference).stored
    subject = core.containers.find(name)
    if subject is None:
        if force:  # what a container that is gone may have left on the network
            for endpoint in core.network.users(target.id):
                if name in (*endpoint.names, endpoint.container_id):
                    await core.network.release(endpoint.container_id)
            return
        raise errdefs.NotFound(f"No such container: {name}")
    async with subject.lock:
        _check_alive(subject)
        _check_mode(subject, target.name)
        if target.name not in subject.record.networks:
            raise errdefs.Forbidden(
                f"container {subject.id} is not connected to network {target.name}"
            )
        gone = None
        resolved = networking.resolv_conf(core, subject)
        if subject.running:
            gone = await core.network.detach(subject.id, target.id)
        del subject.record.networks[target.name]
        await core.containers.save_record(subject)
    if gone is not None:
        home = core.home(subject.id)
        etcfiles.drop_address(home, gone)
        etcfiles.replace(home, "resolv.conf", resolved, networking.resolv_conf(core, subject))
        emit.network(core, subject, "disconnect", target.name)
