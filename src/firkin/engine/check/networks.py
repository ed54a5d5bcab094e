"""Networks: their bridges, and the place of every running container.

The firewall table needs no look: it is watched, and put back when somebody changes it.
"""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator

from firkin.engine import core as engine
from firkin.engine.check import difference
from firkin.linux import netns


async def audit(core: engine.Core, deep: bool) -> AsyncIterator[difference.Difference]:
    """Bridges of networks, namespaces of running containers."""
    present = {name for _, name in socket.if_nameindex()}
    for driver in core.network.every():
        rules = driver.rules()
        if rules is None:
            continue
        if rules.bridge not in present:
            yield difference.Difference(
                "network", driver.stored.name, f"its bridge {rules.bridge} is gone",
                remedy="restart the engine: containers keep running meanwhile",
            )  # fmt: skip
    for container in core.containers:
        endpoints = core.network.endpoints(container.id) if container.running else ()
        path = endpoints[0].netns if endpoints else ""
        if path and not netns.exists(path):
            yield difference.Difference(
                "network", container.name, f"its namespace {path} is gone",
                remedy=f"firkin restart {container.name}",
            )  # fmt: skip
