"""Loading images from an archive: the tars of ``docker save``, ``podman save`` and skopeo.

Two layouts, alone or both in one archive::

    docker-archive    manifest.json: [{"Config": PATH, "RepoTags": [...], "Layers": [PATH, ...]}]
    OCI layout        oci-layout, index.json, blobs/sha256/<hex>

Members come in any order, usually the layers first. So every member that looks like a layer is
received as one (:mod:`firkin.images.layers`) when it comes by, and small documents are kept; when
the stream has ended, manifest.json or index.json says what they all are, and what no image needs
is dropped again. A layer that is named by its digest may be left out when it is here already. A
blob whose name promises a digest must have it. Nothing is added to the catalogue before the whole
archive was read and verified.

From an index of several platforms the host's is chosen. The format of Docker before 1.10 (no
manifest.json) is refused with a message that says so.
"""

from __future__ import annotations

import asyncio
import posixpath
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from firkin import errdefs, reference
from firkin.content import store as contents
from firkin.images import assemble, catalog, layers, platforms, stream, tarstream, unpack, variants
from firkin.types import base
from firkin.types import image as types

_MAX_DOCUMENTS = 64 << 20
_OFTEN = 0.1  # seconds between messages about a layer
_MAX_MEMBERS = 100_000
_BLOBS = "blobs/sha256/"
_INDEXES = (types.MEDIA_OCI_INDEX, types.MEDIA_DOCKER_INDEX)
_MANIFESTS = (types.MEDIA_OCI_MANIFEST, types.MEDIA_DOCKER_MANIFEST)
_NAME = "io.containerd.image.name"
_REF = "org.opencontainers.image.ref.name"


class _Entry(msgspec.Struct, rename="pascal"):
    """One image of manifest.json."""

    config: str
    repo_tags: list[str] = []
    layers: list[str] = []


def _bad(why: str) -> errdefs.InvalidParameter:
    return errdefs.InvalidParameter(f"cannot load the image archive: {why}")


class Archive:
    """What an archive held: documents by name, layers by name, links between names."""

    def __init__(self, store: contents.Store) -> None:
        self._store = store
        self.documents: dict[str, bytes] = {}
        self.layers: dict[str, layers.Received] = {}
        self.links: dict[str, str] = {}

    def _name(self, name: str) -> str:
        """Follow links. Names are keys here, never paths of this machine."""
        name = posixpath.normpath(name)
        for _ in range(16):
            if name not in self.links:
                break
            name = self.links[name]
        return name

    def _elsewhere(self, name: str) -> layers.Received | None:
        """A layer that the archive names by its digest and leaves out, when it is here."""
        digest = f"sha256:{name.removeprefix(_BLOBS)}"
        if not name.startswith(_BLOBS) or not reference.is_sha256(digest):
            return None
        if not self._store.exists(digest):
            return None
        with self._store.open(digest) as blob:
            compression = unpack.sniff(blob.read(6))
        return layers.Received(self._store.info(digest), compression)

    def document(self, name: str, what: str) -> bytes:
        found = self.documents.get(self._name(name))
        if found is None:
            raise _bad(f"{what} {name[:200]!r} is not in it, or is not a small document")
        return found

    def layer(self, name: str) -> layers.Received:
        found = self.layers.get(self._name(name)) or self._elsewhere(name)
        if found is None:
            raise _bad(f"the layer {name[:200]!r} is not in it, or is no layer")
        return found


