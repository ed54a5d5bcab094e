"""``moby.buildkit.v1.frontend.LLBBridge``: for a client that is the frontend of its own build.

buildx is one: it asks here for the result of a Dockerfile and returns it. Each call names its build
in the metadata. Running other frontends, and containers by hand, is not offered: the capabilities
that :meth:`Bridge.ping` answers leave them out.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

from grpclib import const

from firkin import errdefs
from firkin.buildkit import builds, control, definitions, frontend, looking, remotes, rpc
from firkin.buildkit.pb import common_pb2, control_pb2, gateway_pb2

_SERVICE = "/moby.buildkit.v1.frontend.LLBBridge/"
_REF = "buildkit-controlapi-buildid"

CAPABILITIES = (
    "solve.base",
    "return",
    "returnmap",
    "proto.refarray",
    "importcaches",
    "frontend.caps",
    "gateway.solve.metadata",
    "gateway.warnings",
    "gateway.evaluate",
    "frontend.inputs",
    "reference.output",
    "readfile",
    "readdir",
    "statfile",
)

BUILDS = (
    "source.local",
    "source.git",
    "source.git.fullurl",
    "source.git.keepgitdir",
    "source.git.subdir",
    "source.git.checksum",
    "source.git.httpauth",
    "source.git.knownsshhosts",
    "source.git.mountsshsock",
    "source.http",
    "source.http.checksum",
    "file.base",
    "constraints",
    "platform",
    "meta.description",
    "exporter.image.annotations",
    "exporter.image.attestations",
    "exporter.multiple",
    "exporter.sourcedateepoch",
    "gc.freespacefilter",
    "cache.gha",
    "cache.s3",
)
"""What builds can do, by the names of what they would be made of in BuildKit. Caches that there are
none of are among them, since buildx leaves those out without a word otherwise: they are refused."""


class Bridge:
    """The service, for all connections."""

    def __init__(
        self, solver: frontend.Frontend, known: builds.Builds, controls: control.Control
    ) -> None:
        self._frontend = solver
        self._builds = known
        self._control = controls

    def __mapping__(self) -> dict[str, const.Handler]:
        pb = gateway_pb2
        methods: dict[str, tuple[Callable[..., Any], Any, Any]] = {
            "Ping": (self.ping, pb.PingRequest, pb.PongResponse),
            "Solve": (self.solve, pb.BridgeSolveRequest, pb.BridgeSolveResponse),
            "ReadFile": (self.read_file, pb.ReadFileRequest, pb.ReadFileResponse),
            "ReadDir": (self.read_dir, pb.ReadDirRequest, pb.ReadDirResponse),
            "StatFile": (self.stat_file, pb.StatFileRequest, pb.StatFileResponse),
            "Evaluate": (self.evaluate, pb.EvaluateRequest, pb.EvaluateResponse),
            "Return": (self.return_, pb.ReturnRequest, pb.ReturnResponse),
            "Inputs": (self.inputs, pb.InputsRequest, pb.InputsResponse),
            "Warn": (self.warn, pb.WarnRequest, pb.WarnResponse),
        }
        return {_SERVICE + name: rpc.unary(*parts) for name, parts in methods.items()}

    async def _build(self, headers: rpc.Headers) -> builds.Build:
        return await self._builds.get(headers.get(_REF, ""))

    async def ping(
        self, request: gateway_pb2.PingRequest, headers: rpc.Headers
    ) -> gateway_pb2.PongResponse:
        """What this bridge can do."""
        await self._build(headers)
        return gateway_pb2.PongResponse(
            frontend_caps=[common_pb2.Capability(id=name, enabled=True) for name in CAPABILITIES],
            llb_caps=[common_pb2.Capability(id=name, enabled=True) for name in BUILDS],
            workers=[self._control.worker()],
        )

    async def solve(
        self, request: gateway_pb2.BridgeSolveRequest, headers: rpc.Headers
    ) -> gateway_pb2.BridgeSolveResponse:
        """Build a Dockerfile, or get files from elsewhere; the answer has an id for the result."""
        build = await self._build(headers)
        if request.definition.ops and not request.frontend:
            given = self._input(request.definition)
            if isinstance(given, remotes.Remote):
                given = await self._frontend.fetch(given, build.request, build.trace)
            return self._kept(build, given)
        if request.frontend != control.DOCKERFILE:
            raise errdefs.NotImplemented(f"this engine's frontend is {control.DOCKERFILE}")
        if not build.frontend:
            build.frontend, build.attrs = request.frontend, dict(request.frontend_opt)
        asked = frontend.Request(
            session=build.request.session,
            options=dict(request.frontend_opt),
            cache_from=[
                *build.request.cache_from,
                *((entry.type, dict(entry.attrs)) for entry in request.cache_imports),
            ],
            cache_to=build.request.cache_to,
            entitlements=build.request.entitlements,
            inputs={
                name: self._input(definition)
                for name, definition in request.frontend_inputs.items()
            },
        )
        return self._kept(build, await self._frontend.solve(asked, build.trace))

    def _input(self, definition: common_pb2.Definition) -> Any:
        """The result, or the files from elsewhere, that a definition is."""
        identity = definitions.identity(definition)
        return self._builds.result(identity) if identity else remotes.read(definition)

    def _kept(self, build: builds.Build, result: Any) -> gateway_pb2.BridgeSolveResponse:
        identity = build.keep(result)
        answer = gateway_pb2.Result(
            ref=gateway_pb2.Ref(id=identity, **{"def": definitions.encode(identity)}),
            metadata=self._frontend.metadata(result),
        )
        return gateway_pb2.BridgeSolveResponse(result=answer)

    async def _root(self, ref: str, headers: rpc.Headers) -> str:
        build = await self._build(headers)
        return self._frontend.root(build.result(ref))

    async def read_file(
        self, request: gateway_pb2.ReadFileRequest, headers: rpc.Headers
    ) -> gateway_pb2.ReadFileResponse:
        """A file of what was got from elsewhere, or a piece of it. Raises ``NotFound``."""
        root, piece = await self._root(request.ref, headers), request.range
        data = await asyncio.to_thread(looking.read, root, request.path, piece.offset, piece.length)
        return gateway_pb2.ReadFileResponse(data=data)

    async def read_dir(
        self, request: gateway_pb2.ReadDirRequest, headers: rpc.Headers
    ) -> gateway_pb2.ReadDirResponse:
        """A directory of it. Raises ``NotFound``."""
        root = await self._root(request.ref, headers)
        found = await asyncio.to_thread(looking.entries, root, request.path, request.include)
        return gateway_pb2.ReadDirResponse(entries=found)

    async def stat_file(
        self, request: gateway_pb2.StatFileRequest, headers: rpc.Headers
    ) -> gateway_pb2.StatFileResponse:
        """What a file of it is. Raises ``NotFound``."""
        root = await self._root(request.ref, headers)
        found = await asyncio.to_thread(looking.stat, root, request.path)
        return gateway_pb2.StatFileResponse(stat=found)

    async def evaluate(
        self, request: gateway_pb2.EvaluateRequest, headers: rpc.Headers
    ) -> gateway_pb2.EvaluateResponse:
        """Do what has to be done for a result: all is done since its solve. Raises ``NotFound``."""
        build = await self._build(headers)
        build.result(request.ref)
        return gateway_pb2.EvaluateResponse()

    async def return_(
        self, request: gateway_pb2.ReturnRequest, headers: rpc.Headers
    ) -> gateway_pb2.ReturnResponse:
        """The client is done: this is its build's result, or why there is none."""
        build = await self._build(headers)
        if request.HasField("error"):
            build.give_up(request.error.message)
        else:
            build.give_back(request.result)
        return gateway_pb2.ReturnResponse()

    async def inputs(
        self, request: gateway_pb2.InputsRequest, headers: rpc.Headers
    ) -> gateway_pb2.InputsResponse:
        """Results of other builds that this one is to use: none."""
        await self._build(headers)
        return gateway_pb2.InputsResponse()

    async def warn(
        self, request: gateway_pb2.WarnRequest, headers: rpc.Headers
    ) -> gateway_pb2.WarnResponse:
        """A warning of the client's, for everybody who reads the progress."""
        build = await self._build(headers)
        warning = control_pb2.VertexWarning(
            vertex=request.digest, level=request.level, short=request.short,
            detail=request.detail, url=request.url, info=request.info, ranges=request.ranges,
        )  # fmt: skip
        build.trace.say(control_pb2.StatusResponse(warnings=[warning]))
        return gateway_pb2.WarnResponse()
