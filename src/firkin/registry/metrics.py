"""Figures for Prometheus, summed over all worker processes.

``PROMETHEUS_MULTIPROC_DIR`` has to be set before this module is imported; the library then keeps
the counters in files that every worker can read.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest, multiprocess
from prometheus_client.metrics_core import GaugeMetricFamily

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

REQUESTS = Counter("firkin_registry_requests", "Requests answered", ("method", "route", "status"))
SECONDS = Histogram(
    "firkin_registry_request_seconds", "Time to the end of an answer", ("route",),
    buckets=(0.001, 0.005, 0.02, 0.1, 0.5, 2, 10, 60, 600),
)  # fmt: skip
SENT = Counter("firkin_registry_sent_bytes", "Bytes of bodies sent")
RECEIVED = Counter("firkin_registry_received_bytes", "Bytes of blobs received")

_STATES = {
    "repositories": ("Repositories", "SELECT count(*) FROM repositories"),
    "blobs": ("Blobs stored", "SELECT count(*) FROM blobs"),
    "blob_bytes": ("Bytes of the blobs stored", "SELECT ifnull(sum(size), 0) FROM blobs"),
    "uploads": ("Uploads under way", "SELECT count(*) FROM uploads"),
    "deliveries": ("Notifications that wait", "SELECT count(*) FROM deliveries"),
}


def states(c: sqlite3.Connection) -> dict[str, int]:
    """What the index says now."""
    return {name: int(c.execute(query).fetchone()[0]) for name, (_, query) in _STATES.items()}


class _States:
    def __init__(self, values: dict[str, int]) -> None:
        self._values = values

    def collect(self) -> Iterable[GaugeMetricFamily]:
        for name, value in self._values.items():
            yield GaugeMetricFamily(f"firkin_registry_{name}", _STATES[name][0], value)


def text(values: dict[str, int]) -> bytes:
    """Everything in Prometheus's text format. Reads files: call it in a thread."""
    collected = CollectorRegistry()
    multiprocess.MultiProcessCollector(collected)  # type: ignore[no-untyped-call]
    collected.register(_States(values))
    return generate_latest(collected)
