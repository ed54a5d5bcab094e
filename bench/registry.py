"""Our registry beside Debian's docker-registry: pulls and pushes by 1, 16 and 64 clients at once.

``python -m bench.registry``. Both serve from the same disk, take turns, and are asked in the same
way: over plain sockets, a pull as one GET, a push as clients do it, POST, PATCH in chunks of 32 kB
without a length, PUT. The clients cost as little as possible, for they share the processors.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import http.client
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from urllib.parse import urlsplit

CHUNK = 32 * 1024
CLIENTS = (1, 16, 64)
BLOB = 16 << 20
TOTAL = 64 * BLOB


def _free_port() -> int:
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        return int(sock.getsockname()[1])


class Server:
    """A registry's process and its directory."""

    def __init__(self, name: str, directory: Path) -> None:
        self.name = name
        self.directory = directory / name
        self.directory.mkdir()
        self.port = _free_port()
        self.process: subprocess.Popen[bytes] | None = None

    def argv(self) -> list[str]:
        data, address = self.directory / "data", f"127.0.0.1:{self.port}"
        if self.name == "firkin":
            return [sys.executable, "-m", "firkin.registry", "serve", f"--data={data}",
                    f"--listen={address}"]  # fmt: skip
        config = self.directory / "config.yml"
        config.write_text(
            f"version: 0.1\nlog: {{accesslog: {{disabled: true}}, level: error}}\n"
            f"storage: {{filesystem: {{rootdirectory: {data}}}, delete: {{enabled: true}}}}\n"
            f"http: {{addr: {address}}}\n"
        )
        return ["docker-registry", "serve", str(config)]

    def start(self) -> None:
        with (self.directory / "log").open("ab") as log:
            self.process = subprocess.Popen(
                self.argv(), stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                start_new_session=True,
                env={**os.environ, "OTEL_TRACES_EXPORTER": "none"},
            )  # fmt: skip
        for _ in range(200):
            with contextlib.suppress(OSError):
                self.ask("GET", "/v2/")
                return
            time.sleep(0.05)
        raise RuntimeError((self.directory / "log").read_text())

    def stop(self) -> None:
        if self.process is not None:
            self.process.send_signal(signal.SIGTERM)
            try:
                self.process.wait(30)
            except subprocess.TimeoutExpired:
                os.killpg(self.process.pid, signal.SIGKILL)
                self.process.wait()

    def ask(self, method: str, target: str, body: bytes = b"") -> http.client.HTTPResponse:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=120)
        connection.request(method, target, body)
        answer = connection.getresponse()
        answer.read()
        connection.close()
        return answer

    def memory(self) -> int:
        """KiB, proportional, of all its processes together."""
        assert self.process is not None
        pids, total = [self.process.pid], 0
        for pid in pids:
            children = Path(f"/proc/{pid}/task/{pid}/children")
            with contextlib.suppress(OSError):
                pids += [int(word) for word in children.read_text().split()]
                for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
                    if line.startswith("Pss:"):
                        total += int(line.split()[1])
        return total


def _connect(server: Server) -> socket.socket:
    sock = socket.create_connection(("127.0.0.1", server.port), timeout=300)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return sock


