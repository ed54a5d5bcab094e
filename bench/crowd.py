"""Many running containers: ``python -m bench.crowd [--count 500] [--at-once 8] [--health 30]``.

Reports the time to start them, memory per container, how long ``ps`` takes, what the engine's idle
CPU is, and how soon an engine that was killed answers again and knows them all. ``--health`` gives
each a health check (``true``) with that interval in seconds; ``--network none`` allows more than
the 1,023 that a bridge takes. For comparison with another engine: ``--peer dockerd``.
"""

from __future__ import annotations

import argparse
import concurrent.futures
import os
import signal
import statistics
import subprocess
import sys
import time
from pathlib import Path

from bench import api, memory, peers, works

QUIET = 10.0
_TICKS = os.sysconf("SC_CLK_TCK")


def _cpu(pid: int) -> float:
    """Seconds of CPU that a process has used."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def _start_all(
    peer: peers.Peer, count: int, at_once: int, network: str, health: float
) -> list[float]:
    """Start so many; the seconds that each took."""
    config: dict[str, object] = {
        "Image": "busybox", "Cmd": ["sleep", "36000"], "HostConfig": {"NetworkMode": network},
    }  # fmt: skip
    if health:
        config["Healthcheck"] = {"Test": ["CMD", "true"], "Interval": int(health * 1e9)}

    def one(_: int) -> float:
        begun = time.perf_counter()
        connection = api.Connection(peer.socket)
        made = connection.ask("POST", "/v1.41/containers/create", config)
        connection.ask("POST", f"/v1.41/containers/{made['Id']}/start")
        connection.close()
        return time.perf_counter() - begun

    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        return list(pool.map(one, range(count)))


def _known(peer: peers.Peer) -> int:
    connection = api.Connection(peer.socket)
    try:
        return len(connection.ask("GET", "/v1.41/containers/json"))
    finally:
        connection.close()


def _back(peer: peers.Peer, count: int) -> tuple[float, float]:
    """Seconds from the start of a new engine until it answers, and until it knows all."""
    begun = time.perf_counter()
    with (peer.directory / "log").open("ab") as log:
        peer.process = subprocess.Popen(
            peer.argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=peer.environment()
        )
    answers = 0.0
    while True:
        assert peer.process.poll() is None, (peer.directory / "log").read_text()[-2000:]
        try:
            found = _known(peer)
        except OSError:
            time.sleep(0.01)
            continue
        answers = answers or time.perf_counter() - begun
        if found >= count:
            return answers, time.perf_counter() - begun
        time.sleep(0.05)


def _report(peer: peers.Peer, count: int, at_once: int, network: str, health: float) -> None:
    def line(name: str, value: str) -> None:
        print(f"| {name:44} | {value:>16} |", flush=True)

    assert peer.process is not None
    before = memory.idle([peer])[peer.name]
    begun = time.perf_counter()
    each = _start_all(peer, count, at_once, network, health)
    line(f"{count} containers started, {at_once} at once", f"{time.perf_counter() - begun:.1f} s")
    line("each, median and longest", f"{statistics.median(each):.2f} {max(each):.2f} s")
    after = memory.idle([peer])[peer.name]
    line("engine and helpers before", f"{before / 1024:.1f} MB")
    line("per container", f"{(after - before) / 1024 / count:.2f} MB")
    client = [works.timed(lambda: peer.client("ps", "-q")) for _ in range(11)]
    line("ps, official client, median", f"{statistics.median(client):.0f} ms")
    words = [str(peers.BIN / "firkin"), "-H", f"unix://{peer.socket}", "ps", "-q"]
    ours = [
        works.timed(lambda: subprocess.run(words, check=True, capture_output=True))
        for _ in range(11)
    ]
    line("ps, firkin, median", f"{statistics.median(ours):.0f} ms")
    used = _cpu(peer.process.pid)
    quiet = max(QUIET, 2 * health)
    time.sleep(quiet)
    line("idle CPU of the engine", f"{(_cpu(peer.process.pid) - used) / quiet * 100:.2f} %")
    peer.process.send_signal(signal.SIGKILL)
    peer.process.wait()
    answers, knows = _back(peer, count)
    line("killed, started: answers after", f"{answers:.2f} s")
    line("knows all after", f"{knows:.2f} s")
    begun = time.perf_counter()
    ids = peer.client("ps", "-q", "--no-trunc").stdout.decode().split()
    with concurrent.futures.ThreadPoolExecutor(at_once) as pool:
        list(pool.map(lambda part: peer.client("rm", "-f", *part), [ids[n::8] for n in range(8)]))
    line("all removed by rm -f in", f"{time.perf_counter() - begun:.1f} s")
    line("engine and helpers at the end", f"{memory.idle([peer])[peer.name] / 1024:.1f} MB")


def main() -> int:
    """Entry point."""
    parser = argparse.ArgumentParser(prog="bench.crowd", description=__doc__)
    parser.add_argument("--count", type=int, default=500)
    parser.add_argument("--at-once", type=int, default=8)
    parser.add_argument("--peer", default="firkin")
    parser.add_argument("--network", default="bridge")
    parser.add_argument("--health", type=float, default=0.0)
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"))
    given = parser.parse_args()
    image = subprocess.run([peers.ROOT / "scripts/busybox-image"], check=True, capture_output=True)
    with peers.workspace(given.directory) as directory:
        peer = peers.available(directory, [given.peer])[0]
        peer.prefix = 20
        try:
            peer.start()
            peer.client("import", "-c", 'CMD ["sh"]', "-", "busybox", data=image.stdout)
            _report(peer, given.count, given.at_once, given.network, given.health)
        finally:
            peer.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
