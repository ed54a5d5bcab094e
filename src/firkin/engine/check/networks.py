"""Networks: the firewall table, and the place of every running container."""

from __future__ import annotations

from collections.abc import AsyncIterator

from firkin.engine import core as engine
from firkin.engine.check import difference
from firkin.linux import netns


async def audit(core: engine.Core, deep: bool) -> AsyncIterator[difference.Difference]:
    """Network namespaces of running containers."""
    for container in core.containers:
        endpoint = core.network.endpoint(container.id) if container.running else None
        if endpoint is not None and endpoint.netns and not netns.exists(endpoint.netns):
            yield difference.Difference(
                "network", container.name, f"its namespace {endpoint.netns} is gone",
                remedy=f"firkin restart {container.name}",
            )  # fmt: skip
