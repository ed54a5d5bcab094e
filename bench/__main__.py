"""Measures Firkin beside its peers, alternating, through the official client.

``scripts/bench [--runs N] [--peers firkin,dockerd,podman] [--archive FILE] [WORK ...]`` prints a
table of medians in milliseconds and the ratio to dockerd. Nothing here asserts a time.
"""

from __future__ import annotations

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench import peers

Work = Callable[[peers.Peer], float]


def _timed(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1000


def run_bridge(peer: peers.Peer) -> float:
    return _timed(lambda: peer.client("run", "--rm", "busybox", "true"))


def run_host(peer: peers.Peer) -> float:
    return _timed(lambda: peer.client("run", "--rm", "--network", "host", "busybox", "true"))


def run_detached(peer: peers.Peer) -> float:
    return _timed(lambda: peer.client("run", "-d", "--name", "bench-d", "busybox", "sleep", "600"))


def remove_forced(peer: peers.Peer) -> float:
    return _timed(lambda: peer.client("rm", "-f", "bench-d"))


def exec_true(peer: peers.Peer) -> float:
    if b"bench-x" not in peer.client("ps", "--format", "{{.Names}}").stdout:
        peer.client("run", "-d", "--name", "bench-x", "busybox", "sleep", "3600")
    return _timed(lambda: peer.client("exec", "bench-x", "true"))


def load(peer: peers.Peer, archive: Path) -> float:
    peer.client("rmi", "-f", "firkin-test/debian:latest", check=False)
    with archive.open("rb") as file:
        return _timed(lambda: peer.client("load", stdin=file.fileno()))


def _row(name: str, samples: dict[str, list[float]]) -> str:
    cells = []
    ours, theirs = samples.get("firkin"), samples.get("dockerd")
    for values in samples.values():
        cells.append(f"{statistics.median(values):8.0f}" if values else "       -")
    ratio = (
        f"{statistics.median([a / b for a, b in zip(ours, theirs, strict=False)]):.2f}"
        if ours and theirs
        else "-"
    )
    return f"| {name:32} | " + " | ".join(cells) + f" | {ratio:>6} |"


def main() -> int:
    parser = argparse.ArgumentParser(prog="scripts/bench")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--peers", default="firkin,dockerd,podman")
    parser.add_argument("--archive", type=Path, help="docker-archive of firkin-test/debian:latest")
    parser.add_argument("--memory-containers", type=int, default=20)
    given = parser.parse_args()
    works: dict[str, Work] = {
        "run --rm busybox true, bridge": run_bridge,
        "the same, --network host": run_host,
        "run -d": run_detached,
        "rm -f": remove_forced,
        "exec true": exec_true,
    }
    if given.archive:
        works["load of the Debian image"] = lambda peer: load(peer, given.archive)
    image = subprocess.run(
        [peers.ROOT / "scripts/busybox-image"], check=True, capture_output=True
    ).stdout
    with peers.workspace() as directory:
        found = peers.available(Path(directory), given.peers.split(","))
        try:
            for peer in found:
                peer.start()
                peer.client("import", "-c", 'CMD ["sh"]', "-", "busybox", data=image)
            found = [peer for peer in found if _usable(peer)]
            subprocess.run(["iptables", "-P", "FORWARD", "ACCEPT"], check=False)
            names = " | ".join(f"{peer.name:>8}" for peer in found)
            print(f"| {'median, ms':32} | {names} | ratio* |")
            print(f"|{'-' * 34}|" + "|".join(["-" * 10] * len(found)) + "|--------|")
            samples = {name: {peer.name: [] for peer in found} for name in works}
            for turn in range(given.runs + 1):
                for name, work in works.items():
                    if turn > 5 and name.startswith("load"):
                        continue
                    os.sync()  # what one work left to write must not slow the next
                    for peer in found if turn % 2 else reversed(found):
                        value = work(peer)
                        if turn:  # the first turn warms up
                            samples[name][peer.name].append(value)
            for name, measured in samples.items():
                print(_row(name, measured), flush=True)
            memory(found, given.memory_containers)
        finally:
            for peer in found:
                peer.stop()
    print("* firkin to dockerd, median of the pairs")
    return 0


def _usable(peer: peers.Peer) -> bool:
    done = peer.client("run", "--rm", "busybox", "true", check=False)
    if done.returncode:
        print(f"left out: {peer.name} can't run a container here: {done.stderr.decode().strip()}")
        peer.stop()
    return done.returncode == 0


def memory(found: list[peers.Peer], count: int) -> None:
    """Print the memory of each idle engine and of each running container's helpers."""
    for peer in found:
        peer.client("rm", "-f", "bench-x", check=False)
    time.sleep(2)
    idle = {peer.name: peer.memory() for peer in found}
    for peer in found:
        for _ in range(count):
            peer.client("run", "-d", "busybox", "sleep", "3600")
    time.sleep(2)
    busy = {peer.name: peer.memory() for peer in found}
    print(f"| {'engine idle, MB (PSS)':32} | "
          + " | ".join(f"{idle[p.name] / 1024:8.1f}" for p in found) + " |        |")  # fmt: skip
    print(f"| {'per running container, MB (PSS)':32} | "
          + " | ".join(f"{(busy[p.name] - idle[p.name]) / 1024 / count:8.2f}" for p in found)
          + " |        |")  # fmt: skip


if __name__ == "__main__":
    sys.exit(main())
