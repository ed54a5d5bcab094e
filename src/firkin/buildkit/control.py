"""``moby.buildkit.v1.Control``: solve, status, workers, the build cache."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import Protocol

import multidict
from grpclib import const, server

import firkin
from firkin import errdefs
from firkin.buildkit import builds, frontend, history, rpc, transport
from firkin.buildkit import session as sessions
from firkin.buildkit.pb import common_pb2, control_pb2

_SERVICE = "/moby.buildkit.v1.Control/"
DOCKERFILE = "dockerfile.v0"

VERSION = "v0.25.0"
"""The version of BuildKit whose protocol this is; clients choose what they ask for by it."""


class Cache(Protocol):
    """The build cache, as this service shows and prunes it."""

    async def records(self, filters: Sequence[str]) -> Sequence[control_pb2.UsageRecord]:
        """What is in it, of that what fits the filters. Raises ``InvalidParameter``."""

    async def prune(self, request: control_pb2.PruneRequest) -> Sequence[control_pb2.UsageRecord]:
        """Remove what fits the request; returns what was removed."""


class Worker(Protocol):
    """Where builds run."""

    def labels(self) -> Mapping[str, str]:
        """Labels by which clients know what it can do."""

    def platforms(self) -> Sequence[str]:
        """Platforms that it can build for, the own one first ("linux/amd64")."""


class Control:
    """The service, for all connections."""

    def __init__(
        self,
        solver: frontend.Frontend,
        known: builds.Builds,
        clients: sessions.Sessions,
        cache: Cache,
        worker: Worker,
        past: history.History,
    ) -> None:
        self._frontend = solver
        self._builds = known
        self._sessions = clients
        self._cache = cache
        self._worker = worker
        self._history = past

    def __mapping__(self) -> dict[str, const.Handler]:
        pb = control_pb2
        unary = {
            "Info": rpc.unary(self.info, pb.InfoRequest, pb.InfoResponse),
            "ListWorkers": rpc.unary(
                self.list_workers, pb.ListWorkersRequest, pb.ListWorkersResponse
            ),
            "DiskUsage": rpc.unary(self.disk_usage, pb.DiskUsageRequest, pb.DiskUsageResponse),
            "Prune": rpc.streaming(self.prune, pb.PruneRequest, pb.UsageRecord),
            "Solve": rpc.unary(self.solve, pb.SolveRequest, pb.SolveResponse),
            "Status": rpc.streaming(self.status, pb.StatusRequest, pb.StatusResponse),
            "ListenBuildHistory": rpc.streaming(
                self.history, pb.BuildHistoryRequest, pb.BuildHistoryEvent, _clock
            ),
            "UpdateBuildHistory": rpc.unary(
                self.update_history, pb.UpdateBuildHistoryRequest, pb.UpdateBuildHistoryResponse
            ),
        }
        session = const.Handler(
            self.session, const.Cardinality.STREAM_STREAM, common_pb2.Bytes, common_pb2.Bytes
        )
        return {_SERVICE + name: handler for name, handler in {**unary, "Session": session}.items()}

    async def info(
        self, request: control_pb2.InfoRequest, headers: rpc.Headers
    ) -> control_pb2.InfoResponse:
        """What speaks."""
        return control_pb2.InfoResponse(version=_version())

    def worker(self) -> common_pb2.WorkerRecord:
        """The one worker of this engine."""
        platforms = []
        for text in self._worker.platforms():
            os, architecture, variant = [*text.split("/"), "", ""][:3]
            platforms.append(common_pb2.Platform(os=os, architecture=architecture, variant=variant))
        return common_pb2.WorkerRecord(
            id="firkin", labels=self._worker.labels(), platforms=platforms, version=_version()
        )

    async def list_workers(
        self, request: control_pb2.ListWorkersRequest, headers: rpc.Headers
    ) -> control_pb2.ListWorkersResponse:
        """The workers."""
        return control_pb2.ListWorkersResponse(record=[self.worker()])

    async def disk_usage(
        self, request: control_pb2.DiskUsageRequest, headers: rpc.Headers
    ) -> control_pb2.DiskUsageResponse:
        """The build cache."""
        return control_pb2.DiskUsageResponse(record=await self._cache.records(request.filter))

    async def prune(
        self, request: control_pb2.PruneRequest, headers: rpc.Headers
    ) -> AsyncIterator[control_pb2.UsageRecord]:
        """Remove what fits; each removed record."""
        for record in await self._cache.prune(request):
            yield record

    async def history(
        self, request: control_pb2.BuildHistoryRequest, headers: rpc.Headers
    ) -> AsyncIterator[control_pb2.BuildHistoryEvent]:
        """Builds that go on or are over, and what becomes of them."""
        async for event in self._history.listen(request):
            yield event

    async def update_history(
        self, request: control_pb2.UpdateBuildHistoryRequest, headers: rpc.Headers
    ) -> control_pb2.UpdateBuildHistoryResponse:
        """Remove a build's record, or pin it. There is nothing to be finalized in one."""
        if request.delete:
            await self._history.remove(request.ref)
        elif not request.finalize:
            await self._history.pin(request.ref, request.pinned)
        return control_pb2.UpdateBuildHistoryResponse()

    async def session(self, stream: server.Stream[common_pb2.Bytes, common_pb2.Bytes]) -> None:
        """A session inside of this connection: what else comes by ``POST /session``.

        Several builds of one client share such a one for the directories that they share.
        """
        headers = multidict.CIMultiDict(
            (key, str(value)) for key, value in (stream.metadata or {}).items()
        )
        try:
            async with self._sessions.announced(headers) as opened:
                await _tunnel(stream, opened.channel.connection)
        except errdefs.FirkinError as error:
            raise rpc.failure(error) from error

    async def status(
        self, request: control_pb2.StatusRequest, headers: rpc.Headers
    ) -> AsyncIterator[control_pb2.StatusResponse]:
        """The progress of a build, from its beginning, which may be yet to come or long ago.

        Raises ``NotFound``.
        """
        said = await self._history.said(request.ref)
        for message in said or ():
            yield message
        if said is not None:
            return
        traced = self._builds.trace(request.ref)
        if traced is None:
            traced = (await self._builds.get(request.ref)).trace
        async for message in traced.read():
            yield message

    async def solve(
        self, request: control_pb2.SolveRequest, headers: rpc.Headers
    ) -> control_pb2.SolveResponse:
        """Build and export; without a frontend, wait for the client's own to return a result."""
        if request.HasField("definition") and request.definition.ops:
            raise errdefs.NotImplemented(
                "this engine builds Dockerfiles: it does not run low-level build definitions (LLB)"
            )
        if request.frontend not in ("", DOCKERFILE):
            raise errdefs.NotImplemented(
                f"unknown frontend {request.frontend[:80]!r}: there is {DOCKERFILE}"
            )
        if request.source_policy:
            raise errdefs.NotImplemented(
                "this engine does not enforce source policies, so it does not build with one"
            )
        asked = frontend.Request(
            session=await self._sessions.get(request.session),
            options=dict(request.frontend_attrs),
            cache_from=[(entry.type, dict(entry.attrs)) for entry in request.cache.imports],
            cache_to=[(entry.type, dict(entry.attrs)) for entry in request.cache.exports],
            entitlements=frozenset(request.entitlements),
        )
        build = await self._builds.begin(request.ref, asked)
        try:
            async with self._recorded(request, build) as response:
                if request.frontend:
                    result = await self._frontend.solve(asked, build.trace)
                    build.keep(result)
                else:
                    result = await build.returned
                if result is not None:
                    exports = _exports(request)
                    said = await self._frontend.export(result, asked, exports, build.trace)
                    response.exporter_response.update(said)
            return response
        finally:
            self._builds.end(request.ref)
            for one in build.results.values():
                await self._frontend.close(one)

    @contextlib.asynccontextmanager
    async def _recorded(
        self, request: control_pb2.SolveRequest, build: builds.Build
    ) -> AsyncIterator[control_pb2.SolveResponse]:
        """Keep a build, with its answer or its failure, in the history."""
        response = control_pb2.SolveResponse()
        if request.internal:
            yield response
            return
        self._history.begin(request)
        failed: BaseException | None = None
        try:
            yield response
        except BaseException as error:
            failed = error
            raise
        finally:
            await self._history.end(build, response, failed)


