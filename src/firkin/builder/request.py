"""A build as one value, and what it asks of whoever wants it.

The classic API, the client's own protocol and any other front door make a :class:`Request`; the
builder knows none of them. What a build can't hold as a value (files of the client, secrets, an SSH
agent, credentials) it asks for through small contracts.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable

import msgspec

from firkin.builder import blobs, stages, trees
from firkin.remotes import auth
from firkin.types import container
from firkin.types import image as types


@runtime_checkable
class Context(Protocol):
    """Files of the client, under one name. ``open`` is called at most once for each build."""

    async def open(self) -> trees.Tree:
        """The files as a directory that stays as it is until :meth:`close`."""
        ...

    async def close(self) -> None:
        """The build has ended."""
        ...


class Secrets(Protocol):
    """Secrets by their id. Contents are mounted into steps and kept nowhere."""

    async def get(self, identity: str) -> bytes | None:
        """The secret's content; None when the client has no such secret."""
        ...


class Agents(Protocol):
    """SSH agents by their id."""

    async def socket(self, identity: str) -> str | None:
        """A Unix socket that an agent answers on; None when the client has none of this id."""
        ...


class Keyring(Protocol):
    """Credentials for registries."""

    async def get(self, domain: str) -> auth.Credentials:
        """Who asks the registry at ``domain``; ``auth.NOBODY`` when the client has none for it."""
        ...


class GivenKeys:
    """Credentials that came with the request, by domain."""

    def __init__(self, known: Mapping[str, auth.Credentials] | None = None) -> None:
        self._known = known or {}

    async def get(self, domain: str) -> auth.Credentials:
        return self._known.get(domain, auth.NOBODY)


class NoSecrets:
    """A client without secrets."""

    async def get(self, identity: str) -> bytes | None:
        return None


class NoAgents:
    """A client without SSH agents."""

    async def socket(self, identity: str) -> str | None:
        return None


class ImageContext(msgspec.Struct, frozen=True):
    """A named context that is an image."""

    reference: str


@runtime_checkable
class Layout(Protocol):
    """A named context that is an image of an OCI layout (see ``layouts``)."""

    async def image(self, platform: types.Platform) -> types.Image:
        """The image for a platform, in the store. Raises ``NotFound``, ``InvalidParameter``."""
        ...


@runtime_checkable
class Finished(Protocol):
    """A named context that is another build, which has been done (see ``prepared``)."""

    def result(self, platform: types.Platform) -> stages.Built:
        """What it is for a platform. Raises ``InvalidParameter`` when it is not for that one."""
        ...


class Nested(msgspec.Struct, frozen=True):
    """A named context that is another build, to be done before the one that names it."""

    request: Request


Named = Context | ImageContext | Layout | Finished | Nested


class Output(msgspec.Struct, frozen=True, kw_only=True):
    """Where the result goes: ``type`` is image, docker, oci, tar, local, registry or cacheonly.

    With a ``dest`` among the options it is a file for the client to fetch (see ``exporters``).
    """

    type: str = "image"
    names: list[str] = []
    options: dict[str, str] = {}

    @property
    def named(self) -> list[str]:
        """The names of the image, as they were given."""
        return self.names or [one for one in self.options.get("name", "").split(",") if one]

    @property
    def anonymous(self) -> bool:
        """Whether it is pushed under its digest alone."""
        return self.options.get("push-by-digest") == "true"

    @property
    def stored(self) -> bool:
        """Whether it is an image of the store."""
        return not self.anonymous and self._kept

    @property
    def _kept(self) -> bool:
        return self.type in ("image", "registry") or (self.type == "docker" and not self.fetched)

    @property
    def pushed(self) -> bool:
        """Whether it goes to a registry."""
        return self.type == "registry" or self.options.get("push") == "true"

    @property
    def fetched(self) -> bool:
        """Whether it is a file for the client."""
        return bool(self.options.get("dest")) or self.type in ("tar", "local", "oci")


class CacheSource(msgspec.Struct, frozen=True, kw_only=True):
    """A cache to import from or export to: ``type`` registry, local or inline.

    ``place`` is where a local one is, at a client that is asked blob by blob.
    """

    type: str
    options: dict[str, str] = {}
    place: blobs.Place | None = None


class Request(msgspec.Struct, kw_only=True):
    """A whole build. ``dockerfile`` is the text when the client gave it apart from the context.

    ``ignore`` has the context's ignore file applied here. Where the client has done that and
    ``sent`` the file along, it and the Dockerfile are out of sight if the file says so.
    ``args`` are build arguments, ``epoch`` is SOURCE_DATE_EPOCH in seconds or None.
    """

    context: Context | ImageContext | None = None
    contexts: dict[str, Named] = {}
    dockerfile: bytes | None = None
    filename: str = "Dockerfile"
    ignore: bool = False
    sent: bool = False
    target: str = ""
    args: dict[str, str] = {}
    labels: dict[str, str] = {}
    platforms: list[str] = []
    no_cache: bool = False
    no_cache_filter: list[str] = []
    pull: bool = False
    network: str = ""
    host: container.HostConfig = msgspec.field(default_factory=container.HostConfig)
    allow: list[str] = []
    secrets: Secrets = msgspec.field(default_factory=NoSecrets)
    agents: Agents = msgspec.field(default_factory=NoAgents)
    outputs: list[Output] = msgspec.field(default_factory=lambda: [Output()])
    cache_from: list[CacheSource] = []
    cache_to: list[CacheSource] = []
    attests: dict[str, str] = {}
    annotations: dict[str, str] = {}
    epoch: int | None = None
    keys: Keyring = msgspec.field(default_factory=GivenKeys)
