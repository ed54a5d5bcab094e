"""The memory of an engine and of what it keeps per container."""

from __future__ import annotations

import time

from bench import peers

COUNT = 20


def idle(found: list[peers.Peer]) -> dict[str, int]:
    """KiB of each engine that was just started."""
    time.sleep(2)
    return {peer.name: peer.memory() for peer in found}


def report(found: list[peers.Peer], fresh: dict[str, int]) -> None:
    """Print proportional set sizes: the idle engine, and each running container's helpers."""
    for peer in found:
        ids = peer.client("ps", "-aq").stdout.decode().split()
        if ids:
            peer.client("rm", "-f", *ids)
    used = idle(found)
    for peer in found:
        for _ in range(COUNT):
            peer.client("run", "-d", "busybox", "sleep", "36000", check=False)
    busy = idle(found)
    for name, values in (
        ("engine idle, MB", [fresh[p.name] / 1024 for p in found]),
        ("engine after these works, MB", [used[p.name] / 1024 for p in found]),
        (
            "per running container, MB",
            [(busy[p.name] - used[p.name]) / 1024 / COUNT for p in found],
        ),
    ):
        print(f"| {name:32} | " + " | ".join(f"{v:8.1f}" for v in values) + " |        |       |")
