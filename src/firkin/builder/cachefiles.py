"""The build cache elsewhere: in a registry, in a directory of the client, inside of an image.

A cache is an image manifest whose config, instead of an image's, lists *records*: the definition
key of a step and which of the manifest's layers, bottom first, are its file system; and *mounts*:
cache mounts, each one layer. An image with its cache inside (``inline``) has the records in a
member of its config, counted in layers from the bottom.

Importing reads the list only. A layer is fetched when a build comes to a step whose key leads to
it, and then it is a record like those made here.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import os
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from firkin import errdefs, reference
from firkin.builder import blobs, cache, graph, imaging, request, solver, steps, trees
from firkin.content import store as contents
from firkin.images import assemble, catalog, diff, layers, stream, unpack
from firkin.remotes import auth, fetcher, pusher, transport
from firkin.types import image as types

MEDIA = "application/vnd.firkin.buildcache.config.v1+json"
INLINE = "firkin.buildcache.v1"


class Record(msgspec.Struct):
    """A step's result: its key, and its layers as indexes of the manifest's."""

    key: str
    layers: list[int]
    created: float = 0.0
    description: str = ""


class Mount(msgspec.Struct):
    """A cache mount and the layer that holds its files."""

    id: str
    layer: int


class Document(msgspec.Struct):
    """The config of a cache. ``diff_ids`` are of the layers, in order."""

    records: list[Record]
    diff_ids: list[str] = []
    mounts: list[Mount] = []


class Imported:
    """A cache to look into. ``solver.Solver`` asks it for keys it does not find itself."""

    def __init__(
        self, workshop: steps.Workshop, document: Document, items: list[types.Descriptor],
        source: blobs.Blobs,
    ) -> None:  # fmt: skip
        self._workshop = workshop
        self._document = document
        self._items = items
        self._blobs = source
        self._records = {record.key: record for record in document.records}
        self._one = asyncio.Lock()

    async def find(self, key: str) -> cache.Record | None:
        """The record of a definition key, brought here. Failures make it a miss."""
        record = self._records.get(key)
        if record is None:
            return None
        async with self._one:
            known = self._workshop.cache.find(key)
            if known is not None:
                return known
            try:
                return await self._bring(record)
            except (errdefs.FirkinError, OSError):
                del self._records[key]
                return None

    async def _bring(self, record: Record) -> cache.Record | None:
        owner = self._workshop.trees.owner
        known = self._workshop.cache
        parent = ""
        made: cache.Record | None = None
        diff_ids = [self._document.diff_ids[at] for at in record.layers]
        with contextlib.ExitStack() as held:
            for at, diff_id, chain in zip(
                record.layers, diff_ids, layers.chain_ids(diff_ids), strict=True
            ):
                held.enter_context(known.pinned(chain))
                if not await owner.has(chain):
                    received = await blobs.layer(
                        self._blobs, owner, self._items[at], "fetch cached layer"
                    )
                    try:
                        await owner.place(received, diff_id, chain, parent)
                    finally:
                        await owner.discard(received)
                made = cache.Record(
                    id=cache.new_id(), kind=cache.REGULAR, snapshot=chain, parent=parent,
                    description=record.description, created=record.created, diff_id=diff_id,
                    size=(await owner.snapshots.stat(chain)).size,
                )  # fmt: skip
                last = at == record.layers[-1] and chain == layers.chain_ids(diff_ids)[-1]
                await known.add(made, [record.key] if last else [])
                parent = chain
        return made

    async def mounts(self) -> None:
        """Bring the cache mounts that are not here yet."""
        store = self._workshop.mounts
        for mount in self._document.mounts:
            if store.find(mount.id):
                continue
            item = self._items[mount.layer]

            def work(buffer: stream.Buffer, place: str, digest: str) -> None:
                extraction = unpack.Extraction(place, limits=unpack.Limits(), kind="owners")
                try:
                    hasher = hashlib.sha256()
                    while chunks := buffer.take():
                        for chunk in chunks:
                            hasher.update(chunk)
                        extraction.write(chunks)
                    extraction.finish()
                    if digest != f"sha256:{hasher.hexdigest()}":
                        raise errdefs.InvalidParameter(
                            f"a cache mount of the build cache has not the digest {digest}"
                        )
                finally:
                    extraction.close()

            async with store.making(mount.id) as place:
                unpacked = functools.partial(work, place=place, digest=item.digest)
                await stream.consume(self._blobs.read(item), unpacked, "fetch a cache mount")


def opened(
    workshop: steps.Workshop, manifest: types.Manifest, config: bytes, source: blobs.Blobs
) -> Imported:
    """The cache of a manifest: one of its own, or inside of an image.

    Raises ``NotFound`` where there is none, and ``InvalidParameter`` for one that is damaged.
    """
    try:
        document = _document(manifest, config)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise errdefs.InvalidParameter(f"the build cache is damaged: {error}") from error
    count = len(manifest.layers)
    used = [at for record in document.records for at in record.layers]
    used += [mount.layer for mount in document.mounts]
    if len(document.diff_ids) != count or any(not 0 <= at < count for at in used):
        raise errdefs.InvalidParameter("the build cache is damaged: its layers do not fit")
    return Imported(workshop, document, manifest.layers, source)


def _document(manifest: types.Manifest, config: bytes) -> Document:
    if manifest.config.media_type == MEDIA:
        return msgspec.json.decode(config, type=Document)
    members = msgspec.json.decode(config, type=dict[str, msgspec.Raw])
    if INLINE not in members:
        raise errdefs.NotFound("the image has no build cache in it")
    rootfs = msgspec.json.decode(members.get("rootfs", b"{}"), type=dict[str, Any])
    return Document(
        records=msgspec.json.decode(members[INLINE], type=list[Record]),
        diff_ids=msgspec.convert(rootfs.get("diff_ids", []), list[str]),
    )


async def from_registry(
    workshop: steps.Workshop, carrier: transport.Transport, name: str, who: auth.Credentials
) -> Imported:
    """The cache that a name means at its registry."""
    parsed = reference.parse(name).tagged()
    source = fetcher.Fetcher(carrier, parsed, who)
    found = await source.manifest(parsed.digest or parsed.tag)
    document = found.data
    if b'"manifests"' in document:
        index = msgspec.json.decode(document, type=types.Index)
        real = [m for m in index.manifests if m.platform is None or m.platform.os != "unknown"]
        if not real:
            raise errdefs.NotFound(f"{name} has no image")
        document = (await source.manifest(real[0].digest)).data
    manifest = catalog.decode_manifest(document)
    config = await source.small(manifest.config, blobs.LIMIT, "the config of the build cache")
    return opened(workshop, manifest, config, blobs.Registry(source))


def from_directory(workshop: steps.Workshop, root: str) -> Imported:
    """The cache of an OCI layout in a directory. Blocks."""
    source = blobs.Directory(root)
    try:
        data = source.small(os.path.join(root, "index.json"))
        index = msgspec.json.decode(data, type=types.Index)
        manifest = catalog.decode_manifest(source.small(source.path(index.manifests[0].digest)))
        config = source.small(source.path(manifest.config.digest))
    except (OSError, IndexError, msgspec.MsgspecError) as error:
        raise errdefs.NotFound(f"there is no build cache in the directory: {error}") from error
    return opened(workshop, manifest, config, source)


async def from_blobs(workshop: steps.Workshop, source: blobs.Blobs, digest: str) -> Imported:
    """The cache whose manifest has that digest, at a client."""
    top = types.Descriptor(digest=blobs.checked(digest), size=-1)
    manifest = catalog.decode_manifest(await blobs.document(source, top))
    return opened(workshop, manifest, await blobs.document(source, manifest.config), source)


# Export


class Exporter:
    """Makes caches of what a build has solved. The caller holds a lease."""

    def __init__(
        self, workshop: steps.Workshop, imager: imaging.Imager, store: contents.Store
    ) -> None:
        self._workshop = workshop
        self._imager = imager
        self._store = store

    async def document(
        self, vertices: list[graph.Vertex], solved: solver.Solver, *, mounts: bool
    ) -> tuple[Document, list[types.Descriptor]]:
        """The records of ``vertices`` and the layers that they need."""
        found = Document(records=[])
        items: list[types.Descriptor] = []
        places: dict[str, int] = {}

        def add(layer: imaging.Layer) -> int:
            # The same layer on another parent is the same blob.
            if layer.diff_id not in places:
                places[layer.diff_id] = len(items)
                items.append(layer.descriptor)
                found.diff_ids.append(layer.diff_id)
            return places[layer.diff_id]

        for vertex in vertices:
            if isinstance(vertex.op, graph.Source):
                continue
            record = await solved.peek(vertex)
            if record is None:
                continue
            stack = await self._imager.layers(trees.Ref(record.id, record=record), None, None)
            found.records.append(Record(
                await solved.definition(vertex), [add(layer) for layer in stack],
                record.created, record.description,
            ))  # fmt: skip
        if mounts:
            await self._mounts(vertices, found, add)
        return found, items

    async def _mounts(
        self, vertices: list[graph.Vertex], found: Document, add: Callable[[imaging.Layer], int]
    ) -> None:
        wanted = {
            one.id or one.target for vertex in vertices if isinstance(vertex.op, graph.Run)
            for one in vertex.op.mounts if one.type == "cache"
        }  # fmt: skip
        for identity in sorted(wanted):
            for record in self._workshop.mounts.find(identity)[:1]:
                info = await asyncio.to_thread(self._tar, self._workshop.mounts.path(record))
                descriptor = types.Descriptor(
                    media_type=types.MEDIA_OCI_LAYER, digest=info.digest, size=info.size
                )
                found.mounts.append(Mount(identity, add(imaging.Layer(info.digest, descriptor))))

    def _tar(self, directory: str) -> contents.Info:
        writer = self._store.writer()
        try:
            for chunk in diff.Walker().run(directory):
                writer.write(chunk)
            return writer.commit()
        finally:
            writer.abort()

    def store(self, document: Document, items: list[types.Descriptor]) -> types.Descriptor:
        """Store config and manifest; the descriptor of the manifest. Blocks."""
        config = contents.put(self._store, msgspec.json.encode(document))
        descriptor = types.Descriptor(media_type=MEDIA, digest=config.digest, size=config.size)
        info = contents.put(self._store, assemble.encode_manifest(descriptor, items))
        return types.Descriptor(
            media_type=types.MEDIA_OCI_MANIFEST, digest=info.digest, size=info.size
        )


def needed(targets: list[graph.Vertex], mode: str) -> list[graph.Vertex]:
    """The steps that a cache of this mode has: all, or with "min" those of the result's layers."""
    if mode == "max":
        return graph.ancestors(targets)
    found: list[graph.Vertex] = []
    for target in targets:
        vertex: graph.Vertex | None = target
        while vertex is not None:
            found.append(vertex)
            vertex = vertex.inputs[0] if vertex.inputs else None
    return found