def _clock() -> rpc.Headers:
    """The time here, by which clients tell how long a build has been going on."""
    now = datetime.datetime.now(datetime.UTC)
    return {"buildkit-current-timestamp": now.isoformat().replace("+00:00", "Z")}


def _exports(request: control_pb2.SolveRequest) -> list[frontend.Export]:
    exporters = [(one.type, dict(one.attrs)) for one in request.exporters]
    if not exporters and request.exporter_deprecated:
        exporters = [(request.exporter_deprecated, dict(request.exporter_attrs_deprecated))]
    return [frontend.Export(kind, attrs, number) for number, (kind, attrs) in enumerate(exporters)]


def _version() -> common_pb2.Version:
    return common_pb2.Version(package="firkin", version=VERSION, revision=firkin.__version__)


async def _tunnel(
    stream: server.Stream[common_pb2.Bytes, common_pb2.Bytes], connection: transport.Ended
) -> None:
    """Carry a connection's bytes in the messages of a stream, until either side ends."""
    tunnel = transport.Tunnel(connection)
    connection.connection_made(tunnel)

    async def send() -> None:
        while (data := await tunnel.outgoing.get()) is not None:
            await stream.send_message(common_pb2.Bytes(data=data))
            tunnel.sent(len(data))

    async def receive() -> None:
        while (message := await stream.recv_message()) is not None:
            connection.data_received(message.data)
        tunnel.close()

    try:
        async with asyncio.TaskGroup() as group:
            receiving = group.create_task(receive())
            await send()
            receiving.cancel()
    finally:
        tunnel.close()
        connection.connection_lost(None)
