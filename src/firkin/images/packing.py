"""Compressing plain layers.

The layers of images that are made here are stored as plain tars. On their way to a registry, or
into an index (whose digest says everything, so nothing can be changed on the way), they are gzip or
zstd. The same layer always becomes the same bytes: a broken upload can go on anywhere, and engines
that have the same image have it under the same digest.
"""

from __future__ import annotations

import asyncio
from typing import Any, Protocol

import msgspec
import zstandard
from isal import isal_zlib

from firkin import errdefs
from firkin.content import store as contents
from firkin.images import unpack
from firkin.store import db
from firkin.store import distribution as rows
from firkin.types import image as types

CHUNK = 1 << 20
PLAIN = "uncompressed"
_GZIP = range(10)
_ZSTD = range(1, 23)
_DEFAULT = {"gzip": 2, "zstd": 3}


def kind_of(media_type: str) -> str:
    """How a layer of that media type is compressed: gzip, zstd or uncompressed."""
    return "zstd" if "zstd" in media_type else "gzip" if "gzip" in media_type else PLAIN


class Compression(msgspec.Struct, frozen=True):
    """How layers are to be compressed: ``kind`` is gzip, zstd or uncompressed.

    ``force`` is for layers that are compressed in another way already, such as those of a base.
    """

    kind: str = "gzip"
    level: int = -1
    force: bool = False

    @property
    def usual(self) -> bool:
        """Whether it is what a push does by itself."""
        return self.kind == "gzip" and self.level in (-1, _DEFAULT["gzip"])

    def fits(self, media_type: str) -> bool:
        """Whether a layer of that media type may stay as it is."""
        found = kind_of(media_type)
        return found == self.kind or (found != PLAIN and not self.force)


def parse(kind: str, level: str, force: str) -> Compression | None:
    """The options of an output; None when they say nothing. Raises ``InvalidParameter``."""
    if not (kind or level or force):
        return None
    kind = kind or "gzip"
    if kind not in ("gzip", "zstd", PLAIN):
        raise errdefs.InvalidParameter(
            f"compression={kind[:40]}: not supported: write gzip, zstd or uncompressed"
        )
    number = -1
    if level:
        allowed = _ZSTD if kind == "zstd" else _GZIP
        if not level.isdigit() or int(level) not in allowed:
            raise errdefs.InvalidParameter(
                f"compression-level={level[:40]}: write {allowed[0]} to {allowed[-1]} for {kind}"
            )
        number = int(level)
    return Compression(kind, number, force in ("true", "1"))


class Packer(Protocol):
    """A compressor under way."""

    def compress(self, data: bytes) -> bytes: ...

    def flush(self) -> bytes: ...


def packer(wanted: Compression) -> Packer:
    """A compressor whose output depends on its input alone, given in pieces of ``CHUNK``."""
    level = wanted.level if wanted.level >= 0 else _DEFAULT[wanted.kind]
    made: Any
    if wanted.kind == "zstd":
        made = zstandard.ZstdCompressor(level=level).compressobj()
    elif level > 3:
        import zlib

        made = zlib.compressobj(level, wbits=31)
    else:
        made = isal_zlib.compressobj(level, wbits=31)
    packing: Packer = made
    return packing


def packed(digest: str, size: int, kind: str = "gzip") -> types.Descriptor:
    """The descriptor of a compressed layer."""
    return types.Descriptor(media_type=f"{types.MEDIA_OCI_LAYER}+{kind}", digest=digest, size=size)


def pack(store: contents.Store, plain: str, wanted: Compression) -> types.Descriptor:
    """Store the compressed form of the plain layer ``plain``. Blocks."""
    writer = store.writer()
    work = packer(wanted)
    try:
        with store.open(plain) as blob:
            while data := blob.read(CHUNK):
                writer.write(work.compress(data))
        writer.write(work.flush())
        info = writer.commit()
    finally:
        writer.abort()
    return packed(info.digest, info.size, wanted.kind)


def inflate(store: contents.Store, layer: types.Descriptor, scratch: str) -> types.Descriptor:
    """Store the plain form of a compressed layer. Blocks; ``scratch`` is an empty directory."""
    writer = store.writer()
    try:
        kind = kind_of(layer.media_type)
        inflater = unpack.Inflater(kind, scratch, writer.writev, unpack.Limits().size)
        try:
            with store.open(layer.digest) as blob:
                while data := blob.read(CHUNK):
                    inflater.write((data,))
            inflater.finish()
        finally:
            inflater.close()
        info = writer.commit()
    finally:
        writer.abort()
    return types.Descriptor(media_type=types.MEDIA_OCI_LAYER, digest=info.digest, size=info.size)


class Press:
    """Layers in the form that is wanted. What was compressed once is found again."""

    def __init__(self, database: db.Database, store: contents.Store, scratch: str) -> None:
        self._db = database
        self._store = store
        self._scratch = scratch

    async def layer(self, item: types.Descriptor, wanted: Compression) -> types.Descriptor:
        """The layer as it is when it fits, else as it is wanted. The caller holds a lease."""
        if wanted.fits(item.media_type):
            return item
        if kind_of(item.media_type) != PLAIN:
            item = await asyncio.to_thread(inflate, self._store, item, self._scratch)
        if wanted.kind == PLAIN:
            return item
        plain = item.digest
        if wanted.usual:
            known = await self._db.run(lambda c: rows.compressed(c, plain))
            if known is not None and self._store.exists(known[0]):
                return packed(*known)
        made = await asyncio.to_thread(pack, self._store, plain, wanted)
        if wanted.usual:
            await self._db.run(lambda c: rows.set_compressed(c, plain, made.digest, made.size))
        return made
