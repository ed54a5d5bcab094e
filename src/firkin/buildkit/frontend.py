"""What stands behind the services: a builder that solves a Dockerfile and exports the result."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from firkin.buildkit import remotes
from firkin.buildkit import session as sessions
from firkin.buildkit import trace as traces


@dataclasses.dataclass(frozen=True, slots=True)
class Request:
    """A request to solve, as the frontend ``dockerfile.v0`` knows it.

    ``options`` are the frontend's: "filename", "target", "build-arg:NAME", "platform",
    "no-cache", "label:NAME", "context", "context:NAME", "force-network-mode", ... ``inputs`` are
    results of other builds, or files from elsewhere, by the names that contexts "input:NAME" refer
    to.
    """

    session: sessions.Session
    options: Mapping[str, str]
    cache_from: Sequence[tuple[str, Mapping[str, str]]] = ()
    cache_to: Sequence[tuple[str, Mapping[str, str]]] = ()
    entitlements: frozenset[str] = frozenset()
    inputs: Mapping[str, Any] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True, slots=True)
class Export:
    """Where the result goes: "image" or "moby" (the image store), "docker", "oci", "tar", "local".

    ``number`` is the exporter's place in the request, by which the client tells its own ends apart.
    """

    type: str
    attrs: Mapping[str, str]
    number: int


class Frontend(Protocol):
    """Builds. Both calls may be cancelled; then nothing is left of them."""

    async def solve(self, request: Request, trace: traces.Trace) -> Any:
        """Build what the request asks for; the value is for :meth:`export`.

        A failing step, a bad Dockerfile, and so on raise the builder's errors.
        """

    async def fetch(self, remote: remotes.Remote, request: Request, trace: traces.Trace) -> Any:
        """Get files from elsewhere for the client to look into; a result as that of ``solve``."""

    def root(self, result: Any) -> str:
        """The directory with what was fetched. Raises ``NotImplemented`` for other results."""

    def metadata(self, result: Any) -> Mapping[str, bytes]:
        """What a client of the bridge may want to know of a result ("containerimage.config")."""

    async def close(self, result: Any) -> None:
        """Nobody needs a result of ``solve`` any more."""

    async def export(
        self,
        result: Any,
        request: Request,
        exports: Sequence[Export],
        trace: traces.Trace,
    ) -> Mapping[str, str]:
        """Bring the result where it is wanted; returns what the client is told about that."""
