"""Manifests and blobs from a registry or its mirrors, verified and resumed."""

from __future__ import annotations

import hashlib
import logging
from collections.abc import AsyncIterator

import aiohttp
import msgspec

from firkin import errdefs, reference
from firkin.remotes import auth, failures, resolver, transport
from firkin.types import image as types

log = logging.getLogger(__name__)

ACCEPT = ", ".join(
    (
        types.MEDIA_OCI_INDEX,
        types.MEDIA_OCI_MANIFEST,
        types.MEDIA_DOCKER_INDEX,
        types.MEDIA_DOCKER_MANIFEST,
    )
)
_OLD = "application/vnd.docker.distribution.manifest.v1+"
_DIGEST = "Docker-Content-Digest"
_MAX_TAGS = 10_000
_MAX_PAGES = 1000


class Document(msgspec.Struct, frozen=True):
    """A manifest or index, as the registry sent it. ``digest`` is that of ``data``."""

    media_type: str
    digest: str
    data: bytes


class Fetcher:
    """Reads one repository. ``credentials`` are for the registry itself, mirrors don't see them."""

    def __init__(
        self,
        carrier: transport.Transport,
        repository: reference.Reference,
        credentials: auth.Credentials = auth.NOBODY,
        *,
        mirrors: bool = True,
    ) -> None:
        self._repository = repository
        self._attempts = carrier.settings.attempts
        found = resolver.endpoints(carrier.settings, repository.domain, mirrors=mirrors)
        self._talks = [
            transport.Conversation(carrier, endpoint, credentials, repository.domain)
            for endpoint in found
        ]

    def _path(self, talk: transport.Conversation, tail: str) -> str:
        return f"/v2/{talk.endpoint.repository(self._repository.path)}/{tail}"

    def _scopes(self, talk: transport.Conversation) -> tuple[str, ...]:
        return (f"repository:{talk.endpoint.repository(self._repository.path)}:pull",)

    def _said(self, error: errdefs.FirkinError, target: str) -> errdefs.FirkinError:
        """The error in the words that users of Docker, and their tools, know."""
        named = self._repository.familiar_name
        text = str(error)
        if isinstance(error, errdefs.NotFound) and "name unknown" not in text:
            joint = "@" if ":" in target else ":"
            return errdefs.NotFound(
                f"manifest for {named}{joint}{target} not found: manifest unknown: {text}"
            )
        denied = isinstance(error, errdefs.Unauthorized) and "incorrect" not in text
        if denied or isinstance(error, errdefs.NotFound):
            return errdefs.NotFound(
                f"pull access denied for {named}, repository does not exist or may require "
                f"'docker login': {text}"
            )
        return error

    async def head(self, target: str) -> str:
        """The digest that a tag has now, "" when no endpoint tells. Does not count as a pull."""
        for talk in self._talks:
            try:
                async with talk.request(
                    "HEAD",
                    self._path(talk, f"manifests/{target}"),
                    scopes=self._scopes(talk),
                    headers={"Accept": ACCEPT},
                    what=f"the manifest {target}",
                ) as response:
                    digest = response.headers.get(_DIGEST, "")
                    if reference.is_sha256(digest):
                        return digest
            except errdefs.FirkinError as error:
                log.debug("no digest of %s from %s: %s", target, talk.domain, error)
        return ""

    async def manifest(self, target: str) -> Document:
        """The manifest or index that ``target``, a tag or digest, means.

        Raises ``NotFound``, ``Unauthorized``, ``Unavailable``, and ``InvalidParameter`` for one
        that is not what its digest says, or too large.
        """
        last: errdefs.FirkinError | None = None
        for talk in self._talks:
            try:
                return await self._manifest(talk, target)
            except errdefs.Cancelled:
                raise
            except errdefs.FirkinError as error:
                last = self._said(error, target)
                if talk.endpoint.mirror:
                    log.warning("the mirror %s did not serve: %s", talk.endpoint.host, error)
        assert last is not None
        raise last

    async def _manifest(self, talk: transport.Conversation, target: str) -> Document:
        what = f"the manifest {target} of {self._repository.familiar_name}"
        async with talk.request(
            "GET",
            self._path(talk, f"manifests/{target}"),
            scopes=self._scopes(talk),
            headers={"Accept": ACCEPT},
            what=what,
        ) as response:
            try:
                data = await transport.whole(response, transport.MAX_ANSWER, what)
            except aiohttp.ClientError as error:
                raise failures.from_exception(error, talk.domain, what) from error
            media = response.headers.get("Content-Type", "").partition(";")[0].strip()
            announced = response.headers.get(_DIGEST, "")
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        wanted = target if ":" in target else announced
        if wanted.startswith("sha256:") and wanted != digest:
            raise errdefs.InvalidParameter(
                f"{what}: the registry {talk.domain} sent content with the digest {digest} instead "
                f"of {wanted}: it is damaged or was changed on the way, and is not used"
            )
        if ":" in target and not target.startswith("sha256:"):
            raise errdefs.NotImplemented(f"{what}: only sha256 digests are supported")
        return Document(_media(media, data, what), digest, data)

    async def small(self, descriptor: types.Descriptor, limit: int, what: str) -> bytes:
        """A small blob, whole and verified."""
        if descriptor.size > limit:
            raise errdefs.InvalidParameter(
                f"{what} has {descriptor.size} bytes, the limit is {limit}: the image is damaged "
                "or hostile"
            )
        data = bytearray()
        async for chunk in self.blob(descriptor.digest, descriptor.size, what=what):
            data += chunk
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        if digest != descriptor.digest:
            raise errdefs.InvalidParameter(
                f"{what} has the digest {digest}, it was announced as {descriptor.digest}: the "
                f"registry {self._repository.domain} sent something else, which is not used"
            )
        return bytes(data)

    async def blob(
        self, digest: str, size: int, offset: int = 0, *, what: str = ""
    ) -> AsyncIterator[bytes]:
        """A blob from ``offset`` on, exactly up to ``size``; its digest is the reader's to check.

        A connection that breaks is taken up where it broke, at a mirror or at the registry. Raises
        when nobody serves any more of it, or sends more than it should.
        """
        what = what or f"the blob {digest}"
        at, failed = offset, 0
        talks = list(self._talks)
        while at < size:
            talk = talks[0]
            before = at
            try:
                async for chunk in self._from(talk, digest, size, at, what):
                    at += len(chunk)
                    yield chunk
                if at < size:
                    raise failures.TryAgain(
                        errdefs.Unavailable(
                            f"{what}: the registry {talk.domain} sent {at} of {size} bytes"
                        )
                    )
            except (failures.TryAgain, aiohttp.ClientError, TimeoutError, OSError) as trouble:
                failed = 1 if at > before else failed + 1
                error = (
                    trouble.error
                    if isinstance(trouble, failures.TryAgain)
                    else failures.from_exception(trouble, talk.domain, what)
                )
                if failed >= self._attempts:
                    if len(talks) == 1:
                        raise error from trouble
                    del talks[0]
                    failed = 0
                log.info("%s: at byte %d: %s; trying again", what, at, error)
                await transport.pause(failed)
            except errdefs.Cancelled:
                raise
            except errdefs.FirkinError as error:
                if len(talks) == 1:
                    raise
                log.warning("the mirror %s did not serve: %s", talk.endpoint.host, error)
                del talks[0]

    async def _from(
        self, talk: transport.Conversation, digest: str, size: int, offset: int, what: str
    ) -> AsyncIterator[bytes]:
        """What one request brings of a blob from ``offset`` on."""
        headers = {"Range": f"bytes={offset}-"} if offset else {}
        async with talk.request(
            "GET",
            self._path(talk, f"blobs/{digest}"),
            scopes=self._scopes(talk),
            headers=headers,
            accept=(200, 206),
            what=what,
        ) as response:
            skip = offset
            if response.status == 206:
                skip = offset - range_start(response.headers.get("Content-Range", ""), offset)
                if skip < 0:
                    raise errdefs.System(
                        f"{what}: the registry {talk.domain} sent another range than was asked for"
                    )
            at = offset - skip
            length = response.content_length
            if length is not None and at + length > size:
                raise _too_long(what, talk.domain, size)
            async for chunk in response.content.iter_any():
                at += len(chunk)
                if at > size:
                    raise _too_long(what, talk.domain, size)
                if skip:
                    dropped = min(skip, len(chunk))
                    skip -= dropped
                    chunk = chunk[dropped:]
                if chunk:
                    yield chunk

    async def tags(self) -> list[str]:
        """All tags of the repository."""
        talk = self._talks[-1]
        found: list[str] = []
        url = self._path(talk, "tags/list?n=1000")
        what = f"the tags of {self._repository.familiar_name}"
        for _ in range(_MAX_PAGES):
            try:
                async with talk.request(
                    "GET", url, scopes=self._scopes(talk), what=what
                ) as response:
                    data = await transport.whole(response, transport.MAX_ANSWER, what)
                    more = transport.next_page(talk, response)
            except errdefs.FirkinError as error:
                raise self._said(error, "") from error
            try:
                page = msgspec.json.decode(data, type=_Tags)
            except (msgspec.MsgspecError, UnicodeDecodeError):
                raise errdefs.System(f"{what}: {talk.domain} sent no valid list") from None
            found += page.tags or []
            if len(found) > _MAX_TAGS:
                raise errdefs.InvalidParameter(f"{what}: more than {_MAX_TAGS}: pull them by name")
            if more is None or not page.tags:
                return found
            url = more
        return found


