"""What a build does about caches elsewhere: ``--cache-from`` and ``--cache-to``."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Any

import msgspec

from firkin import errdefs, reference
from firkin.builder import (
    blobs,
    cachefiles,
    exporters,
    imaging,
    progress,
    request,
    solver,
    stages,
    steps,
)
from firkin.images import service as images
from firkin.remotes import auth
from firkin.types import image as types


async def _who(wanted: request.Request, name: str) -> auth.Credentials:
    return await wanted.keys.get(reference.parse(name).domain)


class Cachist:
    """Imports and exports the caches of builds."""

    def __init__(
        self, workshop: steps.Workshop, imager: imaging.Imager, store: images.ImageService,
        shelf: exporters.Shelf,
    ) -> None:  # fmt: skip
        self._workshop = workshop
        self._images = store
        self._shelf = shelf
        self._exporter = cachefiles.Exporter(workshop, imager, store.content)

    async def open(
        self, wanted: request.Request, source: request.CacheSource, solved: solver.Solver,
        watcher: progress.Watcher,
    ) -> None:  # fmt: skip
        """Open a cache to look into. One that is not there only means that nothing is found."""
        try:
            if source.type == "registry":
                name = cachefiles.name_of(source)
                found = await cachefiles.from_registry(
                    self._workshop, self._images.carrier, name, await _who(wanted, name)
                )
            elif source.type == "local" and source.place is not None:
                found = await cachefiles.from_blobs(
                    self._workshop, source.place, source.options.get("digest", "")
                )
            elif source.type == "local" and source.options.get("path"):
                found = await asyncio.to_thread(
                    cachefiles.from_directory, self._workshop, source.options["path"]
                )
            else:
                raise errdefs.InvalidParameter(
                    f"a cache can't be imported from the type {source.type[:40]!r}: use registry "
                    "or local"
                )
            await found.mounts()
        except errdefs.InvalidParameter:
            raise
        except errdefs.FirkinError as error:
            watcher.message(f"importing cache manifest: {error}")
            return
        solved.imported.append(found)

    async def keep(
        self, wanted: request.Request, built: list[stages.Built], solved: solver.Solver
    ) -> tuple[list[dict[str, str]], dict[str, Any]]:
        """Export the cache as ``cache_to`` says.

        Returns what the client is to fetch, and what it is told of the cache.
        """
        outputs: list[dict[str, str]] = []
        said: dict[str, Any] = {}
        targets = [one.vertex for one in built if one.vertex is not None]
        for target in wanted.cache_to:
            if target.type == "inline":
                continue
            full = target.options.get("mode") == "max"
            document, items = await self._exporter.document(
                cachefiles.needed(targets, "max" if full else "min"), solved, mounts=full
            )
            top = await asyncio.to_thread(self._exporter.store, document, items)
            if target.type == "registry":
                name = cachefiles.name_of(target)
                await cachefiles.push(
                    self._images.carrier, self._images.content, top, name, await _who(wanted, name)
                )
            elif target.type == "local" and target.place is not None:
                await self._write(target.place, top)
                said["cache.manifest"] = msgspec.json.encode(top).decode()
            elif target.type == "local" and target.options.get("dest"):
                async with self._shelf.place() as (token, path):
                    await asyncio.to_thread(
                        exporters.write_blobs, self._images.content, top, [], path
                    )
                dest = target.options["dest"]
                outputs.append({"type": "local", "dest": dest, "token": token})
            else:
                raise errdefs.InvalidParameter(
                    f"a cache can't be exported to the type {target.type[:40]!r}: use registry, "
                    "local (with dest) or inline"
                )
        return outputs, said

    async def _write(self, place: blobs.Place, top: types.Descriptor) -> None:
        """Bring the blobs of a cache to a client, its manifest last."""
        store = self._images.content
        found = await asyncio.to_thread(exporters.needed, store, top.digest)
        for digest, size in sorted(found.items(), key=lambda one: one[0] == top.digest):
            item = types.Descriptor(digest=digest, size=size)
            await place.write(item, cachefiles.pieces(store, digest))

    async def inline(
        self, wanted: request.Request, built: stages.Built, solved: solver.Solver
    ) -> Callable[[bytes], bytes]:
        """What puts the cache into the image's config, where it is wanted."""
        asked = any(one.type == "inline" for one in wanted.cache_to)
        if not (asked or wanted.args.get("BUILDKIT_INLINE_CACHE") == "1") or built.vertex is None:
            return lambda config: config
        document, _ = await self._exporter.document(
            cachefiles.needed([built.vertex], "min"), solved, mounts=False
        )
        records = [
            msgspec.structs.replace(record, layers=list(range(len(record.layers))), created=0.0)
            for record in document.records
        ]
        return lambda config: cachefiles.inline(config, records)
