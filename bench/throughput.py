"""How fast packets get to containers: ``python -m bench.throughput [--runs 5] [--seconds 2]``.

Each engine has a container with a published port and another one. A receiver in the first one's
network namespace counts what a sender gets to it by TCP: from the host by the loopback address, by
IPv6's, by its own address, from a neighbour on a wire, and from the other container. Engines take
turns; the ratio is the median of the pairs.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from bench import peers

WIRE = "fkbwire0"
HOST, NEIGHBOUR = "10.212.0.1", "10.212.0.2"
PORTS = {"firkin": 28301, "dockerd": 28302}

_RECEIVER = """
import socket, sys
server = socket.create_server(("0.0.0.0", 5201))
while True:
    client, _ = server.accept()
    total, buffer = 0, bytearray(1 << 20)
    while count := client.recv_into(buffer):
        total += count
    client.sendall(str(total).encode())
    client.close()
"""
_SENDER = """
import socket, sys, time
client = socket.create_connection((sys.argv[1], int(sys.argv[2])), 10)
data, begun = bytes(1 << 20), time.monotonic()
until = begun + float(sys.argv[3])
while time.monotonic() < until:
    client.sendall(data)
client.shutdown(socket.SHUT_WR)
total = int(client.recv(100))
print(total * 8 / (time.monotonic() - begun) / 1e9)
"""


class Place(NamedTuple):
    """A peer's containers: pids of their processes, the first one's address, the published port."""

    receiver: int
    other: int
    address: str
    port: int


def _inside(pid: int) -> list[str]:
    return ["nsenter", "-t", str(pid), "-n"] if pid else []


def _send(where: int, address: str, port: int, seconds: float) -> float:
    """Gbit/s from a process's network namespace (0: the host's)."""
    words = [*_inside(where), sys.executable, "-c", _SENDER, address, str(port), str(seconds)]
    return float(subprocess.run(words, check=True, capture_output=True, timeout=60).stdout)


@contextlib.contextmanager
def neighbour() -> Iterator[int]:
    """Another host on a wire; yields the pid of a process there."""
    with subprocess.Popen(["unshare", "-n", "sleep", "1000000"]) as process:
        inside = _inside(process.pid)
        try:
            for words in (
                ["ip", "link", "add", WIRE, "type", "veth", "peer", "name", "wire", "netns",
                 str(process.pid)],
                ["ip", "addr", "add", f"{HOST}/24", "dev", WIRE],
                ["ip", "link", "set", WIRE, "up"],
                [*inside, "ip", "addr", "add", f"{NEIGHBOUR}/24", "dev", "wire"],
                [*inside, "ip", "link", "set", "wire", "up"],
            ):  # fmt: skip
                subprocess.run(words, check=True)
            yield process.pid
        finally:
            subprocess.run(["ip", "link", "del", WIRE], check=False, capture_output=True)
            process.kill()


@contextlib.contextmanager
def placed(peer: peers.Peer, image: bytes) -> Iterator[Place]:
    """Two containers of an engine, with a receiver in the first."""
    port = PORTS[peer.name]
    peer.client("import", "-c", 'CMD ["sh"]', "-", "busybox", data=image)
    pids = []
    for name, words in (("first", ["-p", f"{port}:5201"]), ("second", [])):
        peer.client("run", "-d", "--name", name, *words, "busybox", "sleep", "100000")
        shown = json.loads(peer.client("inspect", name).stdout)[0]
        pids.append(shown["State"]["Pid"])
        if name == "first":
            address = shown["NetworkSettings"]["Networks"]["bridge"]["IPAddress"]
    with subprocess.Popen([*_inside(pids[0]), sys.executable, "-c", _RECEIVER]) as receiver:
        try:
            yield Place(pids[0], pids[1], address, port)
        finally:
            receiver.kill()


def ways(place: Place, wire: int) -> dict[str, tuple[int, str, int]]:
    """The ways to the receiver: from which process's namespace, to which address and port."""
    return {
        "host to 127.0.0.1, published": (0, "127.0.0.1", place.port),
        "host to [::1], published": (0, "::1", place.port),
        "host to its own address, published": (0, HOST, place.port),
        "neighbour, published": (wire, HOST, place.port),
        "container to container": (place.other, place.address, 5201),
    }


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="bench.throughput", description=__doc__)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2)
    parser.add_argument("--peers", default="firkin,dockerd")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"))
    given = parser.parse_args()
    image = subprocess.run([peers.ROOT / "scripts/busybox-image"], check=True, capture_output=True)
    rates: dict[str, dict[str, list[float]]] = {}
    with contextlib.ExitStack() as stack:
        directory = stack.enter_context(peers.workspace(given.directory))
        found = peers.available(directory, given.peers.split(","))
        wire = stack.enter_context(neighbour())
        for peer in found:
            stack.callback(peer.stop)
            peer.start()
        # Docker closes the host's forwarding to everyone else's containers.
        subprocess.run(["iptables", "-P", "FORWARD", "ACCEPT"], check=False)
        places = [(peer, stack.enter_context(placed(peer, image.stdout))) for peer in found]
        for turn in range(given.runs + 1):
            for peer, place in places if turn % 2 else reversed(places):
                for name, (where, address, port) in ways(place, wire).items():
                    rate = _send(where, address, port, given.seconds)
                    if turn:  # the first turn warms up
                        rates.setdefault(name, {}).setdefault(peer.name, []).append(rate)
    names = [peer.name for peer in found]
    print(f"| Gbit/s, median | {' | '.join(names)} | ratio |")
    print("|---|" + "---|" * (len(names) + 1))
    for name, by_peer in rates.items():
        cells = " | ".join(f"{statistics.median(by_peer[one]):.1f}" for one in names)
        pairs = [a / b for a, b in zip(*(by_peer[one] for one in names[:2]), strict=False)]
        print(f"| {name} | {cells} | {statistics.median(pairs):.2f} |" if pairs else cells)
    return 0


if __name__ == "__main__":
    sys.exit(main())