def _head(sock: socket.socket) -> tuple[int, dict[bytes, bytes], bytes]:
    """Status, headers, and what came after them."""
    head = b""
    while b"\r\n\r\n" not in head:
        data = sock.recv(1 << 16)
        if not data:
            raise RuntimeError(f"the registry hung up: {head!r}")
        head += data
    head, _, rest = head.partition(b"\r\n\r\n")
    first, *lines = head.split(b"\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(b": ") for line in lines)}
    return int(first.split()[1]), headers, rest


def pull(server: Server, digest: str, size: int) -> None:
    """GET the blob and throw it away."""
    with _connect(server) as sock:
        request = f"GET /v2/bench/blobs/{digest} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
        sock.sendall(request.encode())
        status, _, rest = _head(sock)
        if status != 200:
            raise RuntimeError(f"{server.name} answered {status}")
        buffer = bytearray(1 << 20)
        have = len(rest)
        while have < size:
            count = sock.recv_into(buffer)
            if not count:
                raise RuntimeError("the blob broke off")
            have += count


def push(server: Server, blob: bytes, digest: str) -> None:
    """Push a blob as Docker's client does."""
    place = server.ask("POST", "/v2/bench/blobs/uploads/").headers["Location"]
    target = urlsplit(place)
    path = f"{target.path}?{target.query}" if target.query else target.path
    with _connect(server) as sock:
        head = f"PATCH {path} HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n"
        sock.sendall(head.encode())
        view = memoryview(blob)
        border = f"{CHUNK:x}\r\n".encode()
        per_call = 8
        for start in range(0, len(blob), CHUNK * per_call):
            parts: list[bytes | memoryview] = []
            for at in range(start, min(start + CHUNK * per_call, len(blob)), CHUNK):
                part = view[at : at + CHUNK]
                size = border if len(part) == CHUNK else f"{len(part):x}\r\n".encode()
                parts += [size, part, b"\r\n"]
            sock.sendall(b"".join(parts))
        sock.sendall(b"0\r\n\r\n")
        status, headers, _ = _head(sock)
        if status != 202:
            raise RuntimeError(f"{server.name} answered {status} to the PATCH")
    target = urlsplit(headers[b"location"].decode())
    place = f"{target.path}?{target.query}" if target.query else target.path
    answer = server.ask("PUT", f"{place}{'&' if '?' in place else '?'}digest={digest}")
    if answer.status != 201:
        raise RuntimeError(f"{server.name} answered {answer.status} to the PUT")


def _at_once(clients: int, works: list[Callable[[], None]]) -> float:
    with ThreadPoolExecutor(clients) as pool:
        started = time.perf_counter()
        for future in [pool.submit(work) for work in works]:
            future.result()
        return time.perf_counter() - started


def _blobs(count: int) -> Iterator[tuple[bytes, str]]:
    """Blobs that nobody has, made from the same random bytes."""
    base = os.urandom(BLOB)
    for _ in range(count):
        data = os.urandom(32) + base[32:]
        yield data, f"sha256:{hashlib.sha256(data).hexdigest()}"


def throughput(servers: list[Server], clients: int, rounds: int) -> dict[str, dict[str, float]]:
    """Medians of megabytes a second, and of the ratio of each pair of rounds."""
    found: dict[str, list[dict[str, float]]] = {"pull": [], "push": []}
    count = max(clients, 8)
    for number in range(rounds):
        turn = servers if number % 2 else servers[::-1]
        rates: dict[str, dict[str, float]] = {"pull": {}, "push": {}}
        for server in turn:
            made = list(_blobs(count))
            works = [lambda s=server, b=b, d=d: push(s, b, d) for b, d in made]
            rates["push"][server.name] = count * BLOB / 1e6 / _at_once(clients, works)
            digests = [digest for _, digest in made]
            repeats = max(1, TOTAL // BLOB // count)
            works = [lambda s=server, d=d: pull(s, d, BLOB) for d in digests * repeats]
            rates["pull"][server.name] = len(works) * BLOB / 1e6 / _at_once(clients, works)
            shutil.rmtree(server.directory / "trash", ignore_errors=True)
        for kind in found:
            found[kind].append(rates[kind])
    summary = {}
    for kind, rows in found.items():
        middle = {s.name: statistics.median(row[s.name] for row in rows) for s in servers}
        if len(middle) == 2:
            middle["ratio"] = statistics.median(
                row["firkin"] / row["docker-registry"] for row in rows
            )
        summary[kind] = middle
    return summary


def largest(server: Server, size: int) -> tuple[int, int]:
    """Memory before, and at most while a blob of ``size`` bytes comes and goes, in KiB."""
    server.ask("GET", "/v2/")
    before = peak = server.memory()
    over = threading.Event()

    def watch() -> None:
        nonlocal peak
        while not over.wait(0.1):
            peak = max(peak, server.memory())

    watching = threading.Thread(target=watch)
    watching.start()
    piece = os.urandom(1 << 20)
    hasher = hashlib.sha256()
    for _ in range(size >> 20):
        hasher.update(piece)
    digest = f"sha256:{hasher.hexdigest()}"
    place = server.ask("POST", "/v2/bench/blobs/uploads/").headers["Location"]
    target = urlsplit(place)
    query = f"{target.query}&" if target.query else ""
    with _connect(server) as sock:
        head = f"PUT {target.path}?{query}digest={digest} HTTP/1.1\r\nHost: x\r\n"
        sock.sendall(f"{head}Content-Length: {size}\r\n\r\n".encode())
        for _ in range(size >> 20):
            sock.sendall(piece)
        status, _, _ = _head(sock)
        if status != 201:
            raise RuntimeError(f"{server.name} answered {status}")
    pull(server, digest, size)
    over.set()
    watching.join()
    return before, peak


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(prog="python -m bench.registry")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--clients", default=",".join(map(str, CLIENTS)))
    parser.add_argument("--size", type=int, default=2048, help="MiB of the large blob, 0 for none")
    parser.add_argument("--directory", type=Path, default=Path("/var/tmp"))
    given = parser.parse_args()
    directory = Path(tempfile.mkdtemp(prefix="fkbench-", dir=given.directory))
    names = ["firkin"] + (["docker-registry"] if shutil.which("docker-registry") else [])
    servers = [Server(name, directory) for name in names]
    try:
        for server in servers:
            server.start()
        print("| MB/s | " + " | ".join(names) + " | ratio |")
        for clients in map(int, given.clients.split(",")):
            for kind, middle in throughput(servers, clients, given.rounds).items():
                figures = " | ".join(f"{value:.2f}" for value in middle.values())
                print(f"| {kind}, {clients} at once | {figures} |", flush=True)
        for server in servers if given.size else ():
            before, peak = largest(server, given.size << 20)
            print(f"| {server.name}: MB before and at most with a blob of {given.size} MiB | "
                  f"{before / 1024:.1f} | {peak / 1024:.1f} |", flush=True)  # fmt: skip
    finally:
        for server in servers:
            server.stop()
        shutil.rmtree(directory, ignore_errors=True)
    return 0


if __name__ == "__main__":
    sys.exit(main())
