"""What the verbs share: the services, the containers, the configuration. No behaviour.

The parts that act on containers by themselves (they follow processes, probe, sample, tend logs)
use the verbs, and the verbs use them: here stands what the verbs ask of each.
"""

from __future__ import annotations

import contextlib
import dataclasses
import os
from collections.abc import AsyncIterator
from typing import Protocol

from firkin.builder import service as builds
from firkin.engine import config, host, secretstore
from firkin.engine.containers import model, registry, sessions
from firkin.events import exchange
from firkin.images import service as images
from firkin.linux import inotify, sampler, tasks
from firkin.logger import forwarder
from firkin.network import controller
from firkin.plugins import plugin
from firkin.runtime import conmon
from firkin.snapshots import snapshotter
from firkin.store import db
from firkin.types import container as wire
from firkin.volumes import service as volumes


class Supervisor(Protocol):
    """Follows running containers to their end: ``firkin.engine.containers.supervise``."""

    def follow(self, core: Core, container: model.Container) -> None:
        """Begin to follow a container that was started just now."""

    def watch(self, core: Core, container: model.Container) -> bool:
        """Begin to follow a running container; whether its monitor is there."""

    def schedule(self, core: Core, container: model.Container) -> None:
        """Start it again after its back-off."""


class Health(Protocol):
    """Probes running containers: ``firkin.engine.containers.health``."""

    def begin(self, core: Core, container: model.Container, *, spread: bool = False) -> None:
        """Probe it from now on, if it has a check; ``spread`` the first probes of many."""

    def end(self, container: model.Container) -> None:
        """Probe it no more."""


class Sampler(Protocol):
    """Measures what running containers use, once for all who ask: ``...containers.stats``."""

    async def once(self, core: Core, container: model.Container) -> bytes:
        """A sample as JSON, not compared with one before."""

    async def compared(self, core: Core, container: model.Container) -> bytes:
        """A sample as JSON with the one before it."""

    def stream(self, core: Core, container: model.Container) -> AsyncIterator[bytes]:
        """A sample as JSON every second, until the container is removed."""


class Follower(Protocol):
    """Somebody who reads the files of a log as it grows."""

    def extend(self) -> bool:
        """Open what came after the last file; tells whether there is anything. Blocks."""


class Logs(Protocol):
    """Tends the logs and their drivers: ``firkin.engine.containers.logkeeper``."""

    def names(self) -> list[str]:
        """The drivers that there are."""

    def complete(self, core: Core, config: wire.LogConfig) -> None:
        """Fill in the engine's defaults and check. Raises ``InvalidParameter``."""

    def monitor_limit(self, container: model.Container) -> int:
        """How long the monitor may let the spool become by itself, in bytes; 0 for no limit."""

    async def begin(self, core: Core, container: model.Container) -> None:
        """A container is about to start. Raises ``Unavailable`` for a target that must be there."""

    def started(self, core: Core, container: model.Container) -> None:
        """Its monitor has made its log file."""

    def ended(self, container: model.Container) -> None:
        """It has ended, or did not start."""

    async def resume(self, core: Core, container: model.Container) -> None:
        """A new engine has found it."""

    async def settle(self, container: model.Container) -> bool:
        """Let what is written by now get to the driver, for a moment at most; tells whether it has,
        or will not."""

    def following(
        self, container: model.Container, files: Follower
    ) -> contextlib.AbstractContextManager[None]:
        """While somebody follows the log, nothing is removed before ``files`` has it."""

    def forwarder_of(self, container: model.Container) -> forwarder.Forwarder | None:
        """What forwards its log, if anything does now."""

    async def drop(self, container: model.Container) -> None:
        """It is about to be removed."""


class Tidier(Protocol):
    """Removes what a removed container leaves: ``firkin.engine.containers.tidy``."""

    def later(self, core: Core, container: model.Container, tree: str) -> None:
        """Remove its directories, mounts and groups soon."""

    async def close(self) -> None:
        """Do what is to be done."""


@dataclasses.dataclass(slots=True, kw_only=True)
class Core:
    """The engine's parts. Made once, by ``firkin.daemon``."""

    config: config.Config
    host: host.Host
    engine_id: str
    db: db.Database
    events: exchange.Exchange
    images: images.ImageService
    network: controller.Controller
    volumes: volumes.Service
    runtimes: dict[str, conmon.Conmon]
    default_runtime: str
    cgroup_driver: str
    containers: registry.Registry
    watcher: inotify.Watcher
    tasks: tasks.Tasks
    tidier: Tidier
    supervisor: Supervisor
    health: Health
    stats: Sampler
    logs: Logs
    plugins: plugin.Registry
    secrets: secretstore.SecretStore
    sizes: sampler.Sampler[snapshotter.Taken] = dataclasses.field(default_factory=sampler.Sampler)
    execs: dict[str, sessions.Session] = dataclasses.field(default_factory=dict)
    views: dict[str, int] = dataclasses.field(default_factory=dict)
    builder: builds.Builder = dataclasses.field(init=False)

    def bundle(self, container_id: str) -> str:
        """A running container's directory; gone after a reboot."""
        return os.path.join(self.config.exec_root, "containers", container_id)

    def home(self, container_id: str) -> str:
        """A container's lasting directory: its log and its /etc files."""
        return os.path.join(self.config.data_root, "containers", container_id)

    def log_path(self, container_id: str) -> str:
        """A container's log file."""
        return os.path.join(self.home(container_id), "container.log")

    def runtime(self, name: str) -> conmon.Conmon:
        """The runtime of that name, else the default."""
        return self.runtimes.get(name) or self.runtimes[self.default_runtime]
