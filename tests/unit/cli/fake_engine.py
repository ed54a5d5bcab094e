"""An engine that answers what a test tells it to, on a real Unix socket.

``FakeEngine(answers)``: keys are "METHOD /path" without version and query, values JSON values,
bytes, or ``(status, value)``. ``requests`` are what it was asked: (method, path, query, body).
"""

from __future__ import annotations

import http.server
import json
import pathlib
import socketserver
import sys
import threading
import urllib.parse
from typing import Any

from firkin.cli import main


class FakeEngine:
    """Start it with ``with``; ``run`` runs a command line of the client against it."""

    def __init__(self, directory: pathlib.Path, answers: dict[str, Any]) -> None:
        self.answers = answers
        self.requests: list[tuple[str, str, dict[str, list[str]], bytes]] = []
        self.socket = str(directory / "s")
        handler = type("Handler", (_Handler,), {"engine": self})
        self.server = _Server(self.socket, handler)
        self.thread = threading.Thread(target=self.server.serve_forever, args=(0.01,))

    def __enter__(self) -> FakeEngine:
        self.thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()

    def run(self, *words: str) -> int:
        """The exit status of ``firkin WORDS``."""
        return main.run(["-H", f"unix://{self.socket}", *words])


class _Server(socketserver.ThreadingUnixStreamServer):
    daemon_threads = True

    def handle_error(self, request: object, client_address: object) -> None:
        """A client that has left is no error; anything else must be seen."""
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)  # type: ignore[arg-type]


class _Handler(http.server.BaseHTTPRequestHandler):
    engine: FakeEngine
    protocol_version = "HTTP/1.1"

    def answer(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        path = url.path
        if path.startswith("/v1."):
            path = path[path.index("/", 1) :]
        body = self.read_body()
        if path != "/_ping":
            query = urllib.parse.parse_qs(url.query, keep_blank_values=True)
            self.engine.requests.append((self.command, path, query, body))
        value = self.engine.answers.get(
            f"{self.command} {path}", b"OK" if path == "/_ping" else None
        )
        status = 200
        if isinstance(value, tuple):
            status, value = value
        elif value is None:
            status, value = 404, {"message": f"nothing at {path}"}
        raw = value if isinstance(value, bytes) else json.dumps(value).encode()
        self.send_response(status)
        self.send_header("Api-Version", "1.56")
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(raw)))
        self.end_headers()
        self.wfile.write(raw)

    do_GET = do_POST = do_DELETE = answer

    def read_body(self) -> bytes:
        if self.headers.get("Transfer-Encoding") != "chunked":
            return self.rfile.read(int(self.headers.get("Content-Length") or 0))
        parts = []
        while size := int(self.rfile.readline(), 16):
            parts.append(self.rfile.read(size))
            self.rfile.readline()
        self.rfile.readline()
        return b"".join(parts)

    def log_message(self, format: str, *args: object) -> None:
        """Keep quiet."""

    def address_string(self) -> str:
        return "local"
