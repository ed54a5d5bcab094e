"""Measures Firkin beside its peers in one run, alternating, through the official client.

``scripts/bench [--runs N] [--peers firkin,dockerd,podman] [--only WORDS] [--no-memory]`` prints a
table of medians in milliseconds, the ratio to dockerd (median of the pairs) and, where there is
one, the floor: the same work without an engine. Nothing here asserts a time.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench import floors, memory, peers, rate, source, works


def _row(name: str, cells: list[float | None], ratio: float | None, floor: float | None) -> str:
    shown = " | ".join("       -" if cell is None else f"{cell:8.0f}" for cell in cells)
    return (f"| {name:32} | {shown} | {'-' if ratio is None else f'{ratio:.2f}':>6} "
            f"| {'' if floor is None else f'{floor:.0f}':>5} |")  # fmt: skip


def _head(first: str, names: list[str]) -> None:
    print(f"| {first:32} | " + " | ".join(f"{name:>8}" for name in names) + " | ratio* | floor |")
    print(f"|{'-' * 34}|" + "|".join(["-" * 10] * len(names)) + "|--------|-------|", flush=True)


def measure(found: list[peers.Peer], chosen: dict[str, works.Work], turns: int
            ) -> dict[str, dict[str, list[float]]]:  # fmt: skip
    """Do every work in turn by every engine.

    Returns: work → engine → milliseconds of each turn. An engine that can't do a work has an
    empty list there, and what it said is printed.
    """
    samples = {name: {peer.name: list[float]() for peer in found} for name in chosen}
    unable: set[tuple[str, str]] = set()
    for turn in range(turns + 1):
        for name, work in chosen.items():
            if name in works.LONG and turn > works.LONG_TURNS:
                continue
            for peer in found if turn % 2 else reversed(found):
                if (name, peer.name) in unable:
                    continue
                os.sync()  # what one left to write must not slow the next
                try:
                    value = work(peer)
                except subprocess.CalledProcessError as error:
                    unable.add((name, peer.name))
                    print(f"{peer.name} can't: {name}: {error.stderr.decode().strip()[:150]}")
                    continue
                if turn:  # the first turn warms up
                    samples[name][peer.name].append(value)
    return samples


def report(samples: dict[str, dict[str, list[float]]], floor: dict[str, list[float]]) -> None:
    """Print the table of times."""
    for name, by_peer in samples.items():
        cells = [statistics.median(values) if values else None for values in by_peer.values()]
        ours, theirs = by_peer.get("firkin", []), by_peer.get("dockerd", [])
        pairs = [a / b for a, b in zip(ours, theirs, strict=False)]
        low = floor.get(name)
        print(_row(name, cells, statistics.median(pairs) if pairs else None,
                   statistics.median(low) if low else None), flush=True)  # fmt: skip


def measure_floors(directory: Path, image: bytes, *, debian: bool) -> dict[str, list[float]]:
    """Milliseconds of the works without an engine."""
    bare = floors.bare_run(directory, image)
    found: dict[str, list[float]] = {"run --rm busybox true, bridge": []}
    for _ in range(10):
        found["run --rm busybox true, bridge"].append(bare() + floors.client_alone())
    if debian:
        untar = floors.untar(directory, works.archive(directory, 0))
        found["load of the Debian image"] = [untar() for _ in range(works.LONG_TURNS)]
    return found


def make_archives(directory: Path, source: Path) -> None:
    """Docker-archives of the root file system tar ``source``, one a turn, each a little different.

    An engine of ours that does nothing else makes them.
    """
    home = directory / "maker"
    home.mkdir()
    maker = peers.Firkin(home)
    maker.start()
    try:
        rootfs = home / "rootfs.tar"
        shutil.copyfile(source, rootfs)
        for turn in range(works.LONG_TURNS + 1):
            (home / f"turn-{turn}").write_text(str(turn))
            subprocess.run(["tar", "-r", "-f", rootfs, "-C", home, f"turn-{turn}"], check=True)
            name = f"{works.IMAGE}:{turn}"
            with rootfs.open("rb") as file:
                maker.client("import", "-", name, stdin=file.fileno())
            maker.client("save", "-o", str(works.archive(directory, turn)), name)
    finally:
        maker.stop()


def fill_registry(
    directory: Path, chosen: dict[str, works.Work], stack: contextlib.ExitStack, *, debian: bool
) -> dict[str, works.Work]:
    """Start the registry that pulls need and fill it; without one, leave them out."""
    pulls = [name for name in chosen if name.startswith("pull ")]
    if not pulls or not source.usable():
        return {name: work for name, work in chosen.items() if name not in pulls}
    stack.enter_context(source.running(directory / "registry"))
    for turn in range(works.LONG_TURNS + 1):
        path = directory / "sixty.tar"
        source.many_layers(path, turn)
        source.add(f"sixty:{turn}", path)
        if debian:
            source.add(f"debian:{turn}", works.archive(directory, turn))
    return chosen


def measure_all(
    directory: Path,
    found: list[peers.Peer],
    chosen: dict[str, works.Work],
    given: argparse.Namespace,
    image: bytes,
    *,
    debian: bool,
) -> None:
    """Start the engines, measure, print and end them."""
    try:
        for peer in found:
            peer.start()
            peer.client("import", "-c", 'CMD ["sh"]', "-", "busybox", data=image)
        fresh = memory.idle(found)
        # Docker closes the host's forwarding to everyone else's containers.
        subprocess.run(["iptables", "-P", "FORWARD", "ACCEPT"], check=False)
        samples = measure(found, chosen, given.runs)
        _head("median, ms", [peer.name for peer in found])
        report(samples, measure_floors(directory, image, debian=debian))
        if not given.no_memory:
            memory.report(found, fresh)
        if given.only in "known":
            rate.report(found)
    finally:
        for peer in found:
            peer.stop()


def main() -> int:
    """Entry point of ``scripts/bench``."""
    parser = argparse.ArgumentParser(prog="scripts/bench")
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--peers", default="firkin,dockerd,podman")
    parser.add_argument("--only", default="", help="only works whose name has one of these words")
    parser.add_argument("--rootfs", type=Path, help="a Debian root file system tar, for load")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"), help="on which disk")
    parser.add_argument("--no-memory", action="store_true")
    given = parser.parse_args()
    wanted = given.only.split(",")
    chosen = {n: w for n, w in works.ALL.items() if any(word in n for word in wanted)}
    image = subprocess.run(
        [peers.ROOT / "scripts/busybox-image"], check=True, capture_output=True
    ).stdout
    with peers.workspace(given.directory) as directory:
        debian = given.rootfs is not None and any("Debian" in name for name in chosen)
        if debian:
            make_archives(directory, given.rootfs)
        else:
            chosen = {n: w for n, w in chosen.items() if "Debian" not in n}
        found = peers.available(directory, given.peers.split(","))
        with contextlib.ExitStack() as stack:
            chosen = fill_registry(directory, chosen, stack, debian=debian)
            measure_all(directory, found, chosen, given, image, debian=debian)
    print("* firkin to dockerd, median of the pairs; floor: the same without an engine")
    return 0


if __name__ == "__main__":
    started = time.monotonic()
    status = main()
    print(f"measured in {time.monotonic() - started:.0f} s on {os.cpu_count()} cores")
    sys.exit(status)
