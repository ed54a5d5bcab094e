"""A soak: ``python -m bench.soak [--cycles 2000] [--clients 16] [--kills 10]``.

Clients create, start, exec in, stop and remove containers while the engine is killed by SIGKILL now
and then and started again. Whatever a client asked for and got no answer to, it asks for again. In
the end nothing may be left, nothing lost, and the memory of the engine has to be flat. Exit code 1
when it is not so.
"""

from __future__ import annotations

import argparse
import http.client
import itertools
import random
import re
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

from bench import api, peers

_ID = re.compile(r"[0-9a-f]{64}")
_PATIENCE = 120.0
#: Growth of the engine's memory over the second half of the last stretch that counts as flat.
_FLAT = 1.10


class Soak:
    """One engine, its clients, and what they found wrong."""

    def __init__(self, peer: peers.Peer, cycles: int) -> None:
        self.peer = peer
        self.turns = iter(range(cycles))
        self.done = itertools.count()
        self.finished = 0
        self.wrong: list[str] = []

    def ask(
        self, method: str, path: str, body: object = None, *, fine: tuple[int, ...] = ()
    ) -> Any:
        """Ask until there is an answer. ``fine`` are refusals that a repetition may get."""
        deadline = time.monotonic() + _PATIENCE
        again = False
        while True:
            connection = api.Connection(self.peer.socket)
            try:
                return connection.ask(method, "/v1.41" + path, body)
            except api.Refused as error:
                if again and error.status in fine:
                    return None
                raise
            except (OSError, http.client.HTTPException):
                if time.monotonic() > deadline:
                    raise
                again = True
                time.sleep(0.05)
            finally:
                connection.close()

    def cycle(self, number: int) -> None:
        """One container's life."""
        name = f"soak-{number}"
        script = f"echo {number}; touch /data/said; exec sleep 600"
        self.ask("POST", f"/containers/create?name={name}",
                 {"Image": "busybox", "Cmd": ["sh", "-c", script], "Volumes": {"/data": {}}},
                 fine=(409,))  # fmt: skip
        self.ask("POST", f"/containers/{name}/start")
        words = ["sh", "-c", "until [ -e /data/said ]; do usleep 1000; done"]
        made = self.ask("POST", f"/containers/{name}/exec",
                        {"Cmd": words, "AttachStdout": True})  # fmt: skip
        # An engine that was killed has forgotten its execs, as the API has it.
        self.ask("POST", f"/exec/{made['Id']}/start", {}, fine=(404, 409))
        state = self.ask("GET", f"/containers/{name}/json")["State"]
        if state["Status"] != "running":
            self.wrong.append(f"{name} is {state['Status']}: {state}")
        self.ask("POST", f"/containers/{name}/stop?t=0")
        logged = self.ask("GET", f"/containers/{name}/logs?stdout=1")
        if str(number).encode() not in bytes(logged if isinstance(logged, bytes) else b""):
            self.wrong.append(f"{name}: its log lost a line: {logged!r}")
        self.ask("DELETE", f"/containers/{name}?v=1&force=1", fine=(404,))

    def client(self) -> None:
        """Work through the cycles beside the other clients."""
        for number in self.turns:
            try:
                self.cycle(number)
            except Exception as error:  # any failure is a finding
                self.wrong.append(f"cycle {number}: {type(error).__name__}: {error}")
            self.finished = next(self.done) + 1


def _rss(peer: peers.Peer) -> int:
    assert peer.process is not None
    text = Path(f"/proc/{peer.process.pid}/smaps_rollup").read_text()
    return next(int(line.split()[1]) for line in text.splitlines() if line.startswith("Pss:"))


def _left(peer: peers.Peer) -> list[str]:
    """What a host still has of containers."""
    found = peer.client("ps", "-aq").stdout.decode().split()
    found += peer.client("volume", "ls", "-q").stdout.decode().split()
    for part in ("exec/containers", "data/containers", "exec/runtimes/crun", "data/volumes"):
        directory = peer.directory / part
        found += [str(path) for path in directory.glob("*") if _ID.search(path.name)]
    assert peer.process is not None
    mounts = Path("/proc/self/mountinfo").read_text()
    found += re.findall(rf"{re.escape(str(peer.directory))}/exec/containers/\S+", mounts)
    found += [f"process {pid}" for pid in peer.pids() if _monitor(pid)]
    return found


def _monitor(pid: int) -> bool:
    try:
        return b"conmon" in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")[0]
    except OSError:
        return False


def _torment(soak: Soak, cycles: int, kills: int, chance: random.Random) -> list[int]:
    """Kill the engine at random moments of the first half; the memory seen in the second."""
    peer, seen = soak.peer, []
    marks = sorted(chance.uniform(0.02, 0.5) * cycles for _ in range(kills))
    samples = [cycles * (0.6 + 0.1 * n) for n in range(5)]
    while soak.finished < cycles - 1 and (marks or samples):
        if marks and soak.finished >= marks[0]:
            marks.pop(0)
            assert peer.process is not None
            peer.process.send_signal(signal.SIGKILL)
            peer.process.wait()
            peer.start()
        elif not marks and samples and soak.finished >= samples[0]:
            samples.pop(0)
            seen.append(_rss(peer))
        time.sleep(0.1)
    return seen


def main() -> int:
    """Entry point; the exit code."""
    parser = argparse.ArgumentParser(prog="bench.soak", description=__doc__)
    parser.add_argument("--cycles", type=int, default=2000)
    parser.add_argument("--clients", type=int, default=16)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--seed", type=int, default=random.randrange(1 << 32))
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"))
    given = parser.parse_args()
    print(f"seed {given.seed}")
    image = subprocess.run([peers.ROOT / "scripts/busybox-image"], check=True, capture_output=True)
    with peers.workspace(given.directory) as directory:
        peer = peers.Firkin(directory)
        try:
            peer.start()
            peer.client("import", "-c", 'CMD ["sh"]', "-", "busybox", data=image.stdout)
            soak = Soak(peer, given.cycles)
            begun = time.monotonic()
            clients = [threading.Thread(target=soak.client) for _ in range(given.clients)]
            for client in clients:
                client.start()
            memory = _torment(soak, given.cycles, given.kills, random.Random(given.seed))
            for client in clients:
                client.join()
            took = time.monotonic() - begun
            deadline = time.monotonic() + 30
            while (left := _left(peer)) and time.monotonic() < deadline:
                time.sleep(0.5)
        finally:
            peer.stop()
    print(f"{given.cycles} cycles by {given.clients} clients, {given.kills} kills: {took:.0f} s, "
          f"{given.cycles / took:.1f} a second")  # fmt: skip
    print("engine, MB:", " ".join(f"{kib / 1024:.1f}" for kib in memory))
    flat = len(memory) < 2 or memory[-1] <= memory[1] * _FLAT
    for line in [*soak.wrong[:20], *(f"left: {name}" for name in left[:20])]:
        print(line)
    print(f"{len(soak.wrong)} wrong, {len(left)} left, memory {'flat' if flat else 'grows'}")
    return 0 if flat and not soak.wrong and not left else 1


if __name__ == "__main__":
    sys.exit(main())
