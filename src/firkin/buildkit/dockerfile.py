"""``dockerfile.v0``: the frontend behind the services, made of our own builder.

A result is a plan only: the build runs when it is exported, in one go with its exporters, so that
what the client asks for in two calls is one build with one progress. Lint (``--call check``) runs
at once, since its findings are the result.
"""

from __future__ import annotations

import contextlib
import json
import os
from collections.abc import Mapping, Sequence

import msgspec

from firkin import errdefs, reference
from firkin.builder import request as building
from firkin.buildkit import agents, contexts, filesync, frontend, options, progress, trace
from firkin.buildkit import session as sessions
from firkin.engine import buildrequests
from firkin.engine import core as engine
from firkin.wire import ignorefile

_ID = "buildkit-attachable-exporter-id"
_FILES = {"docker", "oci", "tar"}


class Secrets:
    """A :class:`firkin.builder.request.Secrets` over a session."""

    def __init__(self, session: sessions.Session) -> None:
        self._session = session

    async def get(self, identity: str) -> bytes | None:
        """See ``Secrets.get``."""
        return await self._session.secret(identity)


class Planned:
    """A build that is wanted, or a sub-request's answer in ``metadata``."""

    def __init__(
        self,
        wanted: building.Request | None,
        watcher: progress.Progress,
        metadata: Mapping[str, bytes],
    ) -> None:
        self.wanted = wanted
        self.watcher = watcher
        self.metadata = metadata


class Dockerfile:
    """A :class:`firkin.buildkit.frontend.Frontend`."""

    def __init__(self, core: engine.Core) -> None:
        self._core = core

    async def solve(self, request: frontend.Request, traced: trace.Trace) -> Planned:
        """See ``Frontend.solve``."""
        parsed = options.parse(request.options, request.entitlements)
        watcher = progress.Progress(traced, parsed.filename)
        wanted = await self._request(parsed, request, watcher)
        if parsed.subrequest:
            return Planned(None, watcher, await self._subrequest(parsed.subrequest, wanted))
        return Planned(wanted, watcher, {})

    def metadata(self, result: Planned) -> Mapping[str, bytes]:
        """See ``Frontend.metadata``."""
        return result.metadata

    async def _subrequest(self, name: str, wanted: building.Request) -> Mapping[str, bytes]:
        if name != "frontend.lint":
            raise errdefs.NotImplemented(f"the request {name[:80]!r} is not known to this engine")
        found, text = await self._core.builder.check(wanted)
        listed = [
            {
                "ruleName": one.rule,
                "description": one.message,
                "detail": one.message,
                "location": {"ranges": [{"start": {"line": one.line}, "end": {"line": one.line}}]},
            }
            for one in found
        ]
        source = {"filename": wanted.filename, "data": list(text.encode())}
        lines = [
            f"WARNING: {one.rule} - {wanted.filename}:{one.line}\n{one.message}\n" for one in found
        ]
        return {
            "result.json": json.dumps({"warnings": listed, "sources": [source]}).encode(),
            "result.txt": "\n".join(lines).encode(),
            "result.statuscode": b"1" if found else b"0",
            "version": b"1.0.0",
        }

    async def _request(
        self, parsed: options.Parsed, request: frontend.Request, watcher: progress.Progress
    ) -> building.Request:
        """The builder's request, with the Dockerfile and the contexts of the client's session."""
        session = request.session
        wanted = parsed.request
        wanted.filename = parsed.filename
        wanted.secrets = Secrets(session)
        wanted.cache_from = [*options.caches(request.cache_from), *options.imports(request.options)]
        wanted.cache_to = options.caches(request.cache_to)
        wanted.contexts = {
            name: self._context(text, session, watcher) for name, text in parsed.contexts.items()
        }
        if parsed.context and not parsed.context.startswith("local:"):
            wanted.context = self._context(parsed.context, session, watcher)
            wanted.ignore = True
            return wanted
        name = parsed.context_name
        rules = f"{parsed.filename}.dockerignore"
        with watcher.task(f"[internal] load build definition from {parsed.filename}"):
            found = await contexts.some_files(
                self._core.builder.trees, session, parsed.dockerfile_name,
                [parsed.filename, rules],
            )  # fmt: skip
            if parsed.filename not in found:
                raise errdefs.InvalidParameter(
                    f"failed to read dockerfile: open {parsed.filename}: no such file or directory"
                )
            wanted.dockerfile = found[parsed.filename]
        if rules not in found:
            with watcher.task("[internal] load .dockerignore"):
                rules = ".dockerignore"
                found |= await contexts.some_files(self._core.builder.trees, session, name, [rules])
        ignore = _ignore(rules, found.get(rules))
        wanted.context = contexts.SessionContext(
            self._core.builder.contexts, session, name, watcher, ignore
        )
        return wanted

    def _context(
        self, text: str, session: sessions.Session, watcher: progress.Progress
    ) -> building.Context | building.ImageContext:
        """A context by what an option says of it. Raises ``InvalidParameter``."""
        kind, _, rest = text.partition(":")
        if kind == "local":
            return contexts.SessionContext(self._core.builder.contexts, session, rest, watcher)
        if kind == "docker-image":
            return building.ImageContext(rest.removeprefix("//"))
        if kind in ("oci-layout", "input", "target"):
            raise errdefs.NotImplemented(f"contexts of the kind {kind}: are not supported")
        return buildrequests.remote(self._core, buildrequests.Parameters(remote=text))

    async def export(
        self,
        result: Planned,
        request: frontend.Request,
        exports: Sequence[frontend.Export],
        traced: trace.Trace,
    ) -> Mapping[str, str]:
        """See ``Frontend.export``."""
        if result.wanted is None:
            return {}
        async with contextlib.AsyncExitStack() as stack:
            builder = self._core.builder
            place = await stack.enter_async_context(builder.trees.place())
            forwarded = agents.Agents(request.session, place)
            stack.push_async_callback(forwarded.close)
            outputs = [_output(one, place) for one in exports]
            wanted = msgspec.structs.replace(
                result.wanted, agents=forwarded,
                outputs=[output for output, _ in outputs] or [building.Output(type="cacheonly")],
            )  # fmt: skip
            done = await builder.build(wanted, result.watcher)
            for output, one in outputs:
                if output.path:
                    with result.watcher.task(f"sending {one.type} to the client"):
                        await _send(request.session, output, one)
                elif done.image is not None:
                    self._tagged(done.image.id, output.names)
        return {key: str(value) for key, value in done.metadata.items()}

    def _tagged(self, image: str, names: Sequence[str]) -> None:
        for name in names:
            shown = reference.combine(name).familiar
            self._core.events.publish("image", "tag", image, {"name": shown})


