"""``dockerfile.v0``: the frontend behind the services, made of our own builder.

A result is a build that is done but for its outputs (``builder.prepared``). It can be a context of
other builds while its own goes on, and is closed when that is over. The answer to a question about
the Dockerfile (``--call check``) is a result without a build.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import json
import os
from collections.abc import Mapping, Sequence

import msgspec

from firkin import errdefs, reference
from firkin.builder import blobs, contextstore, layouts, prepared, trees
from firkin.builder import request as building
from firkin.buildkit import (
    agents,
    content,
    contexts,
    filesync,
    frontend,
    options,
    progress,
    remotes,
    subrequests,
    trace,
)
from firkin.buildkit import session as sessions
from firkin.engine import buildrequests
from firkin.engine import core as engine
from firkin.remotes import auth
from firkin.types import image as types
from firkin.wire import ignorefile

_ID = "buildkit-attachable-exporter-id"
_UPLOADED = "http://buildkit-session/"
_SHARED = "local-sessionid:"
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


class Solved:
    """A build that is done, or a sub-request's answer in ``metadata``, or the files in ``tree``
    from ``remote``."""

    def __init__(
        self,
        watcher: progress.Progress,
        stack: contextlib.AsyncExitStack,
        *,
        done: prepared.Prepared | None = None,
        metadata: Mapping[str, bytes] | None = None,
        tree: trees.Tree | None = None,
        remote: remotes.Remote | None = None,
    ) -> None:
        self.watcher = watcher
        self.stack = stack
        self.done = done
        self.metadata = metadata or {}
        self.tree = tree
        self.remote = remote


class Dockerfile:
    """A :class:`firkin.buildkit.frontend.Frontend`."""

    def __init__(self, core: engine.Core, clients: sessions.Sessions) -> None:
        self._core = core
        self._sessions = clients

    async def solve(self, request: frontend.Request, traced: trace.Trace) -> Solved:
        """See ``Frontend.solve``."""
        parsed = options.parse(request.options, request.entitlements)
        watcher = progress.Progress(traced, parsed.filename)
        for name in parsed.unknown:
            watcher.message(f"[internal] ignored: this engine has no build option {name[:80]!r}")
        builder = self._core.builder
        async with contextlib.AsyncExitStack() as stack:
            place = await stack.enter_async_context(builder.trees.place())
            forwarded = agents.Agents(request.session, place)
            stack.push_async_callback(forwarded.close)
            parsed.request.agents = forwarded
            parsed.request.secrets = Secrets(request.session)
            wanted = await self._request(parsed, request, watcher)
            if parsed.subrequest:
                found = await self._subrequest(parsed.subrequest, wanted)
                return Solved(watcher, stack.pop_all(), metadata=found)
            done = await builder.prepare(wanted, watcher)
            stack.push_async_callback(done.close)
            return Solved(watcher, stack.pop_all(), done=done)

    async def fetch(
        self, remote: remotes.Remote, request: frontend.Request, traced: trace.Trace
    ) -> Solved:
        """See ``Frontend.fetch``."""
        watcher = progress.Progress(traced, "")
        async with contextlib.AsyncExitStack() as stack:
            place = await stack.enter_async_context(self._core.builder.trees.place())
            forwarded = agents.Agents(request.session, place)
            stack.push_async_callback(forwarded.close)
            keys = Secrets(request.session)
            files = remotes.context(self._core, remote, keys, forwarded)
            stack.push_async_callback(files.close)
            with watcher.task(f"[internal] load {remote.op.url[:200]}"):
                tree = await files.open()
            return Solved(watcher, stack.pop_all(), tree=tree, remote=remote)

    def root(self, result: Solved) -> str:
        """See ``Frontend.root``."""
        if result.tree is None:
            raise errdefs.NotImplemented("this engine does not show single files of a build")
        return result.tree.root

    async def close(self, result: Solved) -> None:
        """See ``Frontend.close``."""
        await result.stack.aclose()

    def metadata(self, result: Solved) -> Mapping[str, bytes]:
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
        wanted.keys = Keyring(session)
        cached = [*options.caches(request.cache_from), *options.imports(request.options)]
        wanted.cache_from = [_placed(one, session, "src") for one in cached]
        wanted.cache_to = [
            _placed(one, session, "dest") for one in options.caches(request.cache_to)
        ]
        wanted.contexts = {
            name.partition("::")[0]: await self._named(text, parsed, request, watcher)
            for name, text in parsed.contexts.items()
        }
        elsewhere = await self._elsewhere(parsed, request, watcher)
        if elsewhere is not None:
            wanted.context = elsewhere
            wanted.ignore = True
            if not parsed.has_dockerfile:
                return wanted
        name = parsed.context_name
        files = await self._serving(parsed.dockerfile_name, request)
        session = await self._serving(name, request)
        rules = f"{parsed.filename}.dockerignore"
        with watcher.task(f"[internal] load build definition from {parsed.filename}"):
            found = await contexts.some_files(
                self._core.builder.trees, files, parsed.dockerfile_name,
                [parsed.filename, rules],
            )  # fmt: skip
            if parsed.filename not in found:
                raise errdefs.InvalidParameter(
                    f"failed to read dockerfile: open {parsed.filename}: no such file or directory"
                )
            wanted.dockerfile = found[parsed.filename]
        if elsewhere is not None:
            return wanted
        if rules not in found:
            with watcher.task("[internal] load .dockerignore"):
                rules = ".dockerignore"
                found |= await contexts.some_files(self._core.builder.trees, session, name, [rules])
        ignore = _ignore(rules, found.get(rules))
        wanted.context = contexts.SessionContext(
            self._core.builder.contexts, session, name, watcher, ignore
        )
        return wanted

    async def _elsewhere(
        self, parsed: options.Parsed, request: frontend.Request, watcher: progress.Progress
    ) -> building.Context | None:
        """The context of the build when it is no directory of the client's."""
        if parsed.context and not parsed.context.startswith("local:"):
            return await self._context(parsed.context, parsed, request, watcher)
        return self._fetched(request.inputs.get(parsed.context_name), parsed.request)

    def _fetched(self, given: object, wanted: building.Request) -> building.Context | None:
        """The context of an input that is files from elsewhere, looked into already or not."""
        remote = given.remote if isinstance(given, Solved) else given
        if not isinstance(remote, remotes.Remote):
            return None
        return remotes.context(self._core, remote, wanted.secrets, wanted.agents)

    async def _named(
        self,
        text: str,
        parsed: options.Parsed,
        request: frontend.Request,
        watcher: progress.Progress,
    ) -> building.Named:
        """A named context by what an option says of it. Raises ``InvalidParameter``."""
        kind, _, rest = text.partition(":")
        rest = rest.removeprefix("//")
        if kind == "docker-image":
            return building.ImageContext(rest)
        if kind == "oci-layout":
            head, _, digest = rest.partition("@")
            if not digest:
                raise errdefs.InvalidParameter(f"the context {text[:200]!r} has no digest")
            place = content.Content(request.session, f"oci:{head.partition(':')[0]}")
            top = types.Descriptor(digest=blobs.checked(digest), size=-1)
            return layouts.Layout(self._core.images, place, top)
        if kind == "input":
            result = request.inputs.get(rest)
            if (files := self._fetched(result, parsed.request)) is not None:
                return files
            if not isinstance(result, Solved) or result.done is None:
                raise errdefs.InvalidParameter(f"there is no build {rest[:200]!r} to build from")
            return result.done
        if kind == "target":
            raise errdefs.InvalidParameter(
                f"the context {text[:200]!r} is a target of a bake file: build it with bake"
            )
        return await self._context(text, parsed, request, watcher)

    async def _serving(self, name: str, request: frontend.Request) -> sessions.Session:
        """The session that has the directory ``name``: several builds may share one for it."""
        other = request.options.get(f"{_SHARED}{name}", "")
        return await self._sessions.get(other) if other else request.session

    async def _context(
        self,
        text: str,
        parsed: options.Parsed,
        request: frontend.Request,
        watcher: progress.Progress,
    ) -> building.Context:
        """A directory of the client, or what an address means. Raises ``InvalidParameter``."""
        kind, _, rest = text.partition(":")
        if kind == "local":
            session = await self._serving(rest, request)
            return contexts.SessionContext(self._core.builder.contexts, session, rest, watcher)
        if text.startswith(_UPLOADED):
            builder = self._core.builder
            return contexts.UploadedContext(builder.contexts, builder.trees, request.session, text)
        given = buildrequests.Parameters(remote=text, args=dict(parsed.request.args))
        wanted = parsed.request
        return buildrequests.remote(self._core, given, wanted.secrets, wanted.agents)

    async def export(
        self,
        result: Solved,
        request: frontend.Request,
        exports: Sequence[frontend.Export],
        traced: trace.Trace,
    ) -> Mapping[str, str]:
        """See ``Frontend.export``."""
        if result.done is None:
            return {}
        builder = self._core.builder
        outputs = [_output(one) for one in exports]
        notes = dict(result.done.wanted.annotations)
        for one in exports:
            notes.update(options.annotated(one.attrs))
        done = await builder.export(result.done, outputs, notes, result.watcher)
        async with builder.trees.place() as place:
            for file in done.metadata.pop("firkin.outputs", ()):
                export = exports[int(file["dest"])]
                with result.watcher.task(f"sending {export.type} to the client"):
                    await self._send(request.session, export, file["token"], place)
        if done.image is not None:
            for output in outputs:
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


def _placed(
    source: building.CacheSource, session: sessions.Session, where: str
) -> building.CacheSource:
    """A cache with the client's directory that it is in, when it is in one."""
    if source.type != "local":
        return source
    store = source.options.get("store") or source.options.get(where, "")
    return msgspec.structs.replace(source, place=content.Content(session, f"local:{store}"))


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
