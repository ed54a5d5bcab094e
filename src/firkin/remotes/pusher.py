"""Blobs and manifests to a registry (distribution-spec, "Push").

A blob that is there is not sent; one that the same registry has in another repository is mounted.
Others go in one stream, or in pieces where the registry does not take a long one; when the line
breaks, the registry is asked how much it has, and gets the rest.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import urllib.parse
from collections.abc import AsyncGenerator, AsyncIterator, Callable

import aiohttp

from firkin import errdefs, reference
from firkin.remotes import auth, failures, resolver, transport

log = logging.getLogger(__name__)

Source = Callable[[int], AsyncIterator[bytes]]
"""The blob's bytes from an offset on; called again for another attempt."""

Advance = Callable[[int], None]
"""Told how many bytes the registry was sent so far."""

_PIECE = 16 << 20


class Pusher:
    """Writes to one repository."""

    def __init__(
        self,
        carrier: transport.Transport,
        repository: reference.Reference,
        credentials: auth.Credentials = auth.NOBODY,
    ) -> None:
        self.repository = repository
        self._attempts = carrier.settings.attempts
        endpoint = resolver.origin(carrier.settings, repository.domain)
        self._talk = transport.Conversation(carrier, endpoint, credentials, repository.domain)
        self._pieces = False

    def _path(self, tail: str) -> str:
        return f"/v2/{self.repository.path}/{tail}"

    def _scopes(self, source: str = "") -> tuple[str, ...]:
        mine = f"repository:{self.repository.path}:pull,push"
        return (mine, f"repository:{source}:pull") if source else (mine,)

    async def exists(self, digest: str) -> bool:
        """Whether the repository has the blob."""
        async with self._talk.request(
            "HEAD",
            self._path(f"blobs/{digest}"),
            scopes=self._scopes(),
            accept=(200, 404),
            what=f"the blob {digest}",
        ) as response:
            return response.status == 200

    async def mount(self, digest: str, source: str) -> bool:
        """Take the blob over from the repository ``source`` of the same registry, if it will."""
        query = urllib.parse.urlencode({"mount": digest, "from": source})
        try:
            async with self._talk.request(
                "POST",
                self._path(f"blobs/uploads/?{query}"),
                scopes=self._scopes(source),
                headers={"Content-Length": "0"},
                accept=(201, 202),
                what=f"mounting {digest} from {source}",
            ) as response:
                if response.status == 201:
                    return True
                location = self._talk.joined(
                    str(response.url), response.headers.get("Location", "")
                )
            await self._give_up(location)
        except errdefs.FirkinError as error:
            log.debug("cannot mount: %s", error)
        return False

    async def _give_up(self, location: str) -> None:
        async with self._talk.request(
            "DELETE", location, scopes=self._scopes(), accept=(200, 202, 204, 404, 405)
        ):
            pass

    async def upload(self, source: Source, size: int, advance: Advance) -> tuple[str, int]:
        """Send a blob whose digest is known only at its end; ``size`` is -1 when unknown too.

        Returns the digest and the size of what was sent. The registry verifies it.
        """
        what = f"a blob of {self.repository.familiar_name}"
        last: errdefs.FirkinError | None = None
        attempt = 0
        while True:
            upload = _Upload(self._talk, self._scopes(), what, self._pieces)
            try:
                await upload.begin(self._path("blobs/uploads/"))
                return await self._sent(upload, source, size, advance)
            except failures.TryAgain as trouble:
                last = trouble.error
            except errdefs.System as error:
                if "413" not in str(error) or upload.pieces:
                    raise
                self._pieces = True
                continue
            attempt += 1
            if attempt >= self._attempts:
                raise last
            await transport.pause(attempt)

    async def _sent(
        self, upload: _Upload, source: Source, size: int, advance: Advance
    ) -> tuple[str, int]:
        failed = 0
        while True:
            before = upload.at
            try:
                await upload.send(source, size, advance)
                return await upload.end()
            except failures.TryAgain as trouble:
                failed = 1 if upload.at > before else failed + 1
                if failed >= self._attempts:
                    raise trouble.error from trouble
                log.info("%s: %s; trying again", upload.what, trouble.error)
                await transport.pause(failed)
                await upload.ask()

    async def manifest(self, target: str, media_type: str, data: bytes) -> str:
        """Put a manifest under a tag or its digest; returns the digest."""
        digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
        async with self._talk.request(
            "PUT",
            self._path(f"manifests/{target}"),
            scopes=self._scopes(),
            headers={"Content-Type": media_type},
            data=data,
            accept=(200, 201, 202),
            what=f"the manifest {target} of {self.repository.familiar_name}",
        ) as response:
            answered = response.headers.get("Docker-Content-Digest", digest)
        if answered.startswith("sha256:") and answered != digest:
            raise errdefs.System(
                f"the registry {self.repository.domain} stored the manifest as {answered} instead "
                f"of {digest}: do not trust it"
            )
        return digest


