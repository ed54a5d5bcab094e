"""Blobs that are elsewhere: in a registry, in an OCI layout, at a client."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator
from typing import BinaryIO, Protocol

from firkin import errdefs, reference
from firkin.images import layers, stream
from firkin.linux import regular
from firkin.remotes import fetcher
from firkin.types import image as types

LIMIT = 32 << 20
"""Bytes of a document that is read whole."""


class Blobs(Protocol):
    """A place with blobs, by their digests."""

    def read(self, descriptor: types.Descriptor) -> AsyncIterator[bytes]:
        """The bytes of a blob, which nobody has verified. Raises ``FirkinError`` or ``OSError``."""
        ...


class Place(Blobs, Protocol):
    """A place that takes blobs, too."""

    async def write(self, item: types.Descriptor, pieces: AsyncIterator[bytes]) -> None:
        """Keep a blob there. One that is there already is fine. Raises ``Unavailable``."""
        ...


class Registry:
    """Blobs of a repository."""

    def __init__(self, source: fetcher.Fetcher) -> None:
        self._source = source

    def read(self, descriptor: types.Descriptor) -> AsyncIterator[bytes]:
        """See ``Blobs.read``."""
        return self._source.blob(descriptor.digest, descriptor.size)


class Directory:
    """Blobs of an OCI layout in a directory, which a client has sent."""

    def __init__(self, root: str) -> None:
        self._root = root

    def path(self, digest: str) -> str:
        """Where a blob is. Raises ``InvalidParameter``."""
        return os.path.join(self._root, "blobs", "sha256", checked(digest)[len("sha256:") :])

    def open(self, path: str) -> BinaryIO:
        """A regular file of the directory: no link, FIFO or device.

        Blocks. Raises ``OSError``.
        """
        inner = os.path.relpath(path, self._root)
        return open(regular.descriptor(self._root, inner, links=False), "rb", buffering=0)

    def small(self, path: str) -> bytes:
        """The content of a small file. Blocks. Raises ``OSError`` and ``InvalidParameter``."""
        with self.open(path) as file:
            data = file.read(LIMIT + 1)
        if len(data) > LIMIT:
            raise errdefs.InvalidParameter(f"the directory has a document above {LIMIT} bytes")
        return data

    async def read(self, descriptor: types.Descriptor) -> AsyncIterator[bytes]:
        """See ``Blobs.read``."""
        with await asyncio.to_thread(self.open, self.path(descriptor.digest)) as file:
            while data := await asyncio.to_thread(file.read, 1 << 20):
                yield data


def checked(digest: str) -> str:
    """A digest that is one. Raises ``InvalidParameter``."""
    if not reference.is_sha256(digest):
        raise errdefs.InvalidParameter(f"{digest[:80]!r} is not a digest sha256:<hex>")
    return digest


async def document(source: Blobs, item: types.Descriptor) -> bytes:
    """A small blob, whole and verified. Raises ``InvalidParameter`` when it is not what it is
    called."""
    parts: list[bytes] = []
    size = 0
    async for data in source.read(item):
        parts.append(data)
        size += len(data)
        if size > LIMIT:
            raise errdefs.InvalidParameter(
                f"the document {item.digest} has more than {LIMIT} bytes"
            )
    found = b"".join(parts)
    if f"sha256:{hashlib.sha256(found).hexdigest()}" != checked(item.digest):
        raise errdefs.InvalidParameter(f"the blob {item.digest} is damaged: it has another digest")
    return found


async def layer(
    source: Blobs, owner: layers.Layers, item: types.Descriptor, what: str
) -> layers.Received:
    """Bring a layer here; ``what`` is for errors. Whoever gets it places or discards it."""
    loop = asyncio.get_running_loop()

    def work(buffer: stream.Buffer) -> layers.Received:
        first = buffer.take()
        sink = owner.sink(loop, b"".join(first)[:512], item.digest)
        try:
            sink.write(first)
            while chunks := buffer.take():
                sink.write(chunks)
            return sink.finish(item.digest, item.size)
        finally:
            sink.close()

    return await stream.consume(source.read(item), work, what)
