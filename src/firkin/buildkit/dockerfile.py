"""``dockerfile.v0``: the frontend behind the services, made of our own builder.

A result is a plan only: the build runs when it is exported, in one go with its exporters, so that
what the client asks for in two calls is one build with one progress. Lint (``--call check``) runs
at once, since its findings are the result.
"""

from __future__ import annotations

import asyncio
import base64
import json
import os
from collections.abc import Mapping, Sequence

import msgspec

from firkin import errdefs, reference
from firkin.builder import contextstore
from firkin.builder import request as building
from firkin.buildkit import (
    agents,
    contexts,
    filesync,
    frontend,
    options,
    progress,
    subrequests,
    trace,
)
from firkin.buildkit import session as sessions
from firkin.engine import buildrequests
from firkin.engine import core as engine
from firkin.remotes import auth
from firkin.wire import ignorefile

_ID = "buildkit-attachable-exporter-id"
_FILES = frozenset(("docker", "local", "oci", "tar"))
_HUB = "https://index.docker.io/v1/"
"""What clients call the registry of the default domain in their configuration."""


class Secrets:
    """A :class:`firkin.builder.request.Secrets` over a session."""

    def __init__(self, session: sessions.Session) -> None:
        self._session = session

    async def get(self, identity: str) -> bytes | None:
        """See ``Secrets.get``."""
        return await self._session.secret(identity)


class Keyring:
    """A :class:`firkin.builder.request.Keyring` over a session."""

    def __init__(self, session: sessions.Session) -> None:
        self._session = session

    async def get(self, domain: str) -> auth.Credentials:
        """See ``Keyring.get``."""
        host = _HUB if domain == reference.DEFAULT_DOMAIN else domain
        found = await self._session.credentials(host)
        if not found.username:  # clients give an identity token as the secret of nobody
            return auth.Credentials(identity=found.secret) if found.secret else auth.NOBODY
        return auth.Credentials(username=found.username, password=found.secret)


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
        found = await self._core.builder.check(wanted)
        data = wanted.dockerfile or b""
        return subrequests.answer(name, found, wanted.filename, data)

    async def _request(
        self, parsed: options.Parsed, request: frontend.Request, watcher: progress.Progress
    ) -> building.Request:
        """The builder's request, with the Dockerfile and the contexts of the client's session."""
        session = request.session
        wanted = parsed.request
        wanted.filename = parsed.filename
        wanted.secrets = Secrets(session)
        wanted.keys = Keyring(session)
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
        builder = self._core.builder
        wanted = msgspec.structs.replace(result.wanted, outputs=[_output(one) for one in exports])
        async with builder.trees.place() as place:
            forwarded = agents.Agents(request.session, place)
            wanted.agents = forwarded
            try:
                done = await builder.build(wanted, result.watcher)
                for file in done.metadata.pop("firkin.outputs", ()):
                    export = exports[int(file["dest"])]
                    with result.watcher.task(f"sending {export.type} to the client"):
                        await self._send(request.session, export, file["token"], place)
            finally:
                await forwarded.close()
        if done.image is not None:
            for output in wanted.outputs:
                self._tagged(done.image.id, output.names if output.stored else ())
        return {key: _said(value) for key, value in done.metadata.items()}

    def _tagged(self, image: str, names: Sequence[str]) -> None:
        for name in names:
            shown = reference.combine(name).familiar
            self._core.events.publish("image", "tag", image, {"name": shown})

    async def _send(
        self, session: sessions.Session, export: frontend.Export, token: str, place: str
    ) -> None:
        """Bring a file of the builder to the client; of a tree, the files that are in its tar."""
        number = {_ID: [str(export.number)]}
        pieces = await self._core.builder.shelf.read(token)
        if export.type != "local":
            await filesync.send_file(session, pieces, number)
            return
        directory = os.path.join(place, f"tree-{export.number}")
        await asyncio.to_thread(os.mkdir, directory, 0o700)
        await contextstore.extract(pieces, directory, self._core.images.layers.scratch)
        await filesync.send_tree(session, directory, number)


def _ignore(name: str, data: bytes | None) -> tuple[str, ignorefile.Ignore] | None:
    if data is None:
        return None
    text = data.decode("utf-8", "replace")
    try:
        return text, ignorefile.read(text)
    except ignorefile.BadPattern as error:
        raise errdefs.InvalidParameter(f"failed to parse {name}: {error}") from error


def _said(value: object) -> str:
    """A value of the builder's metadata as the exporter's answer has it."""
    if isinstance(value, str):
        return value
    return base64.b64encode(json.dumps(value).encode()).decode()


def _output(export: frontend.Export) -> building.Output:
    """An output of the builder for one that the client wants. Raises ``NotImplemented``.

    What the client takes by itself is a file with the exporter's number as its name.
    """
    attrs = dict(export.attrs)
    names = [name for name in attrs.pop("name", "").split(",") if name]
    kind = {"moby": "image", "": "cacheonly"}.get(export.type, export.type)
    if kind in _FILES:
        attrs["dest"] = str(export.number)
    elif kind not in ("image", "cacheonly"):
        raise errdefs.NotImplemented(f"results of the kind {kind[:80]!r} are not supported")
    return building.Output(type=kind, names=names, options=attrs)
