"""What a build tells about itself while it runs."""

from __future__ import annotations

from typing import NamedTuple, Protocol

from firkin.builder import graph


class Outlined(NamedTuple):
    """An instruction of a stage that is needed, and its step, if it has one."""

    text: str
    vertex: graph.Vertex | None


class Watcher(Protocol):
    """Is told everything, on the event loop. Must not block or raise."""

    def planned(self, vertices: list[graph.Vertex], outline: list[Outlined]) -> None:
        """These will be needed, inputs before their users; ``outline`` has all instructions."""

    def started(self, vertex: graph.Vertex) -> None:
        """Work on a vertex begins."""

    def log(self, vertex: graph.Vertex, stream: int, data: bytes) -> None:
        """A step has written to its standard output (1) or error (2)."""

    def done(
        self, vertex: graph.Vertex, *, cached: bool = False, error: str = "", why: str = ""
    ) -> None:
        """A vertex has its result, or none because of ``error``; ``why`` it was (not) cached."""

    def warned(self, rule: str, message: str, line: int) -> None:
        """A build check has something to say."""

    def message(self, text: str) -> None:
        """A line about the build as a whole."""


class Silent:
    """A watcher that nobody looks at."""

    def planned(self, vertices: list[graph.Vertex], outline: list[Outlined]) -> None:
        """See ``Watcher``."""

    def started(self, vertex: graph.Vertex) -> None:
        """See ``Watcher``."""

    def log(self, vertex: graph.Vertex, stream: int, data: bytes) -> None:
        """See ``Watcher``."""

    def done(
        self, vertex: graph.Vertex, *, cached: bool = False, error: str = "", why: str = ""
    ) -> None:
        """See ``Watcher``."""

    def warned(self, rule: str, message: str, line: int) -> None:
        """See ``Watcher``."""

    def message(self, text: str) -> None:
        """See ``Watcher``."""
