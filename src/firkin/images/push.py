"""Pushing: an image from the store to a registry.

Layers go as they are stored, except plain ones (of images made here): those are compressed on the
way, and what they came to is remembered, so that the next push of the same layer can ask for it
before compressing again. An image for several platforms, or with attestations, goes as the index
that its name means, all of it as it is, when all of it is here; else the one image goes. A layer
that the registry has, here or in another repository, is not sent.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import msgspec

from firkin import errdefs, reference
from firkin.content import store as contents
from firkin.images import assemble, catalog, layers, packing, remove, transfers, variants
from firkin.remotes import auth, pusher, transport
from firkin.store import db
from firkin.store import distribution as rows
from firkin.types import base
from firkin.types import image as types

Message = dict[str, Any]
Progress = Callable[[Message], None]

_CHUNK = packing.CHUNK
_MOUNTS = 4


class Pushed(msgspec.Struct, frozen=True):
    """What a tag means at the registry after a push; ``size`` is that of the manifest."""

    tag: str
    digest: str
    size: int


class Pusher:
    """Pushes from one image store. The caller holds a lease."""

    def __init__(
        self,
        database: db.Database,
        owner: layers.Layers,
        known: catalog.Catalog,
        carrier: transport.Transport,
        others: variants.Variants,
        on_event: remove.OnEvent,
    ) -> None:
        self._variants = others
        self._on_event = on_event
        self._db = database
        self._store = owner.store
        self._known = known
        self._carrier = carrier
        self._room = asyncio.Semaphore(carrier.settings.uploads)

    def resize(self, limit: int) -> None:
        """How many layers go at one time, from now on."""
        self._room = asyncio.Semaphore(limit)

    async def push_names(
        self,
        wanted: reference.Reference,
        platform: str,
        credentials: auth.Credentials,
        progress: Progress,
    ) -> list[Pushed]:
        """Push a tag, or all tags of a repository when ``wanted`` has none.

        Raises ``NotFound`` when there is no such image here, else as :meth:`push`.
        """
        if wanted.digest:
            raise errdefs.InvalidParameter(
                f"cannot push a digest reference ({wanted.familiar}): give repository[:tag]"
            )
        known = self._known.names
        names = [str(wanted)]
        if not wanted.tag:
            names = [name for name in sorted(known) if name.startswith(f"{wanted.name}:")]
        if not names or names[0] not in known:
            raise errdefs.NotFound(
                f"An image does not exist locally with the tag: {wanted.familiar}"
            )
        images = [self._known.images[known[name]] for name in names]
        if platform:
            shown = wanted.familiar
            images = [self._variants.find(image, platform, shown) for image in images]
        progress({"status": f"The push refers to repository [{wanted.name}]"})
        done: list[Pushed] = []
        for name, image in zip(names, images, strict=True):
            parsed = reference.parse(name)
            top = None
            if not platform:
                top = await asyncio.to_thread(self._variants.whole, image, name)
            if top is not None:
                pushed = await self._push_index(image, top, parsed, credentials, progress)
            else:
                pushed = await self.push(image, parsed, credentials, progress)
            progress({"status": f"{pushed.tag}: digest: {pushed.digest} size: {pushed.size}"})
            aux = {"Tag": pushed.tag, "Digest": pushed.digest, "Size": pushed.size}
            progress({"progressDetail": {}, "aux": aux})
            self._on_event("push", parsed.familiar, {"name": parsed.familiar_name})
            done.append(pushed)
        return done

    async def push(
        self,
        image: types.Image,
        name: reference.Reference,
        credentials: auth.Credentials,
        progress: Progress,
    ) -> Pushed:
        """Push ``image`` as ``name``, which has a tag.

        Raises ``Unauthorized``, ``Unavailable``, and ``NotFound`` for a blob that is not here.
        """
        target = pusher.Pusher(self._carrier, name, credentials)
        text = await asyncio.to_thread(
            lambda: contents.read(self._store, image.manifest, catalog.MAX_DOCUMENT)
        )
        manifest = catalog.decode_manifest(text)
        diff_ids = image.config.rootfs.diff_ids
        jobs: dict[str, _Layer] = {}
        for item, diff_id in zip(manifest.layers, diff_ids, strict=False):
            if item.digest not in jobs:
                jobs[item.digest] = _Layer(item, diff_id, progress)
                jobs[item.digest].say("Preparing")
        sent: dict[str, types.Descriptor] = {}

        async def one(job: _Layer) -> None:
            async with self._room:
                sent[job.item.digest] = await self._layer(target, job)

        try:
            async with asyncio.TaskGroup() as group:
                for job in jobs.values():
                    group.create_task(one(job))
                group.create_task(self._blob(target, manifest.config))
        except BaseExceptionGroup as failures:
            raise _first(failures) from None
        changed = [sent[item.digest] for item in manifest.layers]
        media = _media_type(text)
        if changed != manifest.layers:
            config = msgspec.structs.replace(manifest.config, media_type=types.MEDIA_OCI_CONFIG)
            text = assemble.encode_manifest(config, changed)
            media = types.MEDIA_OCI_MANIFEST
        digest = await target.manifest(name.tag, media, text)
        await asyncio.to_thread(contents.put, self._store, text)
        await self._known.tag(
            image.id, str(reference.Reference(name.domain, name.path, "", digest))
        )
        blobs = [manifest.config.digest, *(item.digest for item in changed)]
        repository = f"{name.domain}/{name.path}"
        await self._db.run(lambda c: rows.seen(c, blobs, repository))
        return Pushed(name.tag, digest, len(text))

    async def _push_index(
        self,
        image: types.Image,
        top: types.Descriptor,
        name: reference.Reference,
        credentials: auth.Credentials,
        progress: Progress,
    ) -> Pushed:
        """Push an index with all that it names: blobs, then manifests, then the index itself."""
        target = pusher.Pusher(self._carrier, name, credentials)

        def read() -> tuple[bytes, dict[str, bytes]]:
            text = contents.read(self._store, top.digest, catalog.MAX_DOCUMENT)
            items = base.decode(types.Index, text).manifests
            return text, {
                item.digest: contents.read(self._store, item.digest, catalog.MAX_DOCUMENT)
                for item in items
            }

        text, documents = await asyncio.to_thread(read)
        jobs: dict[str, _Layer] = {}
        configs: dict[str, types.Descriptor] = {}
        for data in documents.values():
            manifest = catalog.decode_manifest(data)
            configs[manifest.config.digest] = manifest.config
            for item in manifest.layers:
                if item.digest not in jobs:
                    jobs[item.digest] = _Layer(item, item.digest, progress)
                    jobs[item.digest].say("Preparing")

        async def one(item: types.Descriptor, job: _Layer | None) -> None:
            async with self._room:
                await self._blob(target, item, job)

        try:
            async with asyncio.TaskGroup() as group:
                for job in jobs.values():
                    group.create_task(one(job.item, job))
                for config in configs.values():
                    group.create_task(one(config, None))
        except BaseExceptionGroup as failures:
            raise _first(failures) from None
        for digest, data in documents.items():
            await target.manifest(digest, _media_type(data), data)
        digest = await target.manifest(name.tag, top.media_type, text)
        await self._known.tag(
            image.id, str(reference.Reference(name.domain, name.path, "", digest))
        )
        repository = f"{name.domain}/{name.path}"
        await self._db.run(lambda c: rows.seen(c, [*configs, *jobs], repository))
        return Pushed(name.tag, digest, len(text))

    async def _layer(self, target: pusher.Pusher, job: _Layer) -> types.Descriptor:
        item = job.item
        if not item.media_type.endswith(".tar"):
            await self._blob(target, item, job)
            return item
        plain = item.digest
        before = await self._db.run(lambda c: rows.compressed(c, plain))
        if before is not None:
            packed = packing.packed(*before)
            if await self._there(target, packed.digest, job):
                return packed
        job.sending = True
        digest, size = await target.upload(lambda at: self._compress(plain, at), -1, job.advance)
        await self._db.run(lambda c: rows.set_compressed(c, plain, digest, size))
        job.say("Pushed")
        return packing.packed(digest, size)

    async def _blob(
        self, target: pusher.Pusher, item: types.Descriptor, job: _Layer | None = None
    ) -> None:
        if await self._there(target, item.digest, job):
            return
        if not await asyncio.to_thread(self._store.exists, item.digest):
            raise errdefs.NotFound(
                f"the blob {item.digest} is not here, and {target.repository.name} does not have "
                "it: pull or load the image again"
            )
        advance = job.advance if job is not None else _ignore
        if job is not None:
            job.sending = True
        digest, _ = await target.upload(lambda at: self._read(item.digest, at), item.size, advance)
        if digest != item.digest:
            raise errdefs.System(
                f"the stored blob {item.digest} is damaged: remove the image and load it again"
            )
        if job is not None:
            job.say("Pushed")

    async def _there(self, target: pusher.Pusher, digest: str, job: _Layer | None) -> bool:
        """Whether the registry has the blob in the repository, by now."""
        if await target.exists(digest):
            if job is not None:
                job.say("Layer already exists")
            return True
        domain, path = target.repository.domain, target.repository.path
        known = await self._db.run(lambda c: rows.sources(c, digest))
        others = [
            name.removeprefix(f"{domain}/") for name in known if name.startswith(f"{domain}/")
        ]
        for other in [name for name in others if name != path][:_MOUNTS]:
            if await target.mount(digest, other):
                if job is not None:
                    job.say(f"Mounted from {other}")
                return True
            await self._forget(digest, f"{domain}/{other}")
        return False

    async def _forget(self, digest: str, repository: str) -> None:
        await self._db.run(lambda c: rows.forget_source(c, digest, repository))

    async def _read(self, digest: str, offset: int) -> AsyncIterator[bytes]:
        blob = await asyncio.to_thread(self._store.open, digest)
        with contextlib.closing(blob):
            blob.seek(offset)
            while data := await asyncio.to_thread(blob.read, _CHUNK):
                yield data

    async def _compress(self, digest: str, offset: int) -> AsyncIterator[bytes]:
        """The blob as gzip. The same bytes each time, so any part of them can be sent again."""
        packer = packing.packer(packing.Compression())
        blob = await asyncio.to_thread(self._store.open, digest)

        def step() -> bytes | None:
            data = blob.read(_CHUNK)
            return packer.compress(data) if data else None

        skip = offset
        with contextlib.closing(blob):
            while True:
                packed = await asyncio.to_thread(step)
                ended = packed is None
                data: bytes = packer.flush() if packed is None else packed
                dropped = min(skip, len(data))
                skip -= dropped
                if len(data) > dropped:
                    yield data[dropped:]
                if ended:
                    return


class _Layer:
    """One layer of a push, and what the client hears of it."""

    def __init__(self, item: types.Descriptor, diff_id: str, progress: Progress) -> None:
        self.item = item
        self.sending = False
        self._id = diff_id[7:19]
        self._progress = progress
        self._clock = transfers.Clock()

    def say(self, status: str, detail: dict[str, int] | None = None) -> None:
        self._progress({"status": status, "progressDetail": detail or {}, "id": self._id})

    def advance(self, current: int) -> None:
        if self._clock.due():
            self.say("Pushing", {"current": current, "total": max(current, self.item.size)})


def _ignore(current: int) -> None:
    """Nobody watches small blobs."""


def _media_type(text: bytes) -> str:
    found = json.loads(text).get("mediaType")
    return found if isinstance(found, str) and found else types.MEDIA_OCI_MANIFEST


def _first(failures: BaseExceptionGroup[BaseException]) -> BaseException:
    """The failure that ended a group: not that of a task which was cancelled for it."""
    first = failures.exceptions[0]
    return _first(first) if isinstance(first, BaseExceptionGroup) else first
