"""What a build tells its client: Docker's JSON messages, or the client's own richer ones."""

from __future__ import annotations

import asyncio
import time
from typing import Any

from firkin.builder import graph, progress

LOG_LIMIT = 16 << 20
"""Bytes of one step's output that are passed on."""
_RED, _PLAIN = "\x1b[91m", "\x1b[0m"  # the classic builder marks standard error so, terminal or not


class Stream:
    """Messages waiting to be sent. ``get`` gives None at the end."""

    def __init__(self) -> None:
        self._queue: asyncio.Queue[dict[str, Any] | None] = asyncio.Queue()

    def put(self, message: dict[str, Any]) -> None:
        self._queue.put_nowait(message)

    def end(self) -> None:
        self._queue.put_nowait(None)

    async def get(self) -> dict[str, Any] | None:
        return await self._queue.get()


class _Clip:
    """Lets the beginning of each step's output through."""

    def __init__(self) -> None:
        self._sizes: dict[graph.Vertex, int] = {}

    def __call__(self, vertex: graph.Vertex, data: bytes) -> bytes:
        before = self._sizes.get(vertex, 0)
        self._sizes[vertex] = before + len(data)
        if before + len(data) <= LOG_LIMIT:
            return data
        if before > LOG_LIMIT:
            return b""
        return data[: LOG_LIMIT - before] + b"\n[output clipped, log limit 16MiB reached]\n"


class Classic:
    """The messages of the classic builder: steps one after the other, as in the Dockerfile.

    Steps run at the same time all the same; the output of those that are ahead waits its turn.
    """

    def __init__(self, stream: Stream, *, quiet: bool = False) -> None:
        self._stream = stream
        self._quiet = quiet
        self._outline: list[progress.Outlined] = []
        self._at = 0
        self._said = 0
        self._logs: dict[graph.Vertex, list[str]] = {}
        self._done: dict[graph.Vertex, bool] = {}
        self._clip = _Clip()

    def _say(self, text: str) -> None:
        if not self._quiet:
            self._stream.put({"stream": text})

    def planned(self, vertices: list[graph.Vertex], outline: list[progress.Outlined]) -> None:
        """See ``Watcher``."""
        self._outline = outline
        self._advance()

    def started(self, vertex: graph.Vertex) -> None:
        """See ``Watcher``."""

    def log(self, vertex: graph.Vertex, stream: int, data: bytes) -> None:
        """See ``Watcher``."""
        data = self._clip(vertex, data)
        if not data:
            return
        text = data.decode("utf-8", "replace")
        text = f"{_RED}{text}{_PLAIN}" if stream == 2 else text
        if self._at < len(self._outline) and self._outline[self._at].vertex is vertex:
            self._say(text)
        else:
            self._logs.setdefault(vertex, []).append(text)

    def done(
        self, vertex: graph.Vertex, *, cached: bool = False, error: str = "", why: str = ""
    ) -> None:
        """See ``Watcher``."""
        if vertex not in self._done and not error:
            self._done[vertex] = cached
            self._advance()
        elif error and error != "cancelled":
            self._failing(vertex)

    def _failing(self, vertex: graph.Vertex) -> None:
        """Say what the step that failed has said, also when it was ahead of its turn."""
        for number, line in enumerate(self._outline, 1):
            if line.vertex is vertex and number > self._said:
                self._say(f"Step {number}/{len(self._outline)} : {line.text}\n")
        for text in self._logs.pop(vertex, []):
            self._say(text)

    def _advance(self) -> None:
        while self._at < len(self._outline):
            line = self._outline[self._at]
            if self._said <= self._at:
                self._said = self._at + 1
                self._say(f"Step {self._said}/{len(self._outline)} : {line.text}\n")
            if line.vertex is not None:
                for text in self._logs.pop(line.vertex, []):
                    self._say(text)
                if line.vertex not in self._done:
                    return
                if self._done[line.vertex]:
                    self._say(" ---> Using cache\n")
            self._at += 1

    def warned(self, rule: str, message: str, line: int) -> None:
        """See ``Watcher``."""

    def message(self, text: str) -> None:
        """See ``Watcher``."""
        self._say(text + "\n")


class Rich:
    """Messages that say all: vertices with times, logs, reasons. Times are in seconds.

    ``{"vertices": [{id, name, inputs}]}``, then ``{"start": id, "time"}``, ``{"log": id, "stream",
    "text"}``, ``{"end": id, "time", "cached", "error", "why"}``, ``{"warning": ...}``.
    """

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._ids: dict[graph.Vertex, int] = {}
        self._clip = _Clip()
        self._ended: set[int] = set()

    def _id(self, vertex: graph.Vertex) -> int:
        known = self._ids.get(vertex)
        if known is None:
            self.planned([vertex], [])
            known = self._ids[vertex]
        return known

    def planned(self, vertices: list[graph.Vertex], outline: list[progress.Outlined]) -> None:
        """See ``Watcher``."""
        shown = []
        for vertex in vertices:
            if vertex in self._ids:
                continue
            self._ids[vertex] = len(self._ids)
            inputs = [self._ids[one] for one in vertex.inputs if one in self._ids]
            shown.append({"id": self._ids[vertex], "name": vertex.name, "inputs": inputs})
        self._stream.put({"vertices": shown})

    def started(self, vertex: graph.Vertex) -> None:
        """See ``Watcher``."""
        self._stream.put({"start": self._id(vertex), "time": time.time()})

    def log(self, vertex: graph.Vertex, stream: int, data: bytes) -> None:
        """See ``Watcher``."""
        data = self._clip(vertex, data)
        if data:
            text = data.decode("utf-8", "replace")
            self._stream.put({"log": self._id(vertex), "stream": stream, "text": text})

    def done(
        self, vertex: graph.Vertex, *, cached: bool = False, error: str = "", why: str = ""
    ) -> None:
        """See ``Watcher``."""
        identity = self._id(vertex)
        if identity in self._ended:
            return
        self._ended.add(identity)
        self._stream.put(
            {"end": identity, "time": time.time(), "cached": cached, "error": error, "why": why}
        )

    def warned(self, rule: str, message: str, line: int) -> None:
        """See ``Watcher``."""
        self._stream.put({"warning": {"rule": rule, "message": message, "line": line}})

    def message(self, text: str) -> None:
        """See ``Watcher``."""
        self._stream.put({"message": text})
