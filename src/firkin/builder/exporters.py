"""Results that leave the engine as files: archives of images, tars and trees of file systems.

They are written below the builder's directory when the build ends, for its client to fetch; what is
not fetched within ten minutes is removed.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import tarfile
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec

from firkin import errdefs, reference
from firkin.builder import stages, trees
from firkin.content import store as contents
from firkin.images import assemble, catalog, diff, save
from firkin.images import service as images
from firkin.linux import tasks
from firkin.snapshots import base
from firkin.types import image as types

_PATIENCE = 600.0
_CHUNK = 1 << 20
_NAME = "io.containerd.image.name"
_REF = "org.opencontainers.image.ref.name"


class Part(msgspec.Struct):
    """The result for one platform: its image, the manifests attached to it, and the annotations of
    its descriptor in an index. ``fresh``: the store did not have the image before."""

    image: types.Image
    ref: trees.Ref
    platform: types.Platform
    attached: list[types.Descriptor] = []
    annotations: dict[str, str] = {}
    fresh: bool = False


class Shelf:
    """Files that wait for their clients, below ``root``."""

    def __init__(self, root: str) -> None:
        self._root = root
        self._tasks = tasks.Tasks("outputs")
        os.makedirs(root, mode=0o700, exist_ok=True)

    def clean(self) -> None:
        """Remove what an earlier engine left. Blocks."""
        for name in os.listdir(self._root):
            base.remove_tree(os.path.join(self._root, name))

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[tuple[str, str]]:
        """A token and the path for its file, which is there for a while after the block."""
        token = secrets.token_hex(16)
        directory = os.path.join(self._root, token)
        os.mkdir(directory, 0o700)
        try:
            yield token, os.path.join(directory, "output")
        except BaseException:
            await asyncio.to_thread(base.remove_tree, directory)
            raise
        self._tasks.spawn(self._expire(directory), f"output {token[:8]}")

    async def _expire(self, directory: str) -> None:
        await asyncio.sleep(_PATIENCE)
        await asyncio.to_thread(base.remove_tree, directory)

    async def read(self, token: str) -> AsyncIterator[bytes]:
        """The file of a token, which is removed. Raises ``NotFound``."""
        directory = os.path.join(self._root, token)
        if not token.isalnum() or not os.path.isdir(directory):
            raise errdefs.NotFound("no such output: build again")

        async def pieces() -> AsyncIterator[bytes]:
            try:
                with open(os.path.join(directory, "output"), "rb", buffering=0) as file:
                    while data := await asyncio.to_thread(file.read, _CHUNK):
                        yield data
            finally:
                await asyncio.to_thread(base.remove_tree, directory)

        return pieces()

    async def close(self) -> None:
        await self._tasks.close()


async def write_rootfs(
    place: trees.Trees, parts: list[Part], path: str, epoch: int | None, *, split: bool = True
) -> None:
    """The file systems of ``parts`` as one tar; several lie in directories by their platform, or
    without ``split`` over each other."""
    async with contextlib.AsyncExitStack() as stack:
        roots = [(part, await stack.enter_async_context(place.view(part.ref))) for part in parts]

        def work() -> None:
            with open(path, "wb") as file:
                for part, root in roots:
                    name = stages.shown(part.platform).replace("/", "_")
                    prefix = f"{name}/" if len(parts) > 1 and split else ""
                    _walk(file, root, prefix, epoch)
                file.write(bytes(1024))

        await asyncio.to_thread(work)


def _walk(file: Any, root: str, prefix: str, epoch: int | None) -> None:
    if prefix:
        file.write(_header(prefix, 0, tarfile.DIRTYPE))
    walker = diff.Walker(epoch, prefix)
    last = b""
    for chunk in walker.run(root):
        file.write(last)
        last = chunk
    # The walker's own end mark comes last: others may follow.


def _header(name: str, size: int, kind: bytes = tarfile.REGTYPE) -> bytes:
    info = tarfile.TarInfo(name)
    info.type, info.size, info.mtime = kind, size, 0
    info.mode = 0o755 if kind == tarfile.DIRTYPE else 0o644
    return info.tobuf(tarfile.PAX_FORMAT)


async def write_archive(
    service: images.ImageService, native: types.Image, top: types.Descriptor, names: list[str],
    path: str, *, docker: bool, indexed: bool,
) -> None:  # fmt: skip
    """An archive that ``load`` takes: of one image as ``save`` makes it, else an OCI layout."""
    if not indexed:
        chosen = [save.Chosen(native, names)]
        pieces = save.archive(
            chosen, service.catalog, service.layers, service.collector, lambda *_: None
        )
        with open(path, "wb") as file:
            async for piece in pieces:
                await asyncio.to_thread(file.write, piece)
        return
    if docker:
        raise errdefs.InvalidParameter(
            "the docker exporter takes one platform and no attestations: use type=oci"
        )
    await asyncio.to_thread(write_blobs, service.layers.store, top, names, path)


def index_of(
    store: contents.Store, known: catalog.Catalog, parts: list[Part], annotations: dict[str, str]
) -> types.Descriptor:
    """An index of all platforms with their attestations, stored. Blocks."""
    manifests: list[types.Descriptor] = []
    for part in parts:
        info = store.info(part.image.manifest)
        media = known.manifest(part.image).media_type or types.MEDIA_OCI_MANIFEST
        manifests.append(
            types.Descriptor(
                media_type=media, digest=info.digest, size=info.size, platform=part.platform,
                annotations=part.annotations or None,
            )
        )  # fmt: skip
    for part in parts:
        manifests += part.attached
    index = types.Index(manifests=manifests, annotations=annotations or None)
    data = msgspec.json.encode(
        {"schemaVersion": 2, "mediaType": types.MEDIA_OCI_INDEX,
         **{k: v for k, v in msgspec.to_builtins(index).items() if k != "mediaType"}}
    )  # fmt: skip
    info = contents.put(store, data)
    return types.Descriptor(media_type=types.MEDIA_OCI_INDEX, digest=info.digest, size=info.size)


def needed(store: contents.Store, digest: str) -> dict[str, int]:
    """All blobs that a stored manifest or index needs, itself included: sizes by digest. Blocks."""
    found: dict[str, int] = {}

    def add(digest: str) -> None:
        if digest in found:
            return
        data = contents.read(store, digest, catalog.MAX_DOCUMENT)
        found[digest] = len(data)
        document = msgspec.json.decode(data)
        for item in document.get("manifests", []):
            add(item["digest"])
        for item in [document.get("config"), *document.get("layers", [])]:
            if item is not None:
                found[item["digest"]] = store.info(item["digest"]).size

    add(digest)
    return found


def write_blobs(store: contents.Store, top: types.Descriptor, names: list[str], path: str) -> None:
    """A stored manifest or index with all that it names as the tar of an OCI layout. Blocks."""
    listed: list[dict[str, Any]] = []
    for name in names or [""]:
        one = msgspec.to_builtins(top)
        if name:
            one["annotations"] = {
                **one.get("annotations", {}),
                _NAME: name,
                _REF: reference.parse(name).tag,
            }
        listed.append(one)
    head = {"schemaVersion": 2, "mediaType": types.MEDIA_OCI_INDEX, "manifests": listed}
    found = needed(store, top.digest)
    with open(path, "wb") as file:
        file.write(_header("blobs/", 0, tarfile.DIRTYPE))
        file.write(_header("blobs/sha256/", 0, tarfile.DIRTYPE))
        for name, value in (("index.json", head), ("oci-layout", {"imageLayoutVersion": "1.0.0"})):
            data = msgspec.json.encode(value)
            file.write(_header(name, len(data)) + data + bytes(-len(data) % 512))
        for digest, size in sorted(found.items()):
            file.write(_header(f"blobs/sha256/{digest.removeprefix('sha256:')}", size))
            for piece in _pieces(store, digest):
                file.write(piece)
            file.write(bytes(-size % 512))
        file.write(bytes(1024))


def _pieces(store: contents.Store, digest: str) -> Iterator[bytes]:
    with store.open(digest) as blob:
        while data := blob.read(_CHUNK):
            yield data


def attach(
    store: contents.Store, image: types.Image, statements: list[dict[str, Any]],
    platform: types.Platform,
) -> types.Descriptor:  # fmt: skip
    """Store in-toto statements as the attestation manifest of an image. Blocks.

    The form is BuildKit's: a manifest of the platform unknown/unknown whose layers are statements
    and whose annotations name the image's manifest.
    """
    layers_: list[types.Descriptor] = []
    diff_ids: list[str] = []
    for statement in statements:
        data = msgspec.json.encode(statement, order="deterministic")
        info = contents.put(store, data)
        diff_ids.append(info.digest)
        layers_.append(
            types.Descriptor(
                media_type="application/vnd.in-toto+json", digest=info.digest, size=info.size,
                annotations={"in-toto.io/predicate-type": statement["predicateType"]},
            )
        )  # fmt: skip
    config = types.ImageConfig(
        architecture="unknown", os="unknown", rootfs=types.RootFS(diff_ids=diff_ids)
    )
    written = contents.put(store, assemble.encode_config(config))
    descriptor = types.Descriptor(
        media_type=types.MEDIA_OCI_CONFIG, digest=written.digest, size=written.size
    )
    info = contents.put(store, assemble.encode_manifest(descriptor, layers_))
    return types.Descriptor(
        media_type=types.MEDIA_OCI_MANIFEST, digest=info.digest, size=info.size,
        platform=types.Platform(architecture="unknown", os="unknown"),
        annotations={
            "vnd.docker.reference.type": "attestation-manifest",
            "vnd.docker.reference.digest": image.manifest,
        },
    )  # fmt: skip
