"""The Engine API without a client's own cost: one connection, JSON in and out."""

from __future__ import annotations

import http.client
import json
import socket
from pathlib import Path
from typing import Any


class Refused(Exception):
    """An answer of 400 or more; ``status`` is its number."""

    def __init__(self, status: int, text: str) -> None:
        super().__init__(f"{status}: {text[:300]}")
        self.status = status


class Connection(http.client.HTTPConnection):
    """HTTP over a Unix socket. ``OSError`` and ``HTTPException`` when the engine is gone."""

    def __init__(self, path: Path, timeout: float = 120.0) -> None:
        super().__init__("localhost", timeout=timeout)
        self._path = str(path)

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)

    def ask(self, method: str, path: str, body: object = None) -> Any:
        """The decoded answer; ``None`` when it is empty. Raises ``Refused``."""
        data = None if body is None else json.dumps(body).encode()
        self.request(method, path, data, {"Content-Type": "application/json"})
        answer = self.getresponse()
        text = answer.read()
        if answer.status >= 400:
            raise Refused(answer.status, text.decode(errors="replace"))
        try:
            return json.loads(text) if text else None
        except ValueError:
            return text