async def _close(stream: AsyncIterator[bytes]) -> None:
    """End a source, which a request that has just been given up may still be reading."""
    assert isinstance(stream, AsyncGenerator)
    for _ in range(200):
        try:
            await stream.aclose()
            return
        except RuntimeError:
            await asyncio.sleep(0.05)


class _Upload:
    """One upload session: where it is at the registry, and how far."""

    def __init__(
        self, talk: transport.Conversation, scopes: tuple[str, ...], what: str, pieces: bool
    ) -> None:
        self.what = what
        self.at = 0
        self._talk = talk
        self._scopes = scopes
        self.pieces = pieces
        self._location = ""
        self._hash = hashlib.sha256()
        self._hashed = 0

    async def begin(self, path: str) -> None:
        async with self._talk.request(
            "POST",
            path,
            scopes=self._scopes,
            headers={"Content-Length": "0"},
            accept=(202,),
            what=self.what,
        ) as response:
            self._move(response)

    def _move(self, response: aiohttp.ClientResponse) -> None:
        location = response.headers.get("Location", "")
        if location:
            self._location = self._talk.joined(str(response.url), location)

    async def send(self, source: Source, size: int, advance: Advance) -> None:
        """Send what the registry does not have yet."""
        stream = source(self.at)
        try:
            while True:
                ended = await self._patch(stream, size, advance)
                if ended:
                    return
        finally:
            await _close(stream)

    async def _patch(self, stream: AsyncIterator[bytes], size: int, advance: Advance) -> bool:
        """One PATCH: all that is left, or a piece of it. Tells whether the stream has ended."""
        start, ended = self.at, False
        sent = 0
        headers = {"Content-Type": "application/octet-stream"}

        async def body() -> AsyncIterator[bytes]:
            nonlocal sent, ended
            async for chunk in stream:
                self._take(chunk, start + sent)
                sent += len(chunk)
                advance(start + sent)
                yield chunk
            ended = True

        data: AsyncIterator[bytes] | bytes = body()
        if self.pieces:
            piece = bytearray()
            async for chunk in body():
                piece += chunk
                if len(piece) >= _PIECE:
                    break
            data = bytes(piece)
            headers["Content-Range"] = f"{start}-{start + len(piece) - 1}"
            if not piece:
                return True
        elif size >= 0:
            headers["Content-Length"] = str(size - start)
        async with self._talk.request(
            "PATCH",
            self._location,
            scopes=self._scopes,
            headers=headers,
            data=data,
            accept=(201, 202, 204),
            what=self.what,
            retry=False,
        ) as response:
            self._move(response)
        self.at = start + sent
        return ended

    def _take(self, chunk: bytes, offset: int) -> None:
        """Hash what was not hashed before: a later attempt sends some of it again."""
        known = self._hashed - offset
        if known < len(chunk):
            fresh = chunk[max(0, known) :]
            self._hash.update(fresh)
            self._hashed += len(fresh)

    async def ask(self) -> None:
        """Learn from the registry how much it has."""
        async with self._talk.request(
            "GET", self._location, scopes=self._scopes, accept=(204, 200, 202), what=self.what
        ) as response:
            self._move(response)
            end = response.headers.get("Range", "").rpartition("-")[2]
        have = int(end) + 1 if end.isascii() and end.isdigit() and end != "0" else 0
        self.at = min(have, self._hashed)

    async def end(self) -> tuple[str, int]:
        """All is sent: have the registry verify and keep it."""
        digest = f"sha256:{self._hash.hexdigest()}"
        joint = "&" if urllib.parse.urlsplit(self._location).query else "?"
        async with self._talk.request(
            "PUT",
            f"{self._location}{joint}digest={urllib.parse.quote(digest)}",
            scopes=self._scopes,
            headers={"Content-Length": "0"},
            accept=(201, 204),
            what=self.what,
        ):
            pass
        return digest, self._hashed
