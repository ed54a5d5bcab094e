"""Base images out of OCI layouts that are elsewhere (``oci-layout://``)."""

from __future__ import annotations

import asyncio
import os

import msgspec

from firkin import errdefs
from firkin.builder import blobs
from firkin.images import assemble, catalog, layers, platforms
from firkin.images import service as images
from firkin.types import base
from firkin.types import image as types

_REF = "org.opencontainers.image.ref.name"
_NAME = "io.containerd.image.name"
_DEPTH = 4


class Layout:
    """A ``request.Layout``: the image whose manifest, or index, is ``top`` among ``source``.

    The images that come out of it are in the store without a name, like any that has lost its tag.
    """

    def __init__(
        self, store: images.ImageService, source: blobs.Blobs, top: types.Descriptor
    ) -> None:
        self._images = store
        self._source = source
        self._top = top

    async def image(self, platform: types.Platform) -> types.Image:
        """See ``request.Layout.image``."""
        data = await self._document(self._top)
        for _ in range(_DEPTH):
            listed = base.decode(types.Index, data).manifests if b'"manifests"' in data else None
            if listed is None:
                break
            chosen = platforms.choose(listed, platform)
            if not chosen:
                raise errdefs.NotFound(
                    f"the OCI layout has no image for {platforms.show(platform)} at "
                    f"{self._top.digest}"
                )
            data = await self._document(chosen[0])
        manifest = catalog.decode_manifest(data)
        config = await self._document(manifest.config)
        owner = self._images.layers
        chain = layers.chain_ids(catalog.decode_config(config).rootfs.diff_ids)
        received: list[layers.Received] = []
        async with self._images.collector.lease():
            try:
                for item, identity in zip(manifest.layers, chain, strict=False):
                    if await owner.has(identity) and owner.store.exists(item.digest):
                        received.append(assemble.stored(owner.store, item))
                    else:
                        received.append(
                            await blobs.layer(self._source, owner, item, "read the OCI layout")
                        )
                parts = assemble.Parts(config, received, [], data)
                return await assemble.assemble(parts, owner, self._images.catalog)
            finally:
                for one in received:
                    await owner.discard(one)

    async def _document(self, item: types.Descriptor) -> bytes:
        try:
            return await blobs.document(self._source, item)
        except OSError as error:
            raise errdefs.NotFound(
                f"the OCI layout has no blob {item.digest}: {error.strerror}"
            ) from error


async def in_directory(store: images.ImageService, root: str, tag: str, digest: str) -> Layout:
    """The image of a layout that is a directory, by digest, by tag, or the only one it has.

    Raises ``NotFound`` when there is none, ``InvalidParameter`` for a layout that is none.
    """
    source = blobs.Directory(root)
    if digest:
        blobs.checked(digest)
        return Layout(store, source, types.Descriptor(digest=digest, size=-1))
    try:
        data = await asyncio.to_thread(source.small, os.path.join(root, "index.json"))
        index = base.decode(types.Index, data)
    except (OSError, msgspec.MsgspecError) as error:
        raise errdefs.InvalidParameter(f"the directory is no OCI layout: {error}") from error
    named = [one for one in index.manifests if tag in _names(one)]
    found = named or (index.manifests if not tag and len(index.manifests) == 1 else [])
    if not found:
        known = sorted({name for one in index.manifests for name in _names(one)})
        raise errdefs.NotFound(
            f"the OCI layout has no image {tag or 'latest'!r}"
            + (f": it has {', '.join(known)[:500]}" if known else "")
        )
    return Layout(store, source, found[0])


def _names(item: types.Descriptor) -> set[str]:
    notes = item.annotations or {}
    names = {notes.get(_REF, ""), notes.get(_NAME, "")} - {""}
    return names | {name.rpartition(":")[2] for name in names if ":" in name}
