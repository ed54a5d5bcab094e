"""Images: their blobs and layers, and what is stored without an image."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterator

from firkin import errdefs, reference
from firkin.engine import core as engine
from firkin.engine.check import difference
from firkin.images import layers
from firkin.types import image as types

_CHUNK = 1 << 20


async def audit(core: engine.Core, deep: bool) -> AsyncIterator[difference.Difference]:
    """Every image; ``deep`` reads each blob and compares its digest."""
    async with core.images.collector.lease():  # nothing is collected while we look
        for image in list(core.images.catalog.images.values()):
            for problem in await asyncio.to_thread(_problems, core, image, deep):
                yield _damaged(image, problem)
            for chain in layers.chain_ids(image.config.rootfs.diff_ids):
                try:
                    [directory, *_] = await core.images.snapshots.layers(chain)
                except errdefs.NotFound:
                    yield _damaged(image, f"the layer {chain} is not known")
                    continue
                if not os.path.isdir(directory):
                    yield _damaged(image, f"{directory}, a layer of it, is gone")


def _damaged(image: types.Image, problem: str) -> difference.Difference:
    name = reference.parse(image.refs[0]).familiar if image.refs else image.id
    return difference.Difference(
        "image", name, problem, remedy=f"pull or load it again after: firkin rmi -f {name}"
    )


def _problems(core: engine.Core, image: types.Image, deep: bool) -> Iterator[str]:
    wanted = {image.id: -1, image.manifest: -1}
    try:
        manifest = core.images.catalog.manifest(image)
    except errdefs.FirkinError as error:
        return iter([f"its manifest can't be read: {error}"])
    for descriptor in (manifest.config, *manifest.layers):
        wanted[descriptor.digest] = descriptor.size
    return iter([text for item in wanted.items() if (text := _blob(core, *item, deep))])


def _blob(core: engine.Core, digest: str, size: int, deep: bool) -> str:
    """What is wrong with a blob; "" for nothing. A size of -1 is any."""
    try:
        info = core.images.content.info(digest)
    except errdefs.NotFound:
        return f"the blob {digest} is gone"
    if size >= 0 and info.size != size:
        return f"the blob {digest} has {info.size} bytes instead of {size}"
    if not deep:
        return ""
    found = hashlib.sha256()
    with core.images.content.open(digest) as file:
        while chunk := file.read(_CHUNK):
            found.update(chunk)
    if f"sha256:{found.hexdigest()}" != digest:
        return f"the blob {digest} is damaged: its digest is sha256:{found.hexdigest()}"
    return ""