class Receiver:
    """Reads an archive in a thread. ``archive`` may be used, or dropped, when it has ended."""

    def __init__(
        self, owner: layers.Layers, known: catalog.Catalog, loop: asyncio.AbstractEventLoop,
        progress: Callable[[dict[str, Any]], None] | None = None,
    ) -> None:  # fmt: skip
        """``progress`` gets Docker's messages about each layer on the loop."""
        self._owner = owner
        self._known = known
        self._loop = loop
        self._progress = progress
        self._said = 0.0
        self._kept = 0
        self.archive = Archive(owner.store)

    def receive(self, buffer: stream.Buffer) -> Archive:
        """Read it all. Raises ``InvalidParameter``; ``archive`` then holds what to drop."""
        reader = tarstream.Reader(buffer.take)
        kind = unpack.sniff(reader.peek(6))
        if not kind:
            self._read(reader)
            return self.archive
        plain = stream.Buffer()
        limit = self._owner.limits.size

        def forward(parts: Sequence[unpack.Buffer]) -> None:
            for part in parts:
                plain.put(bytes(part))

        inflater = unpack.Inflater(
            kind,
            self._owner.scratch,
            forward,
            limit,
        )

        def pump() -> None:
            error: BaseException | None = None
            try:
                for parts in reader.rest():
                    inflater.write(parts)
                inflater.finish()
            except BaseException as failure:
                error = failure
            plain.finish(error)

        pumping = threading.Thread(target=pump, name="firkin-outer", daemon=True)
        pumping.start()
        try:
            self._read(tarstream.Reader(plain.take))
        finally:
            plain.abandon()
            buffer.abandon()
            buffer.finish(errdefs.Cancelled("the archive is not read any further"))
            inflater.kill()
            pumping.join()
            inflater.close()
        return self.archive

    def _read(self, reader: tarstream.Reader) -> None:
        seen: set[str] = set()
        for member in reader.members():
            name = posixpath.normpath(member.name)
            if member.name.startswith("/") or name.startswith("../") or name == "..":
                raise _bad(f"the member {member.name[:200]!r} leads out of the archive")
            if member.kind == "directory":
                continue
            if name in seen:
                raise _bad(f"it has two members {name[:200]!r}")
            seen.add(name)
            if len(seen) > _MAX_MEMBERS:
                raise _bad(f"it has more than {_MAX_MEMBERS} members")
            if member.kind in ("link", "hardlink"):
                start = posixpath.dirname(name) if member.kind == "link" else ""
                target = posixpath.normpath(posixpath.join(start, member.target))
                if target.startswith(("/", "../")) or target == "..":
                    raise _bad(f"the link {name[:200]!r} leads out of the archive")
                self.archive.links[name] = target
            elif member.kind == "file":
                self._file(reader, name, member.size)
        if not seen:
            raise _bad("it is empty")

    def _file(self, reader: tarstream.Reader, name: str, size: int) -> None:
        digest = ""
        if name.startswith(_BLOBS):
            digest = "sha256:" + name[len(_BLOBS) :]
            if not reference.is_sha256(digest):
                raise _bad(f"{name[:200]!r} is not the name of a blob")
        head = reader.head()
        compression = unpack.sniff(head)
        if compression in ("gzip", "zstd") or tarstream.is_header(head):
            self._layer(reader, name, size, digest)
        elif compression:
            raise _bad(f"the layer {name[:200]!r} is compressed with {compression}: use gzip")
        elif size <= catalog.MAX_DOCUMENT:
            self._kept += size
            if self._kept > _MAX_DOCUMENTS:
                raise _bad(f"its documents have more than {_MAX_DOCUMENTS >> 20} MiB")
            data = reader.content()
            if digest and catalog.digest_of(data) != digest:
                raise _bad(f"{name[:200]!r} has the digest {catalog.digest_of(data)}")
            self.archive.documents[name] = data

    def _layer(self, reader: tarstream.Reader, name: str, size: int, digest: str) -> None:
        head = reader.head()
        if digest and digest in self._known.blobs and not unpack.sniff(head):
            # A plain layer of an image that is here: its name says all.
            info = self._owner.store.info(digest) if self._owner.store.exists(digest) else None
            if info is not None and info.size == size:
                reader.skip()
                self.archive.layers[name] = layers.Received(info, "", digest)
                return
        sink = self._owner.sink(self._loop, head, name)
        try:
            current = 0
            for parts in reader.data():
                sink.write(parts)
                current += sum(len(part) for part in parts)
                self._say(name, digest, current, size)
            self.archive.layers[name] = sink.finish(digest, size)
        finally:
            sink.close()

    def _say(self, name: str, digest: str, current: int, size: int) -> None:
        now = time.monotonic()
        if self._progress is not None and (now - self._said > _OFTEN or current == size):
            self._said = now
            message = {
                "status": "Loading layer",
                "progressDetail": {"current": current, "total": size},
                "id": (digest.removeprefix("sha256:") or name)[:12],
            }
            self._loop.call_soon_threadsafe(self._progress, message)


