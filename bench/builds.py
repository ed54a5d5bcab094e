"""Builds, beside dockerd's builder and buildah: the same Dockerfiles, turn by turn.

``.venv/bin/python -m bench.builds [--runs N] [--files N] [--peers firkin,dockerd,buildah]``. Our
engine is driven by our client, dockerd by the official one with its own builder
(``DOCKER_BUILDKIT=0``: Debian has no other), buildah by itself. A table of medians in milliseconds
and the ratio to dockerd, median of the pairs; nothing asserts a time.
"""

from __future__ import annotations

import argparse
import os
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

from bench import peers

TEN = "FROM busybox\n" + "".join(f"RUN echo {{turn}} {at} > /f{at}\n" for at in range(9))
FOUR = (
    "".join(f"FROM busybox AS s{at}\nRUN sleep 2; echo {{turn}} {at} > /t\n" for at in range(4))
    + "FROM busybox\n"
    + "".join(f"COPY --from=s{at} /t /t{at}\n" for at in range(4))
)
MANY = "FROM scratch\nCOPY . /files/\n"

Builder = Callable[[Path], None]


class Buildah:
    """buildah has no engine; its store is a directory of its own."""

    name = "buildah"

    def __init__(self, directory: Path) -> None:
        self.directory = directory / self.name
        self.directory.mkdir()

    def start(self, image: bytes) -> None:
        """Give it the base image."""
        rootfs = self.directory / "busybox.tar"
        rootfs.write_bytes(image)
        (self.directory / "base").mkdir()
        shutil.copy(rootfs, self.directory / "base" / "busybox.tar")
        (self.directory / "base" / "Dockerfile").write_text("FROM scratch\nADD busybox.tar /\n")
        self.build(self.directory / "base", "busybox")

    def build(self, context: Path, tag: str = "bench") -> None:
        """Build a directory with its layers kept, as the others do."""
        subprocess.run(
            ["buildah", "--root", self.directory / "root", "--runroot", self.directory / "run",
             "bud", "--layers", "--isolation", "chroot", "-q", "-t", tag, context],
            check=True, capture_output=True, timeout=900,
        )  # fmt: skip

    def stop(self) -> None:
        """Nothing of it runs."""


class Firkin(peers.Firkin):
    """Ours, with our client."""

    def build(self, context: Path) -> None:
        """Build a directory."""
        environment = {**os.environ, "DOCKER_HOST": f"unix://{self.socket}",
                       "DOCKER_CONFIG": "/nonexistent"}  # fmt: skip
        subprocess.run(
            [peers.BIN / "firkin", "build", "-q", "-t", "bench", context],
            check=True, capture_output=True, timeout=900, env=environment,
        )  # fmt: skip


class Dockerd(peers.Dockerd):
    """dockerd, with its own builder and the official client."""

    def build(self, context: Path) -> None:
        """Build a directory."""
        subprocess.run(
            ["docker", "-H", f"unix://{self.socket}", "build", "-q", "-t", "bench", context],
            check=True, capture_output=True, timeout=900,
            env={**os.environ, "DOCKER_BUILDKIT": "0", "DOCKER_CONFIG": "/nonexistent"},
        )  # fmt: skip


def timed(action: Callable[[], None]) -> float:
    """Milliseconds of an action."""
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1000


def works(build: Builder, directory: Path, turn: str, many: Path) -> dict[str, float]:
    """One turn of one builder."""
    ten, four = directory / "ten", directory / "four"
    for place, text in ((ten, TEN), (four, FOUR)):
        place.mkdir(exist_ok=True)
        (place / "Dockerfile").write_text(text.replace("{turn}", turn))
    found = {"10 steps, cold": timed(lambda: build(ten))}
    found["10 steps, all in the cache"] = timed(lambda: build(ten))
    found["4 stages of 2 s each"] = timed(lambda: build(four))
    (many / "d0" / "f0").write_text(turn)
    found["many files, one changed"] = timed(lambda: build(many))
    return found


def context_of(directory: Path, files: int) -> Path:
    """A directory with that many small files."""
    for at in range(0, files, 500):
        place = directory / f"d{at // 500}"
        place.mkdir(parents=True)
        for number in range(at, min(at + 500, files)):
            (place / f"f{number}").write_text(f"file {number}\n" * 20)
    (directory / "Dockerfile").write_text(MANY)
    return directory


def main() -> int:
    """Entry point of ``python -m bench.builds``."""
    parser = argparse.ArgumentParser(prog="bench.builds")
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--files", type=int, default=50_000)
    parser.add_argument("--peers", default="firkin,dockerd,buildah")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"))
    given = parser.parse_args()
    image = subprocess.run(
        [peers.ROOT / "scripts/busybox-image"], check=True, capture_output=True
    ).stdout
    kinds = {"firkin": Firkin, "dockerd": Dockerd, "buildah": Buildah}
    names = [name for name in given.peers.split(",")
             if name == "firkin" or shutil.which(name)]  # fmt: skip
    samples: dict[str, dict[str, list[float]]] = {}
    with peers.workspace(given.directory) as directory:
        many = context_of(directory / "many", given.files)
        found = [kinds[name](directory) for name in names]
        try:
            for peer in found:
                if isinstance(peer, Buildah):
                    peer.start(image)
                else:
                    peer.start()
                    peer.client("import", "-c", 'CMD ["sh"]', "-", "busybox", data=image)
                peer.build(many)
            for turn in range(given.runs):
                for peer in found if turn % 2 else reversed(found):
                    os.sync()
                    one = works(peer.build, directory, f"{turn}-{peer.name}", many)
                    for name, value in one.items():
                        samples.setdefault(name, {}).setdefault(peer.name, []).append(value)
        finally:
            for peer in found:
                peer.stop()
    print(f"| median, ms | {' | '.join(names)} | firkin to dockerd |")
    print("|---" * (len(names) + 2) + "|")
    for name, by_peer in samples.items():
        cells = [f"{statistics.median(by_peer[peer]):.0f}" for peer in names]
        pairs = [a / b for a, b in zip(by_peer.get("firkin", []), by_peer.get("dockerd", []),
                                       strict=False)]  # fmt: skip
        ratio = f"{statistics.median(pairs):.2f}" if pairs else ""
        print(f"| {name} | {' | '.join(cells)} | {ratio} |")
    return 0


if __name__ == "__main__":
    sys.exit(main())
