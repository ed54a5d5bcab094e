"""Importing: the tar of a root file system as an image of one layer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence

import msgspec

from firkin import errdefs
from firkin.images import (
    assemble,
    catalog,
    changes,
    layers,
    platforms,
    stream,
    tarstream,
    unpack,
    views,
)
from firkin.types import image as types


async def import_layer(
    source: AsyncIterator[bytes],
    owner: layers.Layers,
    known: catalog.Catalog,
    names: Sequence[str],
    message: str,
    wanted: Sequence[str],
    platform: str,
) -> types.Image:
    """Make the image. The caller holds a lease. Raises ``InvalidParameter``."""
    run = types.RunConfig()
    changes.apply(run, wanted)
    target = platforms.parse(platform) if platform else platforms.host()
    loop = asyncio.get_running_loop()

    def receive(buffer: stream.Buffer) -> layers.Received:
        reader = tarstream.Reader(buffer.take)
        head = reader.peek(tarstream.BLOCK)
        if not head:
            raise errdefs.InvalidParameter("cannot import the root file system: it is empty")
        if not unpack.sniff(head) and not tarstream.is_header(head):
            raise errdefs.InvalidParameter(
                "cannot import the root file system: it is no tar archive, "
                "plain or compressed with gzip, bzip2, xz or zstd"
            )
        sink = owner.sink(loop, head, "the root file system")
        try:
            for parts in reader.rest():
                sink.write(parts)
            return sink.finish()
        finally:
            sink.close()

    layer = await stream.consume(source, receive, "import an image")
    try:
        if layer.compression in ("bzip2", "xz"):
            layer = await _plain(owner, layer)
        if not layer.diff_id:
            raise errdefs.System("the layer's digest is not known")
        now = views.rfc3339(time.time())
        config = types.ImageConfig(
            created=now,
            architecture=target.architecture,
            variant=target.variant,
            os=target.os,
            config=run,
            rootfs=types.RootFS(diff_ids=[layer.diff_id]),
            history=[types.History(created=now, comment=message)],
        )
        parts = assemble.Parts(assemble.encode_config(config), [layer], list(names))
        return await assemble.assemble(parts, owner, known)
    finally:
        await owner.discard(layer)


async def _plain(owner: layers.Layers, layer: layers.Received) -> layers.Received:
    """The layer with a plain blob: bzip2 and xz are no compressions of image layers."""

    def work() -> layers.Received:
        writer = owner.store.writer()
        try:
            inflater = unpack.Inflater(
                layer.compression, owner.scratch, writer.writev, owner.limits.size
            )
            try:
                with owner.store.open(layer.blob.digest) as blob:
                    while data := blob.read(1 << 20):
                        inflater.write((data,))
                inflater.finish()
            finally:
                inflater.close()
            info = writer.commit(layer.diff_id)
        finally:
            writer.abort()
        return msgspec.structs.replace(layer, blob=info, compression="")

    return await asyncio.to_thread(work)
