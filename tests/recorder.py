"""A socket in front of an engine's that writes down what is asked."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

_REQUEST = re.compile(rb"^(GET|HEAD|POST|PUT|DELETE) (/\S*) HTTP/1\.1\r$", re.MULTILINE)


class Recorder:
    """Forwards bytes in both directions, each connection in threads of its own."""

    def __init__(self, path: Path, behind: Path) -> None:
        self.host = f"unix://{path}"
        self.seen: list[tuple[str, str]] = []
        """Method and target of every request, in the order of their coming."""
        self._behind = str(behind)
        self._door = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._door.bind(str(path))
        self._door.listen(16)
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        """Take no more connections."""
        self._door.shutdown(socket.SHUT_RDWR)
        self._door.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                client, _ = self._door.accept()
                engine = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
                engine.connect(self._behind)
                for pair in ((client, engine), (engine, client)):
                    arguments = (*pair, pair[0] is client)
                    threading.Thread(target=self._forward, args=arguments, daemon=True).start()

    def _forward(self, source: socket.socket, target: socket.socket, asks: bool) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if asks:
                    for method, path in _REQUEST.findall(data):
                        self.seen.append((method.decode(), path.decode()))
                target.sendall(data)
        with contextlib.suppress(OSError):
            target.shutdown(socket.SHUT_WR)


@contextlib.contextmanager
def recording(path: Path, behind: Path) -> Iterator[Recorder]:
    """A recorder that is gone at the end."""
    made = Recorder(path, behind)
    try:
        yield made
    finally:
        made.close()
