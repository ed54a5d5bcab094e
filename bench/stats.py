"""What statistics cost the engine: ``python -m bench.stats [--count 100] [--clients 1,50]``.

Starts so many idle containers on each engine in turn, has clients follow the statistics of all of
them, each by a connection of its own, and reports the CPU that the engine (dockerd's with its
containerd) takes of one core meanwhile. The shims of containerd are not counted.
"""

from __future__ import annotations

import argparse
import os
import selectors
import socket
import subprocess
import sys
import time
from pathlib import Path

from bench import api, peers

SECONDS = 15.0
_TICKS = os.sysconf("SC_CLK_TCK")


def _cpu(peer: peers.Peer) -> float:
    """Seconds of CPU of the engine and, where there is one, its containerd."""
    assert peer.process is not None
    total = 0.0
    for pid in {peer.process.pid, *peer.pids()}:
        try:
            name = Path(f"/proc/{pid}/comm").read_text().strip()
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        except OSError:
            continue
        if pid == peer.process.pid or name == "containerd":
            total += (int(fields[11]) + int(fields[12])) / _TICKS
    return total


def _follow(peer: peers.Peer, ids: list[str], clients: int) -> tuple[float, int]:
    """Percent of a core while clients follow ``ids``, and how many samples came."""
    selector = selectors.DefaultSelector()
    for _ in range(clients):
        for container in ids:
            sock = socket.socket(socket.AF_UNIX)
            sock.connect(str(peer.socket))
            sock.sendall(
                f"GET /v1.41/containers/{container}/stats HTTP/1.1\r\nHost: x\r\n\r\n".encode()
            )
            selector.register(sock, selectors.EVENT_READ)
    samples = 0

    def read(until: float) -> None:
        nonlocal samples
        while (left := until - time.monotonic()) > 0:
            for key, _ in selector.select(left):
                samples += key.fileobj.recv(1 << 18).count(b'"read"')  # type: ignore[union-attr]

    read(time.monotonic() + 3)
    samples, used, begun = 0, _cpu(peer), time.monotonic()
    read(begun + SECONDS)
    percent = (_cpu(peer) - used) / (time.monotonic() - begun) * 100
    for key in list(selector.get_map().values()):
        key.fileobj.close()  # type: ignore[union-attr]
    selector.close()
    return percent, samples


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="bench.stats", description=__doc__)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--clients", default="1")
    parser.add_argument("--peers", default="firkin,dockerd")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"))
    given = parser.parse_args()
    image = subprocess.run([peers.ROOT / "scripts/busybox-image"], check=True, capture_output=True)
    print(f"| engine | containers | clients | % of a core | samples in {SECONDS:g} s |")
    print("|---|---|---|---|---|")
    with peers.workspace(given.directory) as directory:
        for peer in peers.available(directory, given.peers.split(",")):
            try:
                peer.start()
                peer.client("import", "-c", 'CMD ["sh"]', "-", "busybox", data=image.stdout)
                connection = api.Connection(peer.socket)
                ids = []
                for _ in range(given.count):
                    body = {"Image": "busybox", "Cmd": ["sleep", "36000"]}
                    made = connection.ask("POST", "/v1.41/containers/create", body)["Id"]
                    connection.ask("POST", f"/v1.41/containers/{made}/start")
                    ids.append(made)
                for clients in map(int, given.clients.split(",")):
                    percent, samples = _follow(peer, ids, clients)
                    print(
                        f"| {peer.name} | {given.count} | {clients} | {percent:.1f} | {samples} |",
                        flush=True,
                    )
            finally:
                peer.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
