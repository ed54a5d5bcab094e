"""Saving images: one tar that is a docker-archive and an OCI layout at once.

::

    oci-layout, index.json      what image-spec says; names are annotations of the descriptors
    manifest.json, repositories what Docker reads
    blobs/sha256/<hex>          configs and manifests, then layers, each once

The order and all bytes depend on the images alone, so saving twice gives the same file. Layers go
out as they are stored; only zstd ones are unpacked, for readers that know just gzip.
"""

from __future__ import annotations

import asyncio
import tarfile
from collections.abc import AsyncIterator, Sequence
from typing import Any

import msgspec

from firkin import errdefs, reference
from firkin.content import store as contents
from firkin.images import assemble, catalog, gc, layers, packing, remove, variants
from firkin.types import base
from firkin.types import image as types

_CHUNK = 1 << 20
_NAME = "io.containerd.image.name"
_REF = "org.opencontainers.image.ref.name"


class Chosen(msgspec.Struct):
    """An image to save and the canonical names it is to have in the archive.

    ``index`` is what the names mean when that is an index of which everything is here.
    """

    image: types.Image
    names: list[str] = []
    variants: list[types.Image] = []
    index: types.Descriptor | None = None


def choose(
    known: catalog.Catalog,
    names: Sequence[str],
    others: variants.Variants,
    platforms: Sequence[str] = (),
) -> list[Chosen]:
    """What ``names`` mean: a tag, a repository with all its tags, or an id without any name.

    With ``platforms`` it is the variants for those, by default all that are here. Raises
    ``NotFound``, and ``InvalidParameter`` when there are no names.
    """
    if not names:
        raise errdefs.InvalidParameter("name at least one image to save")
    found: dict[str, Chosen] = {}

    def take(image: types.Image, names: Sequence[str]) -> None:
        behind = others.behind(image)
        index = None
        if platforms:
            shown = reference.parse(names[0]).familiar if names else image.id
            image, *behind = [others.find(image, platform, shown) for platform in platforms]
        else:
            index = others.whole(image, names[0] if names else "")
        chosen = found.setdefault(image.id, Chosen(image, variants=behind, index=index))
        chosen.names += [name for name in names if name not in chosen.names]

    for name in names:
        try:
            parsed = reference.parse(name)
        except errdefs.InvalidParameter:
            take(known.resolve(name), ())
            continue
        tags = (
            []
            if parsed.tag or parsed.digest
            else [other for other in sorted(known.names) if other.startswith(f"{parsed.name}:")]
        )
        if tags:
            for tag in tags:
                take(known.images[known.names[tag]], (tag,))
            continue
        image = known.resolve(name)
        canonical = str(parsed.tagged())
        take(image, (canonical,) if canonical in image.refs else ())
    return list(found.values())


def _header(name: str, size: int) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode, info.mtime = size, 0o644, 0
    return info.tobuf(tarfile.GNU_FORMAT)


def _directory(name: str) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.mode, info.mtime = tarfile.DIRTYPE, 0o755, 0
    return info.tobuf(tarfile.GNU_FORMAT)


def _member(name: str, data: bytes) -> bytes:
    return _header(name, len(data)) + data + b"\0" * (-len(data) % 512)


def _path(digest: str) -> str:
    return f"blobs/sha256/{digest.removeprefix('sha256:')}"


class _Plan:
    """All of the archive but its layers' bytes."""

    def __init__(self) -> None:
        self.documents: dict[str, bytes] = {}
        self.layers: dict[str, int] = {}


def _document(
    image: types.Image, known: catalog.Catalog, store: contents.Store, scratch: str, plan: _Plan
) -> tuple[bytes, types.Manifest]:
    """The manifest that the image is to have in the archive; it and the config go to ``plan``."""
    text = contents.read(store, image.manifest, catalog.MAX_DOCUMENT)
    manifest = catalog.decode_manifest(text)
    if any("zstd" in layer.media_type for layer in manifest.layers):
        manifest.layers = [
            packing.inflate(store, layer, scratch) if "zstd" in layer.media_type else layer
            for layer in manifest.layers
        ]
        text = assemble.encode_manifest(manifest.config, manifest.layers)
    plan.documents[_path(image.id)] = contents.read(store, image.id, catalog.MAX_DOCUMENT)
    plan.documents[_path(catalog.digest_of(text))] = text
    return text, manifest


