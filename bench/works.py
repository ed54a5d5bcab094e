"""What is measured: each work is done once by one engine, through the official client.

A work returns milliseconds. What it needs beforehand it makes outside the measured part.
"""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench import peers, source

Work = Callable[[peers.Peer], float]

IMAGE = "firkin-bench/debian"


def timed(action: Callable[[], object]) -> float:
    """Milliseconds an action takes."""
    start = time.perf_counter()
    action()
    return (time.perf_counter() - start) * 1000


def run_bridge(peer: peers.Peer) -> float:
    """A short container on the default bridge."""
    return timed(lambda: peer.client("run", "--rm", "busybox", "true"))


def run_host(peer: peers.Peer) -> float:
    """The same in the host's network."""
    return timed(lambda: peer.client("run", "--rm", "--network", "host", "busybox", "true"))


def run_detached(peer: peers.Peer) -> float:
    """Start a container and leave it."""
    return timed(lambda: peer.client("run", "-d", "--name", "bench-d", "busybox", "sleep", "600"))


def remove_forced(peer: peers.Peer) -> float:
    """Kill and remove the one `run_detached` left."""
    return timed(lambda: peer.client("rm", "-f", "bench-d"))


def _standing(peer: peers.Peer) -> None:
    if b"bench-x" not in peer.client("ps", "--format", "{{.Names}}").stdout:
        peer.client("run", "-d", "--name", "bench-x", "busybox", "sleep", "36000")


def exec_true(peer: peers.Peer) -> float:
    """A process more in a running container."""
    _standing(peer)
    return timed(lambda: peer.client("exec", "bench-x", "true"))


def twenty_at_once(peer: peers.Peer) -> float:
    """Twenty clients that each run a short container at the same moment."""
    with concurrent.futures.ThreadPoolExecutor(20) as pool:
        return timed(lambda: list(pool.map(lambda _: run_bridge(peer), range(20))))


def logs(peer: peers.Peer) -> float:
    """Read 300,000 lines of log."""
    if b"bench-l" not in peer.client("ps", "-a", "--format", "{{.Names}}").stdout:
        peer.client("run", "-d", "--name", "bench-l", "busybox", "seq", "300000")
        peer.client("wait", "bench-l")
    with Path(os.devnull).open("wb") as sink:
        return timed(lambda: peer.client("logs", "bench-l", stdout=sink.fileno()))


def attach_200mb(peer: peers.Peer) -> float:
    """200 MB of lines from a container to its client."""
    words = (
        "run",
        "--rm",
        "--log-driver",
        "none",
        "busybox",
        "sh",
        "-c",
        "yes | head -c 200000000",
    )
    with Path(os.devnull).open("wb") as sink:
        return timed(lambda: peer.client(*words, stdout=sink.fileno()))


def load(peer: peers.Peer) -> float:
    """Load a Debian image that the engine has not seen from a file.

    Every turn has an archive of its own: a file system that just dropped thousands of inodes is
    slow to hand out new ones (ext4 passes over the recently deleted), and nothing else would show.
    """
    turn = peer.turns["load"] = peer.turns.get("load", -1) + 1
    with archive(peer.directory.parent, turn).open("rb") as file:
        return timed(lambda: peer.client("load", stdin=file.fileno()))


def pull_debian(peer: peers.Peer) -> float:
    """Pull a Debian image of one gzip layer, another one each turn (see :func:`load`)."""
    return _pull(peer, "debian")


def pull_sixty(peer: peers.Peer) -> float:
    """Pull an image of 60 small layers."""
    return _pull(peer, "sixty")


def _pull(peer: peers.Peer, name: str) -> float:
    turn = peer.turns[name] = peer.turns.get(name, -1) + 1
    return timed(lambda: peer.client("pull", "-q", f"{source.HOST}/{name}:{turn}"))


def save(peer: peers.Peer) -> float:
    """Write the Debian image to a file."""
    with (peer.directory / "saved.tar").open("wb") as file:
        return timed(lambda: peer.client("save", f"{IMAGE}:0", stdout=file.fileno()))


def commit(peer: peers.Peer) -> float:
    """Make an image of a container that wrote 50 MB."""
    peer.client("rmi", "-f", "bench-commit", check=False)
    if b"bench-c" not in peer.client("ps", "-a", "--format", "{{.Names}}").stdout:
        peer.client("run", "--name", "bench-c", "busybox", "sh", "-c",
                    "dd if=/dev/urandom of=/data bs=1M count=50")  # fmt: skip
    return timed(lambda: peer.client("commit", "bench-c", "bench-commit"))


def _two_hundred(peer: peers.Peer) -> Path:
    """A tree of 200 MB in ten files, beside the engines' directories."""
    tree = peer.directory.parent / "copied"
    if not tree.exists():
        tree.mkdir()
        for number in range(10):
            (tree / str(number)).write_bytes(os.urandom(20_000_000))
    return tree


def copy_in(peer: peers.Peer) -> float:
    """``cp`` of 200 MB into a running container, to a new place each turn."""
    _standing(peer)
    turn = peer.turns["copy"] = peer.turns.get("copy", -1) + 1
    tree = str(_two_hundred(peer))
    return timed(lambda: peer.client("cp", tree, f"bench-x:/copied-{turn}"))


def copy_out(peer: peers.Peer) -> float:
    """``cp`` of the 200 MB that :func:`copy_in` has left out of it."""
    target = peer.directory / "copied"
    shutil.rmtree(target, ignore_errors=True)
    turn = peer.turns["copy"]
    return timed(lambda: peer.client("cp", f"bench-x:/copied-{turn}", str(target)))


def archive(directory: Path, turn: int) -> Path:
    """The docker-archive of the Debian image for this turn, beside the engines' directories."""
    return directory / f"debian-{turn}.tar"


@contextlib.contextmanager
def known_containers(peer: peers.Peer, count: int) -> Iterator[None]:
    """So many created containers for as long as the context lasts."""
    ids = [peer.client("create", "busybox").stdout.decode().strip() for _ in range(count)]
    try:
        yield
    finally:
        for start in range(0, count, 100):
            peer.client("rm", *ids[start : start + 100])


#: Name of the table's row → work, in the order of one turn.
ALL: dict[str, Work] = {
    "run --rm busybox true, bridge": run_bridge,
    "the same, --network host": run_host,
    "run -d": run_detached,
    "rm -f": remove_forced,
    "exec true": exec_true,
    "20 such runs at once": twenty_at_once,
    "logs of 300,000 lines": logs,
    "200 MB of lines through attach": attach_200mb,
    "load of the Debian image": load,
    "pull of the Debian image": pull_debian,
    "pull of 60 small layers": pull_sixty,
    "save of the Debian image": save,
    "commit of 50 MB": commit,
    "cp of 200 MB in": copy_in,
    "cp of 200 MB out": copy_out,
}

#: Works that take long: measured in the first turns only.
LONG = {"20 such runs at once", "logs of 300,000 lines", "200 MB of lines through attach",
        "load of the Debian image", "save of the Debian image", "commit of 50 MB",
        "pull of the Debian image", "pull of 60 small layers", "cp of 200 MB in",
        "cp of 200 MB out"}  # fmt: skip

#: Turns of those.
LONG_TURNS = 4