async def push(
    carrier: transport.Transport, store: contents.Store, top: types.Descriptor, name: str,
    who: auth.Credentials, tag: str = "",
) -> None:  # fmt: skip
    """Push a stored manifest or index with all that it names, under the tag of ``name``, or under
    ``tag`` (which may be a digest)."""
    parsed = reference.parse(name).tagged()
    target = pusher.Pusher(carrier, parsed, who)
    await _push(target, store, top, tag or parsed.tag)


async def _push(
    target: pusher.Pusher, store: contents.Store, item: types.Descriptor, tag: str
) -> None:
    data = await asyncio.to_thread(contents.read, store, item.digest, catalog.MAX_DOCUMENT)
    document = msgspec.json.decode(data)
    for inner in document.get("manifests", []):
        one = msgspec.convert(inner, types.Descriptor)
        await _push(target, store, one, one.digest)
    for blob in [document.get("config"), *document.get("layers", [])]:
        if blob is None or await target.exists(blob["digest"]):
            continue

        def source(offset: int, digest: str = blob["digest"]) -> AsyncIterator[bytes]:
            return pieces(store, digest, offset)

        await target.upload(source, blob["size"], lambda _: None)
    await target.manifest(tag, item.media_type or document["mediaType"], data)


async def pieces(store: contents.Store, digest: str, offset: int = 0) -> AsyncIterator[bytes]:
    """The bytes of a stored blob."""
    blob = await asyncio.to_thread(store.open, digest)
    try:
        blob.seek(offset)
        while data := await asyncio.to_thread(blob.read, 1 << 20):
            yield data
    finally:
        blob.close()


def inline(config: bytes, records: list[Record]) -> bytes:
    """An image's config with its cache in it."""
    members: dict[str, Any] = msgspec.json.decode(config)
    members[INLINE] = msgspec.to_builtins(records)
    return msgspec.json.encode(members)


def name_of(source: request.CacheSource) -> str:
    """The name of a registry's cache. Raises ``InvalidParameter`` when there is none."""
    name = source.options.get("ref", "")
    if not name:
        raise errdefs.InvalidParameter("a registry's cache needs its name: type=registry,ref=NAME")
    return name