def _nested(top: types.Descriptor, store: contents.Store, plan: _Plan) -> bytes | None:
    """The text of an index whose blobs all go to ``plan``; None when some have to be changed."""
    text = contents.read(store, top.digest, catalog.MAX_DOCUMENT)
    found: dict[str, tuple[bytes, types.Manifest]] = {}
    for item in base.decode(types.Index, text).manifests:
        data = contents.read(store, item.digest, catalog.MAX_DOCUMENT)
        found[item.digest] = data, catalog.decode_manifest(data)
    if any("zstd" in layer.media_type for _, one in found.values() for layer in one.layers):
        return None
    plan.documents[_path(top.digest)] = text
    for digest, (data, manifest) in found.items():
        plan.documents[_path(digest)] = data
        config = manifest.config.digest
        plan.documents[_path(config)] = contents.read(store, config, catalog.MAX_DOCUMENT)
        for layer in manifest.layers:
            plan.layers[layer.digest] = store.info(layer.digest).size
    return text


def _described(
    names: Sequence[str], platform: types.Platform | None, text: bytes
) -> list[types.Descriptor]:
    """What index.json says of an image, or of an index: once for each of its names."""
    found = []
    media = msgspec.json.decode(text, type=_Typed).media_type
    for name in names or [""]:
        notes = {_NAME: name, _REF: reference.parse(name).tag} if name else None
        found.append(
            types.Descriptor(
                media_type=media or types.MEDIA_OCI_MANIFEST,
                digest=catalog.digest_of(text),
                size=len(text),
                annotations=notes,
                platform=platform,
            )
        )
    return found


class _Typed(msgspec.Struct, rename="camel"):
    media_type: str = ""


def _plan(
    chosen: Sequence[Chosen],
    known: catalog.Catalog,
    store: contents.Store,
    scratch: str,
    without: frozenset[str],
) -> _Plan:
    plan = _Plan()
    listed: list[dict[str, Any]] = []
    index: list[types.Descriptor] = []
    repositories: dict[str, dict[str, str]] = {}
    for item in chosen:
        whole = _nested(item.index, store, plan) if item.index is not None else None
        for image in (item.image, *item.variants):
            text, manifest = _document(image, known, store, scratch, plan)
            for layer in manifest.layers:
                if layer.digest not in without:
                    plan.layers[layer.digest] = store.info(layer.digest).size
            if image is item.image:  # the older layout knows no platforms
                listed.append(
                    {
                        "Config": _path(image.id),
                        "RepoTags": [reference.parse(name).familiar for name in item.names],
                        "Layers": [_path(layer.digest) for layer in manifest.layers],
                    }
                )
            if whole is None:
                index += _described(item.names, variants.platform_of(image), text)
        if whole is not None:
            index += _described(item.names, None, whole)
        for name in item.names:
            parsed = reference.parse(name)
            if item.image.top:
                tags = repositories.setdefault(parsed.familiar_name, {})
                tags[parsed.tag] = item.image.top.removeprefix("sha256:")
    encode = msgspec.json.encode
    head = {"schemaVersion": 2, "mediaType": types.MEDIA_OCI_INDEX, "manifests": index}
    plan.documents["index.json"] = encode(head)
    plan.documents["manifest.json"] = encode(listed)
    plan.documents["oci-layout"] = encode({"imageLayoutVersion": "1.0.0"})
    if repositories:
        plan.documents["repositories"] = encode(repositories, order="deterministic")
    return plan


async def archive(
    chosen: Sequence[Chosen],
    known: catalog.Catalog,
    owner: layers.Layers,
    collector: gc.Collector,
    on_event: remove.OnEvent,
    without: frozenset[str] = frozenset(),
) -> AsyncIterator[bytes]:
    """The tar's bytes. A lease is held until the last one, or until the iterator is closed."""
    store = owner.store
    async with collector.lease():
        plan = await asyncio.to_thread(_plan, chosen, known, store, owner.scratch, without)
        small = [_directory("blobs/"), _directory("blobs/sha256/")]
        small += [_member(name, data) for name, data in sorted(plan.documents.items())]
        yield b"".join(small)
        for digest, size in sorted(plan.layers.items()):
            yield _header(_path(digest), size)
            blob = await asyncio.to_thread(store.open, digest)
            sent = 0
            try:
                while data := await asyncio.to_thread(blob.read, _CHUNK):
                    sent += len(data)
                    yield data
            finally:
                blob.close()
            if sent != size:
                raise errdefs.System(f"the blob {digest} has lost bytes: load the image again")
            yield b"\0" * (-size % 512)
        yield b"\0" * 1024
    for item in chosen:
        on_event("save", item.image.id, {"name": item.image.id})
