"""Plain HTTP over an engine's Unix socket, for what no client would send."""

from __future__ import annotations

import http.client
import json
import socket
import time
from pathlib import Path
from typing import Any


class Connection(http.client.HTTPConnection):
    """``http.client`` on a Unix socket."""

    def __init__(self, path: Path, timeout: float = 60) -> None:
        super().__init__("engine", timeout=timeout)
        self._path = path
        self.timeout: float = timeout

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        deadline = time.monotonic() + self.timeout
        while True:
            try:
                return self.sock.connect(str(self._path))
            except BlockingIOError:  # many others wait to be let in
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)


def ask(
    path: Path, method: str, target: str, body: Any = None, kind: str = "application/json"
) -> tuple[int, Any]:
    """One request; returns the status and the answer, decoded where it is JSON; a list for several
    lines of it."""
    connection = Connection(path)
    try:
        data = body if body is None or isinstance(body, bytes | str) else json.dumps(body)
        headers = {"Content-Type": kind} if data is not None else {}
        connection.request(method, target, data, headers)
        answer = connection.getresponse()
        text = answer.read()
        if "json" in (answer.getheader("Content-Type") or "") and text.strip():
            values = [json.loads(line) for line in text.splitlines() if line.strip()]
            return answer.status, values if len(values) > 1 else values[0]
        return answer.status, text.decode("utf-8", "replace")
    finally:
        connection.close()


def exchange(path: Path, data: bytes, *, wait: float = 10) -> bytes:
    """Send raw bytes, end the sending side, and return all that comes back."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as sock:
        sock.settimeout(wait)
        sock.connect(str(path))
        try:
            sock.sendall(data)
            sock.shutdown(socket.SHUT_WR)
        except OSError:  # refused before it was all sent, which is an answer too
            pass
        parts = []
        try:
            while part := sock.recv(65536):
                parts.append(part)
        except OSError:
            pass
        return b"".join(parts)
