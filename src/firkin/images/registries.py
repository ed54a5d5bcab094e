"""What is asked of registries without an image coming or going."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec

from firkin import errdefs, reference
from firkin.images import catalog
from firkin.remotes import auth, config, download, fetcher, login, pusher, search, transport
from firkin.types import base
from firkin.types import image as types

_INDEXES = (types.MEDIA_OCI_INDEX, types.MEDIA_DOCKER_INDEX)
_CONFIGS = (types.MEDIA_OCI_CONFIG, types.MEDIA_DOCKER_CONFIG)


class Registries:
    """See the module's description."""

    def __init__(self, carrier: transport.Transport) -> None:
        self.transport = carrier

    @property
    def settings(self) -> config.Settings:
        return self.transport.settings

    async def login(self, address: str, credentials: auth.Credentials) -> str:
        """Check credentials; returns an identity token to keep instead of a password, or ""."""
        token = await login.login(self.transport, address, credentials)
        return token.identity if token is not None else ""

    async def search(
        self, term: str, limit: int, credentials: auth.Credentials = auth.NOBODY
    ) -> list[search.Result]:
        """Repositories that match ``term``."""
        return await search.search(self.transport, term, limit, credentials)

    def _source(self, name: reference.Reference, credentials: auth.Credentials) -> fetcher.Fetcher:
        return fetcher.Fetcher(self.transport, name, credentials)

    async def manifest(self, name: str, credentials: auth.Credentials) -> fetcher.Document:
        """The manifest or index that ``name`` means at its registry."""
        wanted = reference.parse(name).tagged()
        return await self._source(wanted, credentials).manifest(wanted.digest or wanted.tag)

    async def put_manifest(
        self, name: str, media_type: str, data: bytes, credentials: auth.Credentials
    ) -> str:
        """Write a manifest or index under a tag or its digest; returns the digest."""
        if len(data) > transport.MAX_ANSWER:
            raise errdefs.InvalidParameter(
                f"the manifest has more than {transport.MAX_ANSWER} bytes, which is the limit"
            )
        wanted = reference.parse(name).tagged()
        target = pusher.Pusher(self.transport, wanted, credentials)
        return await target.manifest(wanted.digest or wanted.tag, media_type, data)

    async def mount(
        self, name: str, digests: list[str], source: str, credentials: auth.Credentials
    ) -> list[str]:
        """Make blobs of ``source`` be in the repository ``name`` too; tells which are not."""
        wanted = reference.parse(name)
        target = pusher.Pusher(self.transport, wanted, credentials)
        path = reference.parse(source).path

        async def there(digest: str) -> bool:
            return await target.exists(digest) or await target.mount(digest, path)

        found = [await there(digest) for digest in digests]
        return [digest for digest, here in zip(digests, found, strict=True) if not here]

    async def platform(
        self, name: str, item: types.Descriptor, credentials: auth.Credentials
    ) -> types.Platform:
        """The platform that an image's config blob says. Raises ``InvalidParameter``."""
        wanted = reference.parse(name)
        source = self._source(wanted, credentials)
        text = await source.small(item, catalog.MAX_DOCUMENT, f"the config of {wanted.familiar}")
        config = catalog.decode_config(text)
        return types.Platform(
            architecture=config.architecture,
            os=config.os,
            os_version=config.os_version,
            variant=config.variant,
        )

    async def describe(self, name: str, credentials: auth.Credentials) -> dict[str, Any]:
        """DistributionInspect: the descriptor and the platforms of ``name``."""
        document = await self.manifest(name, credentials)
        platforms: list[types.Platform] = []
        if document.media_type in _INDEXES:
            index = base.decode(types.Index, document.data)
            platforms = [item.platform for item in index.manifests if item.platform is not None]
        else:
            manifest = catalog.decode_manifest(document.data)
            if manifest.config.media_type in _CONFIGS:
                platforms = [await self.platform(name, manifest.config, credentials)]
        descriptor = {
            "mediaType": document.media_type,
            "digest": document.digest,
            "size": len(document.data),
        }
        return {"Descriptor": descriptor, "Platforms": msgspec.to_builtins(platforms)}

    def download(self, url: str) -> AsyncIterator[bytes]:
        """The bytes at a web address, for an import. Raises ``InvalidParameter`` at once."""
        return download.fetch(self.transport, url if "://" in url else f"http://{url}")

    async def close(self) -> None:
        """End all connections."""
        await asyncio.shield(self.transport.close())