def _docker(archive: Archive, known: catalog.Catalog, owner: layers.Layers) -> list[assemble.Parts]:
    try:
        entries = base.decode(list[_Entry], archive.document("manifest.json", "the list"))
    except errdefs.InvalidParameter as error:
        raise _bad(f"manifest.json is not valid: {error}") from error
    images: list[assemble.Parts] = []
    for entry in entries:
        config = archive.document(entry.config, "the config")
        digest = posixpath.basename(entry.config).removesuffix(".json")
        if reference.is_sha256(f"sha256:{digest}") and catalog.digest_of(config) != (
            f"sha256:{digest}"
        ):
            raise _bad(f"the config {entry.config[:200]!r} has another digest than its name says")
        names = [str(reference.parse(name).tagged()) for name in entry.repo_tags]
        found = [_shared(archive.layer(name), known, owner) for name in entry.layers]
        images.append(assemble.Parts(config, found, names))
    return images


def _shared(
    layer: layers.Received, known: catalog.Catalog, owner: layers.Layers
) -> layers.Received:
    """The layer as it is stored already, when an image that is here has it compressed."""
    stored = known.blobs.get(layer.diff_id)
    if (
        stored is None
        or stored.digest == layer.blob.digest
        or not owner.store.exists(stored.digest)
    ):
        return layer
    again = assemble.stored(owner.store, stored)
    layer.blob, layer.compression = again.blob, again.compression
    return layer


def _oci(archive: Archive, wanted: types.Platform | None) -> list[assemble.Parts]:
    images: list[assemble.Parts] = []

    def manifests(data: bytes, depth: int, name: str) -> list[tuple[bytes, str]]:
        index = base.decode(types.Index, data)
        if depth > 4:
            raise _bad("its indexes are nested too deep")
        choices = index.manifests if depth == 0 else platforms.choose(index.manifests, wanted)
        found: list[tuple[bytes, str]] = []
        for item in choices:
            notes = item.annotations or {}
            label = name or notes.get(_NAME, "") or notes.get(_REF, "")
            if item.media_type in _INDEXES and wanted is None and label:
                images.extend(_all(archive, item, label))
            elif item.media_type in _INDEXES:
                inner = archive.document(_blob(item), "the index")
                found += manifests(inner, depth + 1, label)
            elif item.media_type in _MANIFESTS:
                found.append((archive.document(_blob(item), "the manifest"), label))
        return found

    layout = archive.document("index.json", "the index")
    top = base.decode(types.Index, layout)
    if len(top.manifests) > 1 and all(item.platform for item in top.manifests):
        labels = {(item.annotations or {}).get(_REF, "") for item in top.manifests}
        if len(labels) == 1:
            top = types.Index(manifests=platforms.choose(top.manifests, wanted))
            layout = msgspec.json.encode(top)
    for data, label in manifests(layout, 0, ""):
        parsed = _name(label)
        images.append(_parts(archive, data, [str(parsed)] if parsed is not None else []))
    return images


def _blob(descriptor: types.Descriptor) -> str:
    if not reference.is_sha256(descriptor.digest):
        raise _bad(f"{descriptor.digest[:200]!r} is not a sha256 digest")
    return _BLOBS + descriptor.digest[len("sha256:") :]


def _name(label: str) -> reference.Reference | None:
    """The name that an annotation means: a bare tag ("latest") is no name of an image."""
    if ":" not in label and "/" not in label:
        return None
    try:
        return reference.parse(label).tagged()
    except errdefs.InvalidParameter:
        return None


