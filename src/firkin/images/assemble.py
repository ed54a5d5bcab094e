"""Making an image out of its parts: config, layers and names."""

from __future__ import annotations

import asyncio

import msgspec

from firkin import errdefs
from firkin.content import store as contents
from firkin.images import catalog as catalogs
from firkin.images import layers as layering
from firkin.types import image as types


def encode_manifest(
    config: types.Descriptor,
    layers: list[types.Descriptor],
    annotations: dict[str, str] | None = None,
) -> bytes:
    """An image manifest as JSON text."""
    return msgspec.json.encode(
        _Manifest(config=config, layers=layers, annotations=annotations or msgspec.UNSET)
    )


def encode_config(config: types.ImageConfig) -> bytes:
    """An image config as JSON text, with the members that image-spec requires."""
    members = {
        **msgspec.to_builtins(config),
        "config": msgspec.to_builtins(config.config),
        "rootfs": {"type": "layers", "diff_ids": config.rootfs.diff_ids},
    }
    return msgspec.json.encode(members)


def stored(store: contents.Store, descriptor: types.Descriptor) -> layering.Received:
    """A layer that is in the content store already."""
    media = descriptor.media_type
    compression = "gzip" if media.endswith("gzip") else "zstd" if "zstd" in media else ""
    return layering.Received(store.info(descriptor.digest), compression)


class Parts(msgspec.Struct):
    """An image to be: ``manifest`` is b"" when one has to be written; ``documents`` are to be
    stored beside it, such as the index that it came from; ``target`` is the digest of what its
    names mean, by default the manifest's."""

    config: bytes
    layers: list[layering.Received]
    names: list[str] = []
    manifest: bytes = b""
    parent: str = ""
    documents: list[bytes] = []
    target: str = ""


async def assemble(parts: Parts, layers: layering.Layers, catalog: catalogs.Catalog) -> types.Image:
    """Place the layers, store the documents, add the image to the catalogue.

    Verified on the way: as many layers as diff ids, and each layer's diff id. The caller holds a
    lease, so nothing of this is garbage before the image refers to it.
    """
    config = catalogs.decode_config(parts.config)
    diff_ids = config.rootfs.diff_ids
    if len(diff_ids) != len(parts.layers):
        raise errdefs.InvalidParameter(
            f"the image has {len(parts.layers)} layers but its config names {len(diff_ids)}"
        )
    parent, size = "", 0
    for layer, diff_id, chain in zip(
        parts.layers, diff_ids, layering.chain_ids(diff_ids), strict=True
    ):
        await layers.place(layer, diff_id, chain, parent)
        size += (await layers.snapshots.stat(chain)).size
        parent = chain

    def documents() -> str:
        for data in (parts.config, *parts.documents):
            contents.put(layers.store, data)
        manifest = parts.manifest
        if not manifest:
            descriptor = types.Descriptor(
                media_type=types.MEDIA_OCI_CONFIG,
                digest=catalogs.digest_of(parts.config),
                size=len(parts.config),
            )
            manifest = encode_manifest(descriptor, [layer.descriptor for layer in parts.layers])
        return contents.put(layers.store, manifest).digest

    manifest = await asyncio.to_thread(documents)
    row = catalogs.make_row(parts.config, manifest, parent, size, parts.parent)
    return await catalog.add(row, parts.names, parts.target)


class _Manifest(msgspec.Struct, kw_only=True, rename="camel"):
    """image-spec manifest, written with all the members that readers insist on."""

    schema_version: int = 2
    media_type: str = types.MEDIA_OCI_MANIFEST
    config: types.Descriptor
    layers: list[types.Descriptor]
    annotations: dict[str, str] | msgspec.UnsetType = msgspec.UNSET
