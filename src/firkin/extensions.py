"""Drivers from other Python packages.

A package that is installed beside the engine becomes a driver by an entry point in one of
:data:`GROUPS`::

    [project.entry-points."firkin.volume_drivers"]
    mystore = "mypackage.firkin:MyStore"

The entry point's name is the driver's name. What it refers to is called once, while the engine
starts, with a :class:`Context`, and returns an object that fulfils the group's Protocol
(``firkin.volumes.driver``, ``firkin.logger.logger``, ``firkin.network.driver``). The suites in
``firkin.conformance`` tell an author whether it does.

The code of a driver runs inside the engine with the engine's rights: installing the package is the
act of trust. A driver that can't be loaded does not keep the engine from starting; whoever asks for
it is told why.
"""

from __future__ import annotations

import dataclasses
import importlib.metadata
import logging
import os
from collections.abc import Collection
from typing import Any

log = logging.getLogger(__name__)

VOLUME_DRIVERS = "firkin.volume_drivers"
LOG_DRIVERS = "firkin.log_drivers"
NETWORK_DRIVERS = "firkin.network_drivers"
GROUPS = (VOLUME_DRIVERS, LOG_DRIVERS, NETWORK_DRIVERS)


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Context:
    """What a driver is made with.

    ``state_dir`` is a directory of the driver's own that outlives the engine (mode 0700);
    ``run_dir`` is gone after a reboot, and need not exist yet.
    """

    name: str
    state_dir: str
    run_dir: str


@dataclasses.dataclass(frozen=True, slots=True)
class Loaded:
    """The drivers of one group by name, and the reasons of those that can't be used."""

    drivers: dict[str, Any]
    broken: dict[str, str]


def load(group: str, *, data_root: str, exec_root: str, reserved: Collection[str] = ()) -> Loaded:
    """Make the drivers of ``group``. Never raises for what a package does wrong. Blocks.

    ``reserved`` are the names of the engine's own drivers, which none of these may take.
    """
    drivers: dict[str, Any] = {}
    broken: dict[str, str] = {}
    kind = group.rpartition(".")[2]
    for point in importlib.metadata.entry_points(group=group):
        name = point.name
        package = point.dist.name if point.dist is not None else point.value
        if name in reserved or name in drivers or "/" in name or name.startswith("."):
            reason = f"the package {package} may not use the name {name!r}: it is taken or unusable"
            broken.setdefault(name, reason)
            log.warning("%s: %s", group, reason)
            continue
        state = os.path.join(data_root, "extensions", kind, name)
        run = os.path.join(exec_root, "extensions", kind, name)
        try:
            os.makedirs(state, mode=0o700, exist_ok=True)
            driver = point.load()(Context(name=name, state_dir=state, run_dir=run))
            driver.name = name
        except Exception as error:
            broken[name] = f"the package {package} failed: {type(error).__name__}: {error}"
            log.warning("%s: the driver %s is not there: %s", group, name, broken[name])
        else:
            drivers[name] = driver
            log.info("%s: %s from the package %s", group, name, package)
    return Loaded(drivers, broken)
