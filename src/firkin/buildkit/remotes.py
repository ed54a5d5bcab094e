"""Definitions of files from elsewhere: a commit of a Git repository, or a file behind a URL.

Clients make them to look into a context before they have it built (for policies, for bake files),
and to have it built. In BuildKit's language such a one is a single source, or a source and a copy
that unpacks it; anything more is refused.
"""

from __future__ import annotations

import contextlib
import urllib.parse

import msgspec

from firkin import errdefs
from firkin.builder import graph, request, sources, trees
from firkin.buildkit import definitions
from firkin.buildkit.pb import common_pb2
from firkin.engine import buildrequests
from firkin.engine import core as engine

_GIT = "git://"
_ATTRS = {
    "git": {
        "keepgitdir", "fullurl", "authheadersecret", "authtokensecret", "knownsshhosts",
        "mountsshsock", "checksum",
    },
    "http": {"filename", "checksum"},
}  # fmt: skip


class Remote(msgspec.Struct, frozen=True):
    """Where the files are; ``unpacked``: those of the archive that is downloaded."""

    op: graph.Checkout | graph.Download
    unpacked: bool = False


def read(definition: common_pb2.Definition) -> Remote:
    """What a definition brings. Raises ``NotImplemented`` when it is not only that."""
    found: list[common_pb2.SourceOp] = []
    unpacks = False
    for op in definitions.decode(definition):
        kind = op.WhichOneof("op")
        if kind == "source":
            found.append(op.source)
        elif kind == "file" and all(action.copy.attempt_unpack for action in op.file.actions):
            unpacks = True
        elif kind is not None:
            found.clear()
            break
    if len(found) != 1:
        raise errdefs.NotImplemented(
            "this engine builds Dockerfiles: it does not run low-level build definitions (LLB)"
        )
    (source,) = found
    if source.identifier.startswith(_GIT):
        return Remote(_checkout(source))
    if source.identifier.startswith(("http://", "https://")):
        return Remote(_download(source), unpacks)
    raise errdefs.NotImplemented(f"this engine has no source {source.identifier[:200]!r}")


def _attrs(source: common_pb2.SourceOp, kind: str) -> dict[str, str]:
    """The attributes of a source. Raises ``NotImplemented`` for those without a meaning here."""
    found = {}
    for name, value in source.attrs.items():
        prefix, _, key = name.partition(".")
        if prefix != kind or key not in _ATTRS[kind]:
            raise errdefs.NotImplemented(f"this engine has no sources with {name[:80]!r}")
        found[key] = value
    return found


def _checkout(source: common_pb2.SourceOp) -> graph.Checkout:
    attrs = _attrs(source, "git")
    url, _, fragment = source.identifier.partition("#")
    ref, _, subdir = fragment.partition(":")
    if ".." in subdir.split("/"):
        raise errdefs.InvalidParameter(f"the directory {subdir[:200]!r} leads out of {url[:200]!r}")
    return graph.Checkout(
        url=attrs.get("fullurl") or "https://" + url.removeprefix(_GIT),
        ref=ref,
        subdir=subdir.strip("/"),
        keep_git_dir=attrs.get("keepgitdir") == "true",
        checksum=attrs.get("checksum", ""),
    )


def _download(source: common_pb2.SourceOp) -> graph.Download:
    attrs = _attrs(source, "http")
    path = urllib.parse.urlsplit(source.identifier).path
    name = attrs.get("filename") or urllib.parse.unquote(path.rpartition("/")[2]) or "download"
    if "/" in name or "\0" in name or name in (".", ".."):
        raise errdefs.InvalidParameter(f"{name[:200]!r} is no name of a file")
    return graph.Download(
        url=source.identifier,
        filename=name,
        checksum=attrs.get("checksum", "").removeprefix("sha256:"),
    )


class _File:
    """A ``request.Context`` that is one file."""

    def __init__(self, core: engine.Core, op: graph.Download, secrets: request.Secrets) -> None:
        self._core = core
        self._op = op
        self._secrets = secrets
        self._stack = contextlib.AsyncExitStack()

    async def open(self) -> trees.Tree:
        made = sources.download(self._core.builder.workshop, self._op, self._secrets)
        return await self._stack.enter_async_context(made)

    async def close(self) -> None:
        await self._stack.aclose()


def context(
    core: engine.Core, remote: Remote, secrets: request.Secrets, agents: request.Agents
) -> request.Context:
    """The files as a context of a build; the client's secrets and agents open private ones."""
    if isinstance(remote.op, graph.Checkout):
        return buildrequests.GitContext(core, remote.op, secrets, agents)
    if remote.unpacked:
        return buildrequests.UrlContext(core, remote.op.url)
    return _File(core, remote.op, secrets)
