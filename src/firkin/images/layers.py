"""Layers on their way from a stream of bytes to a blob and a committed snapshot.

::

    bytes ──┬─> content store (digest)
            └─> [inflate worker] ──> diff id ──> unpack worker ──> active snapshot "extract-..."

All of it happens at once, while the bytes arrive. A layer gets its place on its parent when the
image's config says which that is (:meth:`Layers.place`); with a snapshotter that cannot do that
(``rebases`` is false), or for a blob that was there before, it is unpacked then, from the store.

Interrupted anywhere, an active snapshot "extract-..." or an unreferenced blob is left at most:
``firkin.images.gc`` removes both.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import weakref
from collections.abc import Coroutine, Sequence
from typing import Any, TypeVar

import msgspec

from firkin import errdefs
from firkin.content import store as contents
from firkin.images import room, stream, unpack
from firkin.snapshots import snapshotter
from firkin.types import image as types

T = TypeVar("T")
Buffer = bytes | bytearray | memoryview

EXTRACT_PREFIX = "extract-"
_MEDIA = {"": "", "gzip": "+gzip", "zstd": "+zstd"}


class Received(msgspec.Struct):
    """A layer that is in the content store.

    ``diff_id`` is "" when not known yet; ``key`` the active snapshot that holds it unpacked, or ""
    when there is none (any more); ``unpacked`` bytes are in its files, which take ``disk`` on the
    disk.
    """

    blob: contents.Info
    compression: str
    diff_id: str = ""
    key: str = ""
    unpacked: int = 0
    disk: int = -1

    @property
    def descriptor(self) -> types.Descriptor:
        media = types.MEDIA_OCI_LAYER + _MEDIA.get(self.compression, "")
        return types.Descriptor(media_type=media, digest=self.blob.digest, size=self.blob.size)


def chain_ids(diff_ids: Sequence[str]) -> list[str]:
    """The chain id of each layer, bottom first (image-spec, "Layer ChainID")."""
    chain: list[str] = []
    for diff_id in diff_ids:
        if chain:
            text = f"{chain[-1]} {diff_id}".encode()
            chain.append(f"sha256:{hashlib.sha256(text).hexdigest()}")
        else:
            chain.append(diff_id)
    return chain


class Layers:
    """Makes snapshots out of layers. ``scratch`` is an empty directory to confine inflaters to."""

    def __init__(
        self,
        store: contents.Store,
        snapshots: snapshotter.Snapshotter,
        scratch: str,
        limits: unpack.Limits,
    ) -> None:
        self.store = store
        self.snapshots = snapshots
        self.limits = limits
        self.room = room.Room()
        self.scratch = scratch
        self._places: weakref.WeakValueDictionary[str, asyncio.Lock] = weakref.WeakValueDictionary()
        os.makedirs(scratch, mode=0o700, exist_ok=True)

    def sink(
        self,
        loop: asyncio.AbstractEventLoop,
        head: bytes,
        name: str,
        resumed: contents.Resumed | None = None,
    ) -> Sink:
        """Begin to receive a layer; ``name`` is for error messages. Call it in a thread.

        With ``resumed`` the blob goes there, and what is not finished of it is kept.
        """
        return Sink(self, loop, head, name, resumed=resumed)

    async def has(self, chain: str) -> bool:
        """Whether the layer is there, unpacked."""
        try:
            return (await self.snapshots.stat(chain)).kind == "committed"
        except errdefs.NotFound:
            return False

    async def place(self, layer: Received, diff_id: str, chain: str, parent: str) -> None:
        """Make the committed snapshot ``chain`` on ``parent``, unless it is there."""
        lock = self._places.setdefault(chain, asyncio.Lock())
        async with lock:
            await self._place(layer, diff_id, chain, parent)

    async def _place(self, layer: Received, diff_id: str, chain: str, parent: str) -> None:
        if await self.has(chain):
            return
        if not layer.key:
            await self._apply(layer, diff_id, parent)
        if layer.diff_id != diff_id:
            raise errdefs.InvalidParameter(
                f"the layer {layer.blob.digest} has the diff id {layer.diff_id}, the image's "
                f"config says {diff_id}: the archive is damaged or was changed"
            )
        self.room.keep(max(0, layer.disk - layer.unpacked))
        key, layer.key = layer.key, ""
        try:
            await self.snapshots.commit(
                key, chain, parent=parent, size=layer.unpacked, disk=layer.disk
            )
        except errdefs.Conflict:
            await self.snapshots.remove(key)
            if not await self.has(chain):
                raise

    async def _apply(self, layer: Received, diff_id: str, parent: str) -> None:
        loop = asyncio.get_running_loop()

        def work() -> Received:
            with self.store.open(layer.blob.digest) as blob:
                head = blob.read(512)
                sink = Sink(self, loop, head, layer.blob.digest, stored=layer.blob, parent=parent)
                try:
                    sink.write((head,))
                    while data := blob.read(1 << 20):
                        sink.write((data,))
                    return sink.finish()
                finally:
                    sink.close()

        applied = await stream.in_own_thread(work, "firkin-apply")
        layer.key, layer.diff_id = applied.key, applied.diff_id
        layer.unpacked, layer.disk = applied.unpacked, applied.disk

    async def discard(self, layer: Received) -> None:
        """Drop the unpacked files of a layer that got no place."""
        if layer.key:
            key, layer.key = layer.key, ""
            await self.snapshots.remove(key)


class Sink:
    """Receives one layer. Lives in one thread; ``close`` undoes all that ``finish`` has not done.

    With ``stored`` the blob is in the store already and is only unpacked, on ``parent``.
    """

    def __init__(
        self,
        owner: Layers,
        loop: asyncio.AbstractEventLoop,
        head: bytes,
        name: str,
        *,
        stored: contents.Info | None = None,
        parent: str = "",
        resumed: contents.Resumed | None = None,
    ) -> None:
        self._owner = owner
        self._loop = loop
        self._name = name
        self._stored = stored
        self._hash = hashlib.sha256()
        self.compression = unpack.sniff(head)
        self._resumed = resumed
        self._writer: contents.Writer | None = resumed
        self._inflater: unpack.Inflater | None = None
        self._extraction: unpack.Extraction | None = None
        self._key = ""
        self._claim = owner.room.claim()
        rebases = owner.snapshots.rebases
        try:
            owner.room.check()
            if stored is None and resumed is None:
                self._writer = owner.store.writer()
            if rebases or stored is not None:
                key = EXTRACT_PREFIX + secrets.token_hex(16)
                self._wait(owner.snapshots.prepare(key, "" if rebases else parent))
                self._key = key
                directory = self._wait(owner.snapshots.directory(key))
                self._extraction = unpack.Extraction(
                    directory, rebases=rebases, limits=owner.limits
                )
            if self.compression:
                # A plain layer's diff id is its digest; what else passes is counted twice at most.
                limit = owner.limits.size + (owner.limits.entries << 11)
                self._inflater = unpack.Inflater(
                    self.compression, owner.scratch, self._plain, limit
                )
        except BaseException:
            self.close()
            raise

    def _wait(self, work: Coroutine[Any, Any, T]) -> T:
        return asyncio.run_coroutine_threadsafe(work, self._loop).result()

    def _plain(self, parts: Sequence[Buffer]) -> None:
        if self._inflater is not None or self._stored is not None:
            for part in parts:
                self._hash.update(part)
        if self._extraction is not None:
            self._claim.take(sum(map(len, parts)))
            self._extraction.write(parts)
            if self._extraction.failed:
                self._report()

    def _report(self) -> unpack.Applied | None:
        if self._extraction is None:
            return None
        try:
            return self._extraction.finish()
        except errdefs.FirkinError as error:
            raise type(error)(f"{self._name}: {error}") from error

    def write(self, parts: Sequence[Buffer]) -> None:
        """Take the next bytes of the blob. Raises as soon as the layer is known to be bad."""
        if self._writer is not None:
            self._claim.take(sum(map(len, parts)))
            self._writer.writev(parts)
        self.replay(parts)

    def replay(self, parts: Sequence[Buffer]) -> None:
        """Take bytes of the blob that its writer has already."""
        if self._inflater is not None:
            self._inflater.write(parts)
        else:
            self._plain(parts)

    def finish(self, digest: str = "", size: int = -1) -> Received:
        """End of the blob: verify, store, report. The snapshot is the caller's from here on."""
        if self._inflater is not None:
            try:
                self._inflater.finish()
            except errdefs.InvalidParameter as error:
                raise errdefs.InvalidParameter(f"{self._name}: {error}") from error
        applied = self._report()
        info = self._stored
        if self._writer is not None:
            try:
                info = self._writer.commit(digest, size)
            except errdefs.InvalidParameter as error:
                raise errdefs.InvalidParameter(f"{self._name}: {error}") from error
        assert info is not None
        diff_id = f"sha256:{self._hash.hexdigest()}"
        if self._inflater is None and self._stored is None:
            diff_id = info.digest
        self._claim.end(kept=True)
        key, self._key = self._key, ""
        received = Received(info, self.compression, diff_id, key)
        if applied is not None:
            received.unpacked, received.disk = applied.size, applied.disk
        return received

    def close(self) -> None:
        """Give up, unless finished. Ends the workers."""
        self._claim.end(kept=False)
        if self._inflater is not None:
            self._inflater.close()
        if self._extraction is not None:
            self._extraction.close()
        if self._resumed is not None:
            self._resumed.suspend()
        elif self._writer is not None:
            self._writer.abort()
        if self._key:
            key, self._key = self._key, ""
            self._wait(self._owner.snapshots.remove(key))