class _Tags(msgspec.Struct):
    tags: list[str] | None = None


class _Kind(msgspec.Struct, rename="camel"):
    schema_version: int = 0
    media_type: str = ""
    manifests: list[msgspec.Raw] | None = None
    layers: list[msgspec.Raw] | None = None


def _too_long(what: str, domain: str, size: int) -> errdefs.InvalidParameter:
    return errdefs.InvalidParameter(
        f"{what}: the registry {domain} sends more than the {size} bytes that it announced: it is "
        "not used; tell whoever runs the registry"
    )


def range_start(header: str, default: int) -> int:
    """Where a Content-Range ("bytes 5-9/10") begins."""
    text = header.strip().removeprefix("bytes").strip().partition("-")[0]
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else default


def _media(header: str, data: bytes, what: str) -> str:
    """What kind of document it is: by itself, by the header, by its members."""
    try:
        kind = msgspec.json.decode(data, type=_Kind)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise errdefs.InvalidParameter(f"{what} is not a valid manifest: {error}") from error
    media = kind.media_type or header
    if kind.schema_version == 1 or media.startswith(_OLD):
        raise errdefs.NotImplemented(
            f"{what} has Docker's schema 1, which nobody writes since 2017 and which cannot be "
            "verified: have the image pushed again with a newer client"
        )
    if kind.manifests is not None and kind.layers is not None:
        raise errdefs.InvalidParameter(f"{what} is both an index and a manifest")
    if media not in (types.MEDIA_OCI_INDEX, types.MEDIA_OCI_MANIFEST,
                     types.MEDIA_DOCKER_INDEX, types.MEDIA_DOCKER_MANIFEST):  # fmt: skip
        media = types.MEDIA_OCI_INDEX if kind.manifests is not None else types.MEDIA_OCI_MANIFEST
    index = media in (types.MEDIA_OCI_INDEX, types.MEDIA_DOCKER_INDEX)
    if index != (kind.manifests is not None):
        raise errdefs.InvalidParameter(f"{what} is not what its media type {media} says")
    return media