def _ignore(name: str, data: bytes | None) -> tuple[str, ignorefile.Ignore] | None:
    if data is None:
        return None
    text = data.decode("utf-8", "replace")
    try:
        return text, ignorefile.read(text)
    except ignorefile.BadPattern as error:
        raise errdefs.InvalidParameter(f"failed to parse {name}: {error}") from error


def _output(export: frontend.Export, place: str) -> tuple[building.Output, frontend.Export]:
    """An output of the builder for one that the client wants. Raises ``NotImplemented``."""
    attrs = dict(export.attrs)
    names = [name for name in attrs.pop("name", "").split(",") if name]
    push = attrs.pop("push", "") in ("true", "1")
    kind = {"moby": "image", "": "cacheonly"}.get(export.type, export.type)
    if kind not in (*_FILES, "image", "local", "cacheonly"):
        raise errdefs.NotImplemented(f"results of the kind {kind[:80]!r} are not supported")
    path = os.path.join(place, f"{export.number}") if kind in (*_FILES, "local") else ""
    made = building.Output(type=kind, names=names, path=path, push=push, options=attrs)
    return made, export


async def _send(
    session: sessions.Session, output: building.Output, export: frontend.Export
) -> None:
    """Bring a file or a tree that the builder has written to the client."""
    number = {_ID: [str(export.number)]}
    if output.type == "local":
        await filesync.send_tree(session, output.path, number)
    else:
        await filesync.send_file(session, output.path, number)
