"""Metrics for Prometheus (``--metrics-addr``), under the names that Docker's engine gives them.

The library is loaded, and anything is measured, only when metrics are asked for.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import prometheus_client
from aiohttp import web
from prometheus_client import core as families

import firkin
from firkin.api import listeners, routes
from firkin.engine import core as engine
from firkin.engine import doors, system

log = logging.getLogger(__name__)

_ACTIONS = {
    "containers": ("engine_daemon_container_actions", "container"),
    "networks": ("engine_daemon_network_actions", "network"),
    "images": ("engine_daemon_image_actions", "image"),
    "volumes": ("engine_daemon_volume_actions", "volume"),
}
_VERBS = {"DELETE": "delete", "GET": "inspect", "HEAD": "inspect", "PUT": "update"}


class Metrics:
    """What is measured, and where it is served."""

    def __init__(self, core: engine.Core) -> None:
        self._core = core
        self._registry = registry = prometheus_client.CollectorRegistry()
        self._seconds = {
            head: prometheus_client.Histogram(
                f"{name}_seconds",
                f"The number of seconds it takes to process each {noun} action",
                ["action"],
                registry=registry,
            )
            for head, (name, noun) in _ACTIONS.items()
        }
        self._requests = prometheus_client.Counter(
            "firkin_api_requests", "Requests of the Engine API", ["code"], registry=registry
        )
        prometheus_client.ProcessCollector(registry=registry)
        prometheus_client.PlatformCollector(registry=registry)
        prometheus_client.GCCollector(registry=registry)
        registry.register(_Engine(core))
        self._server = web.Server(self._handle, access_log=None)
        self._listeners: list[asyncio.Server] = []
        self.addresses: list[str] = []

    def observe(self, route: routes.Route, seconds: float, status: int) -> None:
        """A request has been answered."""
        self._requests.labels(str(status)).inc()
        histogram = self._seconds.get(route.head)
        if histogram is not None and not route.stream:
            histogram.labels(_action(route)).observe(seconds)

    async def listen(self, address: str) -> None:
        """Serve at ``ADDRESS:PORT``. Raises ``System`` when that is not possible."""
        loop = asyncio.get_running_loop()
        host, port = doors.split_port(address)
        for sock in listeners.tcp_sockets(host, port):
            made = await loop.create_server(self._server, sock=sock)
            self._listeners.append(made)
            log.info("metrics at http://%s:%d/metrics", *sock.getsockname()[:2])

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        if request.path != "/metrics" or request.method not in ("GET", "HEAD"):
            return web.Response(status=404, text="404 page not found\n")
        text = prometheus_client.generate_latest(self._registry)
        headers = {"Content-Type": prometheus_client.CONTENT_TYPE_LATEST}
        return web.Response(body=text, headers=headers)

    async def close(self) -> None:
        """Serve no more."""
        for listener in self._listeners:
            listener.close()
        await self._server.shutdown(1.0)


def _action(route: routes.Route) -> str:
    last = route.path.rpartition("/")[2]
    if last.startswith("{") or last == "json":
        return _VERBS.get(route.method, "create")
    return last


class _Engine:
    """Numbers that are looked up when somebody asks."""

    def __init__(self, core: engine.Core) -> None:
        self._core = core

    def collect(self) -> Iterator[Any]:
        """See ``prometheus_client.registry.Collector``."""
        core, host = self._core, self._core.host
        gauge, counter = families.GaugeMetricFamily, families.CounterMetricFamily
        states = gauge(
            "engine_daemon_container_states_containers",
            "The count of containers in various states",
            labels=["state"],
        )
        counts = system.counts(core)
        for state in ("paused", "running", "stopped"):
            states.add_metric([state], counts[f"Containers{state.capitalize()}"])
        yield states
        info = gauge(
            "engine_daemon_engine_info",
            "The information related to the engine and the OS it is running on",
            labels=["architecture", "daemon_id", "graphdriver", "kernel", "os", "os_type",
                    "os_version", "version"],
        )  # fmt: skip
        info.add_metric(
            [host.architecture, core.engine_id, core.images.snapshots.name, host.kernel,
             host.operating_system, "linux", host.os_version, firkin.__version__], 1
        )  # fmt: skip
        yield info
        for name, text, value in (
            ("engine_cpus_cpus", "The number of cpus that the host system of the engine has",
             host.cpus),
            ("engine_memory_bytes", "The number of bytes of memory that the host system has",
             host.memory),
            ("events_subscribers_total", "The number of current subscribers to events",
             core.events.subscribers),
        ):  # fmt: skip
            yield gauge(f"engine_daemon_{name}", text, value=value)
        published = core.events.published
        yield counter("engine_daemon_events", "The number of events logged", value=published)
        yield gauge("firkin_tasks", "Tasks of the event loop", value=len(asyncio.all_tasks()))
