"""Networks: the firewall table, and the place of every running container."""

from __future__ import annotations

from collections.abc import AsyncIterator

from firkin.engine import core as engine
from firkin.engine.check import difference
from firkin.linux import netns


async def audit(core: engine.Core, deep: bool) -> AsyncIterator[difference.Difference]:
    """Network namespaces of running containers."""
    for container in core.containers:
        endpoints = core.network.endpoints(container.id) if container.running else ()
        path = endpoints[0].netns if endpoints else ""
        if path and not netns.exists(path):
            yield difference.Difference(
                "network", container.name, f"its namespace {path} is gone",
                remedy=f"firkin restart {container.name}",
            )  # fmt: skip