def _parts(archive: Archive, data: bytes, names: list[str]) -> assemble.Parts:
    manifest = catalog.decode_manifest(data)
    config = archive.document(_blob(manifest.config), "the config")
    found = [archive.layer(_blob(item)) for item in manifest.layers]
    return assemble.Parts(config, found, names, data)


def _all(archive: Archive, item: types.Descriptor, label: str) -> list[assemble.Parts]:
    """All images of an index that are in the archive, as a pull for each platform leaves them:
    the host's has the name, the others stand behind it (see ``variants``)."""
    text = archive.document(_blob(item), "the index")
    index = base.decode(types.Index, text)
    found: dict[str, assemble.Parts] = {}
    about: dict[str, list[bytes]] = {}
    for inner in index.manifests:
        data = archive.documents.get(_blob(inner))
        if data is None:
            continue
        subject = (inner.annotations or {}).get(variants.SUBJECT)
        if subject:
            about[subject] = [*about.get(subject, []), *_attestation(archive, data)]
        elif inner.media_type in _MANIFESTS:
            found[inner.digest] = _parts(archive, data, [])
    here = [inner for inner in index.manifests if inner.digest in found]
    chosen = (platforms.choose(here) or here)[:1]
    parsed = _name(label)
    if parsed is None:
        return [found[one.digest] for one in chosen]
    for digest, parts in found.items():
        named = [digest]
        parts.documents = about.get(digest, [])
        if digest == chosen[0].digest:
            named = [item.digest, digest]
            parts.names, parts.target = [str(parsed)], item.digest
            parts.documents = [text, *parts.documents]
        parts.names += [str(reference.Reference(parsed.domain, parsed.path, "", one))
                        for one in named]  # fmt: skip
    return list(found.values())


def _attestation(archive: Archive, data: bytes) -> list[bytes]:
    """An attestation manifest and its blobs, as far as they are in the archive."""
    manifest = catalog.decode_manifest(data)
    blobs = [archive.documents.get(_blob(one)) for one in (manifest.config, *manifest.layers)]
    return [data, *(one for one in blobs if one is not None)]


def plan(
    archive: Archive, known: catalog.Catalog, owner: layers.Layers, wanted: Sequence[str] = ()
) -> list[assemble.Parts]:
    """The images that an archive describes, for the platforms ``wanted``, by default the host's.

    Raises ``InvalidParameter``, and ``NotFound`` when it has none for such a platform.
    """
    if wanted and "index.json" in archive.documents:
        return [part for text in wanted for part in _for_platform(archive, text)]
    if _nested(archive):
        images = _oci(archive, None)
    elif "manifest.json" in archive.documents:
        images = _docker(archive, known, owner)
    elif "index.json" in archive.documents:
        images = _oci(archive, None)
    elif "repositories" in archive.documents:
        raise _bad("it is of Docker before 1.10: load it there and save it again with a newer one")
    else:
        raise _bad("it has neither manifest.json nor index.json: for a root file system use import")
    if not images:
        raise _bad("it names no image for this machine")
    for text in wanted:
        _suitable(images, variants.parse(text))
    return images


def _nested(archive: Archive) -> bool:
    """Whether the archive has images for several platforms, each set as an index of its own."""
    try:
        top = base.decode(types.Index, archive.documents.get("index.json", b"{}"))
    except errdefs.InvalidParameter:
        return False
    return any(
        item.media_type in _INDEXES and _blob(item) in archive.documents for item in top.manifests
    )


def _for_platform(archive: Archive, text: str) -> list[assemble.Parts]:
    platform = variants.parse(text)
    images = _oci(archive, platform)
    _suitable(images, platform)
    return images


def _suitable(images: list[assemble.Parts], platform: types.Platform) -> None:
    for part in images:
        config = catalog.decode_config(part.config)
        found = types.Platform(
            os=config.os, architecture=config.architecture, variant=config.variant
        )
        if not platforms.suits(found, platform):
            images = []
    if not images:
        raise errdefs.NotFound(
            f"cannot load the image archive: it has no image for {platforms.show(platform)}"
        )
