"""From the classic API's parameters to a build request."""

from __future__ import annotations

import base64
import contextlib
import os
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from firkin import errdefs, reference
from firkin.builder import contextstore, graph, request, sources, trees
from firkin.builder import steps as building
from firkin.dockerfile import parser
from firkin.engine import core as engine
from firkin.remotes import auth
from firkin.types import container


class Parameters(msgspec.Struct, kw_only=True):
    """ImageBuild's query, decoded."""

    dockerfile: str = "Dockerfile"
    names: list[str] = []
    remote: str = ""
    args: dict[str, str | None] = {}
    labels: dict[str, str] = {}
    target: str = ""
    platform: str = ""
    no_cache: bool = False
    no_cache_filter: list[str] = []
    pull: bool = False
    network: str = ""
    host: container.HostConfig = msgspec.field(default_factory=container.HostConfig)
    allow: list[str] = []
    outputs: list[request.Output] = []
    cache_from: list[request.CacheSource] = []
    cache_to: list[request.CacheSource] = []
    annotations: dict[str, str] = {}
    attests: dict[str, str] = {}


class GivenSecrets:
    """Secrets that came with the request."""

    def __init__(self, values: dict[str, bytes]) -> None:
        self._values = values

    async def get(self, identity: str) -> bytes | None:
        return self._values.get(identity)


class GivenAgents:
    """Agents whose sockets are on this host."""

    def __init__(self, paths: dict[str, str]) -> None:
        self._paths = paths

    async def socket(self, identity: str) -> str | None:
        return self._paths.get(identity)


def epoch(args: dict[str, str | None]) -> int | None:
    """SOURCE_DATE_EPOCH of the build arguments. Raises ``InvalidParameter``."""
    text = args.get("SOURCE_DATE_EPOCH")
    if not text:
        return None
    if not text.isdigit() or len(text) > 12:
        raise errdefs.InvalidParameter(f"invalid SOURCE_DATE_EPOCH {text!r}: write seconds")
    return int(text)


def make(core: engine.Core, given: Parameters, context: Any, **more: Any) -> request.Request:
    """The request for what a client gave. ``more`` are members that only it knows."""
    platforms = [one for one in given.platform.split(",") if one]
    outputs = given.outputs or [request.Output(names=given.names)]
    return request.Request(
        context=context, filename=given.dockerfile or "Dockerfile", target=given.target,
        args={name: value for name, value in given.args.items() if value is not None},
        labels=given.labels, platforms=platforms, no_cache=given.no_cache,
        no_cache_filter=given.no_cache_filter, pull=given.pull, network=given.network,
        host=given.host, allow=given.allow, outputs=outputs, cache_from=given.cache_from,
        cache_to=given.cache_to, annotations=given.annotations, attests=given.attests,
        epoch=epoch(given.args), **more,
    )  # fmt: skip


class GitContext:
    """A context that is a commit of a repository; its ignore file is for this side to apply."""

    def __init__(
        self,
        core: engine.Core,
        op: graph.Checkout,
        secrets: request.Secrets,
        agents: request.Agents,
    ) -> None:
        self._core = core
        self._who = request.Request(secrets=secrets, agents=agents)
        self._op = op
        self._stack = contextlib.AsyncExitStack()

    async def open(self) -> trees.Tree:
        made = sources.checkout(self._core.builder.workshop, self._op, self._who)
        return await self._stack.enter_async_context(made)

    async def close(self) -> None:
        await self._stack.aclose()


class UrlContext:
    """A context behind a URL: an archive, or a Dockerfile alone."""

    def __init__(self, core: engine.Core, url: str) -> None:
        self._core = core
        self._url = url
        self._inner: contextstore.TarContext | None = None
        self._place: Any = None

    async def open(self) -> trees.Tree:
        self._place = self._core.builder.trees.place()
        place = await self._place.__aenter__()
        path = os.path.join(place, "context")
        await sources.fetch(self._url, path)
        if not building.is_archive(path):
            alone = os.path.join(place, "Dockerfile")
            os.rename(path, alone)
            with open(alone, "rb") as file:
                return trees.Tree(root=place, dockerfile=file.read(parser.MAX_SIZE + 1))

        async def read() -> AsyncIterator[bytes]:
            with open(path, "rb") as file:
                while data := file.read(1 << 20):
                    yield data

        self._inner = self._core.builder.contexts.archive(read())
        return await self._inner.open()

    async def close(self) -> None:
        if self._inner is not None:
            await self._inner.close()
        if self._place is not None:
            await self._place.__aexit__(None, None, None)


def remote(
    core: engine.Core,
    given: Parameters,
    secrets: request.Secrets | None = None,
    agents: request.Agents | None = None,
) -> request.Context:
    """The context that ``remote`` names; the client's secrets and agents open private repositories.

    Raises ``InvalidParameter``.
    """
    if sources.is_git(given.remote):
        keep = given.args.get("BUILDKIT_CONTEXT_KEEP_GIT_DIR") in ("1", "true")
        op = msgspec.structs.replace(sources.parse_git(given.remote), keep_git_dir=keep)
        return GitContext(core, op, secrets or request.NoSecrets(), agents or request.NoAgents())
    if sources.is_url(given.remote):
        return UrlContext(core, given.remote)
    raise errdefs.InvalidParameter(
        f"cannot get a build context from {given.remote!r}: write an http(s) URL of an archive or "
        "a Git URL"
    )


def ulimits(found: list[dict[str, Any]] | None) -> list[container.Ulimit] | None:
    """The ``ulimits`` parameter."""
    if not found:
        return None
    return [
        container.Ulimit(
            name=str(one.get("Name", "")), soft=int(one.get("Soft", 0)),
            hard=int(one.get("Hard", 0)),
        )
        for one in found
    ]  # fmt: skip


def credentials(header: str) -> dict[str, auth.Credentials]:
    """``X-Registry-Config``: credentials by domain. Raises ``InvalidParameter``."""
    if not header:
        return {}
    try:
        value = msgspec.json.decode(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))
    except (ValueError, msgspec.DecodeError) as error:
        raise errdefs.InvalidParameter("the header X-Registry-Config can't be read") from error
    found: dict[str, auth.Credentials] = {}
    for key, entry in value.items() if isinstance(value, dict) else ():
        if not isinstance(entry, dict):
            continue
        host = key.partition("://")[2] if "://" in key else key
        domain = host.partition("/")[0]
        domain = reference.DEFAULT_DOMAIN if domain == "index.docker.io" else domain
        found[domain] = auth.Credentials(
            username=str(entry.get("username") or ""), password=str(entry.get("password") or ""),
            identity=str(entry.get("identitytoken") or ""),
            token=str(entry.get("registrytoken") or ""),
        )  # fmt: skip
    return found
