"""Builds that go on, by the ref that their client gave them.

Three streams of a client meet here: its Solve, which waits for the result; its calls of the bridge,
which make that result; and its Status, which may ask before Solve has arrived.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Mapping
from typing import Any

from firkin import errdefs
from firkin.buildkit import frontend
from firkin.buildkit import trace as traces
from firkin.buildkit.pb import gateway_pb2

_PATIENCE = 10.0
"""Seconds to wait for the Solve of a ref that another call has named, and for the Status of a build
that is over already."""


class Build:
    """One Solve of a client: its request, its progress, the results that its bridge has made.

    ``frontend`` and ``attrs`` are those of what its bridge was asked for first.
    """

    def __init__(self, ref: str, request: frontend.Request, traced: traces.Trace) -> None:
        self.ref = ref
        self.frontend = ""
        self.attrs: Mapping[str, str] = {}
        self.request = request
        self.trace = traced
        self.results: dict[str, Any] = {}
        self.returned: asyncio.Future[Any] = asyncio.get_running_loop().create_future()

    def keep(self, result: Any) -> str:
        """Keep a result for the bridge; returns its id."""
        identity = secrets.token_hex(16)
        self.results[identity] = result
        return identity

    def result(self, identity: str) -> Any:
        """A result by its id. Raises ``NotFound``."""
        try:
            return self.results[identity]
        except KeyError:
            raise errdefs.NotFound(f"no such result of this build: {identity[:80]!r}") from None

    def give_back(self, result: gateway_pb2.Result) -> None:
        """The client's frontend has returned ``result``: what Solve waits for."""
        kind = result.WhichOneof("result")
        identity = ""
        if kind == "ref":
            identity = result.ref.id
        elif kind == "ref_deprecated":
            identity = result.ref_deprecated
        elif kind in ("refs", "refs_deprecated"):
            refs: Mapping[str, Any] = getattr(result, kind).refs
            identity = next((getattr(one, "id", one) for one in refs.values()), "")
        if not self.returned.done():
            self.returned.set_result(self.result(identity) if identity else None)

    def give_up(self, message: str) -> None:
        """The client's frontend failed."""
        if not self.returned.done():
            self.returned.set_exception(errdefs.System(message))


class Builds:
    """The builds of an engine."""

    def __init__(self) -> None:
        self._builds: dict[str, Build] = {}
        self._ended: dict[str, traces.Trace] = {}
        self._changed = asyncio.Condition()

    def trace(self, ref: str) -> traces.Trace | None:
        """The progress of the build ``ref``, if it goes on or has ended just now."""
        build = self._builds.get(ref)
        return build.trace if build is not None else self._ended.get(ref)

    async def begin(self, ref: str, request: frontend.Request) -> Build:
        """A new build. Raises ``Conflict`` when there is one of that ref."""
        if not ref or ref in self._builds:
            raise errdefs.Conflict(f"build {ref[:80]!r} exists already, or has no ref")
        build = self._builds[ref] = Build(ref, request, traces.Trace())
        async with self._changed:
            self._changed.notify_all()
        return build

    def result(self, identity: str) -> Any:
        """A result of any build that goes on. Raises ``NotFound``."""
        for build in self._builds.values():
            if identity in build.results:
                return build.results[identity]
        raise errdefs.NotFound("the build whose result was to be used is over")

    def end(self, ref: str) -> None:
        """The build is over. Status streams that read it, or are about to, go on to their end."""
        build = self._builds.pop(ref)
        build.trace.close()
        self._ended[ref] = build.trace
        asyncio.get_running_loop().call_later(_PATIENCE, self._forget, ref, build.trace)
        if build.returned.done() and not build.returned.cancelled():
            build.returned.exception()  # nobody needs it any more

    def _forget(self, ref: str, traced: traces.Trace) -> None:
        if self._ended.get(ref) is traced:
            del self._ended[ref]

    async def get(self, ref: str) -> Build:
        """The build ``ref``, which may be about to begin. Raises ``NotFound`` after a while."""
        async with self._changed:
            try:
                await asyncio.wait_for(
                    self._changed.wait_for(lambda: ref in self._builds), _PATIENCE
                )
            except TimeoutError:
                raise errdefs.NotFound(f"no such build: {ref[:80]!r}") from None
        return self._builds[ref]
