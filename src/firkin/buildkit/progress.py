"""What our builder tells, as BuildKit's vertices, logs and warnings."""

from __future__ import annotations

import hashlib
import secrets

from firkin.builder import graph, progress
from firkin.buildkit import trace
from firkin.buildkit.pb import common_pb2, control_pb2

LOG_LIMIT = 2 << 20
"""Bytes of one step's output that are passed on; BuildKit's own limit."""


class Progress:
    """A :class:`firkin.builder.progress.Watcher` for a trace.

    Every vertex has a digest, by which the client tells them apart; it is made up here, since a
    vertex of this build is no other build's.
    """

    def __init__(self, traced: trace.Trace, filename: str) -> None:
        self._trace = traced
        self._filename = filename
        self._salt = secrets.token_hex(8)
        self._vertices: dict[graph.Vertex, control_pb2.Vertex] = {}
        self._logged: dict[graph.Vertex, int] = {}
        self._first = ""

    def _vertex(self, vertex: graph.Vertex) -> control_pb2.Vertex:
        known = self._vertices.get(vertex)
        if known is None:
            known = control_pb2.Vertex(
                digest=self._digest(),
                name=vertex.name,
                inputs=[
                    self._vertices[one].digest for one in vertex.inputs if one in self._vertices
                ],
            )
            self._vertices[vertex] = known
            self._first = self._first or known.digest
        return known

    def _digest(self) -> str:
        text = f"{self._salt}-{len(self._vertices)}"
        return "sha256:" + hashlib.sha256(text.encode()).hexdigest()

    def _say(self, vertex: control_pb2.Vertex) -> None:
        self._trace.say(control_pb2.StatusResponse(vertexes=[vertex]))

    def planned(self, vertices: list[graph.Vertex], outline: list[progress.Outlined]) -> None:
        """See ``Watcher``."""
        shown = [self._vertex(one) for one in vertices if not isinstance(one.op, graph.Local)]
        self._trace.say(control_pb2.StatusResponse(vertexes=shown))

    def started(self, vertex: graph.Vertex) -> None:
        """See ``Watcher``. Receiving files of the client is a task of its own."""
        if isinstance(vertex.op, graph.Local):
            return
        shown = self._vertex(vertex)
        shown.started.GetCurrentTime()
        self._say(shown)

    def log(self, vertex: graph.Vertex, stream: int, data: bytes) -> None:
        """See ``Watcher``."""
        before = self._logged.get(vertex, 0)
        self._logged[vertex] = before + len(data)
        if before > LOG_LIMIT:
            return
        if before + len(data) > LOG_LIMIT:
            data = data[: LOG_LIMIT - before] + b"\n[output clipped, log limit 2MiB reached]\n"
        line = control_pb2.VertexLog(vertex=self._vertex(vertex).digest, stream=stream, msg=data)
        line.timestamp.GetCurrentTime()
        self._trace.say(control_pb2.StatusResponse(logs=[line]))

    def done(
        self, vertex: graph.Vertex, *, cached: bool = False, error: str = "", why: str = ""
    ) -> None:
        """See ``Watcher``."""
        shown = self._vertex(vertex)
        if shown.HasField("completed") or isinstance(vertex.op, graph.Local):
            return
        shown.cached = cached
        shown.error = error
        if not shown.HasField("started"):
            shown.started.GetCurrentTime()
        shown.completed.GetCurrentTime()
        self._say(shown)

    def warned(self, rule: str, message: str, line: int) -> None:
        """See ``Watcher``."""
        place = common_pb2.Position(line=line)
        warning = control_pb2.VertexWarning(
            vertex=self._first,
            level=1,
            short=f"{rule}: {message} (line {line})".encode(),
            url=f"https://docs.docker.com/go/dockerfile/rule/{_dashed(rule)}/",
            info=common_pb2.SourceInfo(filename=self._filename),
            ranges=[common_pb2.Range(start=place, end=place)],
        )
        self._trace.say(control_pb2.StatusResponse(warnings=[warning]))

    def message(self, text: str) -> None:
        """See ``Watcher``."""
        with self.task(text):
            pass

    def task(self, name: str) -> Task:
        """A piece of work that is no vertex of the graph, such as receiving a directory."""
        shown = control_pb2.Vertex(name=name, digest=self._digest())
        self._vertices[graph.Vertex(graph.Local(name=name))] = shown
        return Task(self, shown)

    def tell(self, vertex: control_pb2.Vertex) -> None:
        """A task's vertex has changed."""
        self._say(vertex)

    def moved(self, vertex: control_pb2.Vertex, name: str, current: int) -> None:
        """How many bytes of a task's work are done."""
        status = control_pb2.VertexStatus(
            id=name, vertex=vertex.digest, name="transferring", current=current
        )
        status.timestamp.GetCurrentTime()
        status.started.CopyFrom(vertex.started)
        if vertex.HasField("completed"):
            status.completed.CopyFrom(vertex.completed)
        self._trace.say(control_pb2.StatusResponse(statuses=[status]))


class Task:
    """A vertex for the time of a ``with`` block; its failure is the block's."""

    def __init__(self, owner: Progress, vertex: control_pb2.Vertex) -> None:
        self._owner = owner
        self._vertex = vertex
        self._bytes = 0

    def __enter__(self) -> Task:
        self._vertex.started.GetCurrentTime()
        self._owner.tell(self._vertex)
        return self

    def moved(self, count: int) -> None:
        """``count`` bytes have come so far."""
        if count != self._bytes:
            self._bytes = count
            self._owner.moved(self._vertex, "transfer", count)

    def __exit__(self, kind: object, error: BaseException | None, traceback: object) -> None:
        self._vertex.completed.GetCurrentTime()
        self._vertex.error = "" if error is None else str(error) or type(error).__name__
        if self._bytes:
            self._owner.moved(self._vertex, "transfer", self._bytes)
        self._owner.tell(self._vertex)


def _dashed(rule: str) -> str:
    """``JSONArgsRecommended`` as it stands in addresses: ``json-args-recommended``."""
    import re

    return re.sub(r"(?<=[a-z])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "-", rule).lower()
