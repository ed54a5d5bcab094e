"""Answers per second of a listing, by eight clients that keep their connections."""

from __future__ import annotations

import socket
import threading
import time
from pathlib import Path

from bench import peers, works

CLIENTS = 8
SECONDS = 3.0
CONTAINERS = 1000
REQUEST = b"GET /v1.41/containers/json?all=1 HTTP/1.1\r\nHost: x\r\n\r\n"


def _answer(connection: socket.socket, buffer: bytes) -> bytes:
    """Read one answer with a length or in chunks; returns what came after it."""
    while b"\r\n\r\n" not in buffer:
        buffer += connection.recv(1 << 20)
    head, body = buffer.split(b"\r\n\r\n", 1)
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.split(b":")[1])
            parts, have = [body], len(body)
            while have < length:
                parts.append(connection.recv(1 << 20))
                have += len(parts[-1])
            return b"".join(parts)[length:]
    parts = [body]
    while not parts[-1].endswith(b"0\r\n\r\n"):
        parts.append(connection.recv(1 << 20))
    return b""


def _asking(path: Path, until: float, counts: list[int]) -> None:
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(str(path))
        count, rest = 0, b""
        while time.monotonic() < until:
            connection.sendall(REQUEST)
            rest = _answer(connection, rest)
            count += 1
    counts.append(count)


def report(found: list[peers.Peer]) -> None:
    """Print the rate of each engine that knows a thousand containers."""
    rates = []
    for peer in found:
        with works.known_containers(peer, CONTAINERS):
            counts: list[int] = []
            until = time.monotonic() + SECONDS
            threads = [
                threading.Thread(target=_asking, args=(peer.socket, until, counts))
                for _ in range(CLIENTS)
            ]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            rates.append(sum(counts) / SECONDS)
    print(f"| {'1,000 containers listed, per s':32} | "
          + " | ".join(f"{v:8.1f}" for v in rates) + " |        |       |")  # fmt: skip
