"""What the verbs share: the services, the containers, the configuration. No behaviour."""

from __future__ import annotations

import dataclasses
import os
from typing import TYPE_CHECKING

from firkin.builder import service as builds
from firkin.engine import config, host, secretstore
from firkin.engine.containers import registry
from firkin.events import exchange
from firkin.images import service as images
from firkin.linux import inotify, tasks
from firkin.network import controller
from firkin.plugins import plugin
from firkin.runtime import conmon
from firkin.store import db
from firkin.volumes import service as volumes

if TYPE_CHECKING:
    from firkin.engine.containers import execs, health, logkeeper, stats, supervise, tidy


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
    tidier: tidy.Tidier
    supervisor: supervise.Supervisor
    health: health.Health
    stats: stats.Sampler
    logs: logkeeper.Logs
    plugins: plugin.Registry
    secrets: secretstore.SecretStore
    execs: dict[str, execs.Session] = dataclasses.field(default_factory=dict)
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
