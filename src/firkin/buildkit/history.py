"""The history of builds: those that go on and those of the last days, for ``buildx history``."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import re
import time
from collections.abc import AsyncIterator, Mapping, Sequence

import grpclib

from firkin import errdefs
from firkin.buildkit import builds, records, rpc
from firkin.buildkit.pb import control_pb2
from firkin.linux import tasks

log = logging.getLogger(__name__)

ENTRIES = 50
"""Builds that are kept in any case, as BuildKit keeps them."""
AGE = 48 * 3600.0
"""Seconds for which more are kept."""
MOST = 500
"""Builds that are kept at most."""
_BACKLOG = 1000
_CREDENTIALS = re.compile(r"(?<=://)(?:[^/@\s:]*:[^/@\s]*@)|(?<=https://)[^/@\s]+@")

_Event = control_pb2.BuildHistoryEvent


class History:
    """All builds, as records. A build is ``begin`` and ``end``, whatever becomes of it."""

    def __init__(self, store: records.Records) -> None:
        self._store = store
        self._active: dict[str, control_pb2.BuildHistoryRecord] = {}
        self._kept: dict[str, control_pb2.BuildHistoryRecord] = {}
        self._loading = asyncio.Lock()
        self._loaded = False
        self._listeners: set[asyncio.Queue[_Event | None]] = set()
        self._tasks = tasks.Tasks("build history")

    async def _load(self) -> None:
        async with self._loading:
            if not self._loaded:
                found = await asyncio.to_thread(lambda: list(self._store.load()))
                self._kept |= {record.ref: record for record in found}
                self._loaded = True

    def begin(self, request: control_pb2.SolveRequest) -> None:
        """A build has begun."""
        record = control_pb2.BuildHistoryRecord(
            ref=request.ref,
            frontend=request.frontend,
            frontend_attrs=_concealed(request.frontend_attrs),
            exporters=request.exporters,
            generation=1,
        )
        record.created_at.GetCurrentTime()
        self._active[request.ref] = record
        self._tell(control_pb2.STARTED, record)

    async def end(
        self, build: builds.Build, response: control_pb2.SolveResponse, error: BaseException | None
    ) -> None:
        """A build is over; returns when that is kept, also when the caller is cancelled."""
        await asyncio.shield(self._tasks.spawn(self._end(build, response, error), "end"))

    async def _end(
        self, build: builds.Build, response: control_pb2.SolveResponse, error: BaseException | None
    ) -> None:
        record = self._active.pop(build.ref)
        if not record.frontend:
            record.frontend = build.frontend
            record.frontend_attrs.update(_concealed(build.attrs))
        record.exporter_response.update(response.exporter_response)
        record.completed_at.GetCurrentTime()
        if error is not None:
            record.error.code, record.error.message = _status(error)
        said = build.trace.said
        _count(record, said)
        await self._load()
        try:
            await asyncio.to_thread(self._store.keep, record, said)
            self._kept[record.ref] = record
            await self._collect()
        except OSError as failure:
            log.warning("the build %s is not in the history: %s", record.ref, failure)
        self._tell(control_pb2.COMPLETE, record)

    async def _collect(self) -> None:
        """Remove the oldest builds beyond what is kept."""
        newest = [record for record in self._newest() if not record.pinned]
        limit = time.time() - AGE
        for number, record in enumerate(newest):
            if number >= MOST or (number >= ENTRIES and record.completed_at.seconds < limit):
                with contextlib.suppress(errdefs.NotFound):  # a client was faster
                    await self.remove(record.ref)

    def _newest(self) -> list[control_pb2.BuildHistoryRecord]:
        return sorted(self._kept.values(), key=lambda r: r.created_at.ToNanoseconds(), reverse=True)

    async def remove(self, ref: str) -> None:
        """Forget a build. Raises ``NotFound``, ``Conflict`` for one that goes on."""
        await self._load()
        if ref in self._active:
            raise errdefs.Conflict(f"build {ref[:80]!r} is not over")
        record = self._kept.pop(ref, None)
        if record is None:
            raise _unknown(ref)
        await asyncio.to_thread(self._store.remove, ref)
        self._tell(control_pb2.DELETED, record)

    async def pin(self, ref: str, pinned: bool) -> None:
        """Keep a build whatever its age, or no longer so. Raises ``NotFound``."""
        await self._load()
        record = self._kept.get(ref)
        if record is None:
            raise _unknown(ref)
        record.pinned = pinned
        record.generation += 1
        await asyncio.to_thread(self._store.change, record)

    async def said(self, ref: str) -> Sequence[control_pb2.StatusResponse] | None:
        """What was told of a build that is over; None when there is no such one."""
        await self._load()
        if ref in self._active or ref not in self._kept:
            return None
        return await asyncio.to_thread(self._store.said, ref)

    async def listen(self, request: control_pb2.BuildHistoryRequest) -> AsyncIterator[_Event]:
        """The builds that there are; unless the client wants to leave early, what happens next."""
        await self._load()
        news: asyncio.Queue[_Event | None] = asyncio.Queue(_BACKLOG + 1)
        if not request.early_exit:
            self._listeners.add(news)
        try:
            found = [_Event(type=control_pb2.STARTED, record=r) for r in self._active.values()]
            if not request.active_only:
                found += [_Event(type=control_pb2.COMPLETE, record=r) for r in self._newest()]
            if request.ref:
                found = [event for event in found if event.record.ref == request.ref]
            for event in found[: request.limit or None]:
                yield event
            while not request.early_exit and (later := await news.get()) is not None:
                if request.ref in ("", later.record.ref):
                    yield later
        finally:
            self._listeners.discard(news)

    def _tell(
        self, kind: control_pb2.BuildHistoryEventType, record: control_pb2.BuildHistoryRecord
    ) -> None:
        for news in list(self._listeners):
            if news.qsize() < _BACKLOG:
                news.put_nowait(_Event(type=kind, record=record))
            else:
                self._listeners.discard(news)  # a reader that does not read is sent away
                news.put_nowait(None)


def _concealed(attrs: Mapping[str, str]) -> dict[str, str]:
    """Options without the credentials that addresses in them may have: others read them later."""
    return {name: _CREDENTIALS.sub("xxxxx@", value) for name, value in attrs.items()}


def _unknown(ref: str) -> errdefs.NotFound:
    return errdefs.NotFound(f"no build {ref[:80]!r} in the history")


def _status(error: BaseException) -> tuple[int, str]:
    """The code and the text of google.rpc.Status."""
    if isinstance(error, asyncio.CancelledError):
        return grpclib.Status.CANCELLED.value, "context canceled"
    return rpc.code(error).value, str(error) or type(error).__name__


def _count(
    record: control_pb2.BuildHistoryRecord, said: Sequence[control_pb2.StatusResponse]
) -> None:
    """Steps and warnings."""
    steps = {vertex.digest: vertex for message in said for vertex in message.vertexes}
    record.num_total_steps = len(steps)
    record.num_cached_steps = sum(step.cached for step in steps.values())
    record.num_completed_steps = sum(
        step.HasField("completed") and not step.error for step in steps.values()
    )
    record.num_warnings = sum(len(message.warnings) for message in said)
