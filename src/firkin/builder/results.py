"""Where the result of a build goes: the image store, files for the client, registries.

With several platforms, attestations or annotations of an index the result is an index. Its name in
the store means what a pull for each platform would have left (``images.variants``): one image has
the tag, the others stand behind it, and digest names tell which index they came with.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from typing import Any

import msgspec

from firkin import errdefs, reference
from firkin.builder import (
    attest,
    cachefiles,
    cachist,
    exporters,
    graph,
    imaging,
    notes,
    plan,
    prepared,
    progress,
    request,
    stages,
    trees,
)
from firkin.dockerfile import lint
from firkin.images import packing, platforms
from firkin.images import service as images
from firkin.types import image as types

_SINGLE = (types.MEDIA_OCI_MANIFEST, types.MEDIA_DOCKER_MANIFEST)
_IMAGELESS = ("tar", "local", "cacheonly")
_NO_IMAGE = types.Image(id="", manifest="", config=types.ImageConfig(), top="", size=0)


class Result(msgspec.Struct):
    """What a build made: the image (None for outputs without one) and metadata about it."""

    image: types.Image | None
    metadata: dict[str, Any]
    warnings: list[lint.Warning]


class _Made(msgspec.Struct):
    """The result on its way out. ``top`` is what its names mean."""

    parts: list[exporters.Part]
    native: exporters.Part
    given: notes.Annotations
    names: list[str]
    top: types.Descriptor | None = None
    indexed: bool = False


class Results:
    """Exports builds."""

    def __init__(
        self, store: images.ImageService, place: trees.Trees, imager: imaging.Imager,
        caches: cachist.Cachist, shelf: exporters.Shelf,
    ) -> None:  # fmt: skip
        self._images = store
        self._trees = place
        self._imager = imager
        self._cachist = caches
        self._shelf = shelf

    async def export(
        self, done: prepared.Prepared, outputs: Sequence[request.Output],
        given: dict[str, str], watcher: progress.Watcher,
    ) -> Result:  # fmt: skip
        """Bring the result to all ``outputs``; ``given`` are its annotations."""
        wanted = done.wanted
        files: list[dict[str, str]] = []
        async with self._images.collector.lease():
            made = await self._made(done, outputs, notes.Annotations(given))
            kept, said = await self._cachist.keep(wanted, done.built, done.solved)
            files += kept
            for out in outputs:
                if out.fetched:
                    files.append(await self._shelve(wanted, out, made))
            for out in outputs:
                if out.pushed:
                    await self._push(wanted, out, made, watcher)
            pushed = any(out.pushed for out in outputs)
            metadata = {**_metadata(made, pushed), **said}
            image = made.native.image if made.top is not None else None
            if image is not None and not any(out.stored for out in outputs):
                await self._forget(made)
        if files:
            metadata["firkin.outputs"] = files
        return Result(image, metadata, done.warnings)

    async def _made(
        self, done: prepared.Prepared, outputs: Sequence[request.Output],
        given: notes.Annotations,
    ) -> _Made:  # fmt: skip
        """The images of all platforms, under the names of the outputs that are kept."""
        wanted = done.wanted
        names = _canonical(outputs)
        kept = _canonical([out for out in outputs if out.stored])
        indexed = len(done.plans) > 1 or any(wanted.attests.values()) or given.indexed
        compression = _compression(outputs, indexed)
        here = _native(done.plans)
        parts: list[exporters.Part] = []
        native: exporters.Part | None = None
        imageless = all(out.type in _IMAGELESS for out in outputs)
        for one, planned in zip(done.built, done.plans, strict=True):
            ref = trees.SCRATCH
            if one.vertex is not None:
                ref = await done.solved.solve(one.vertex)
            part = exporters.Part(_NO_IMAGE, ref, planned.platform)
            if not imageless:
                form = imaging.Form(
                    compression=compression,
                    annotations=given.of(notes.MANIFEST, planned.platform),
                )
                adorn = await self._cachist.inline(wanted, one, done.solved)
                mine = kept if planned is here and not indexed else []
                before = set(self._images.catalog.images)
                part.image = await self._imager.image(
                    one, done.solved, mine, wanted.epoch, adorn, form
                )
                part.fresh = part.image.id not in before
                part.annotations = given.of(notes.MANIFEST_DESCRIPTOR, planned.platform)
                await self._attest(done, part, one, names)
            parts.append(part)
            if planned is here:
                native = part
        assert native is not None
        made = _Made(parts, native, given, names, indexed=indexed and not imageless)
        if not imageless:
            made.top = await asyncio.to_thread(self._top, made)
            await self._name(made, kept)
        return made

    def _top(self, made: _Made) -> types.Descriptor:
        """What the names of the result mean: an index, stored, or the one image's manifest."""
        store = self._images.content
        if made.indexed:
            index_notes = made.given.of(notes.INDEX)
            found = exporters.index_of(store, self._images.catalog, made.parts, index_notes)
        else:
            found = self._images.variants.own(made.native.image)
            found = msgspec.structs.replace(found, platform=None)
        extra = made.given.of(notes.INDEX_DESCRIPTOR)
        return msgspec.structs.replace(found, annotations=extra or None)

    async def _name(self, made: _Made, kept: list[str]) -> None:
        """Let the names mean the index, and forget what they meant before."""
        known = self._images.catalog
        top, native = made.top, made.native.image
        assert top is not None
        for name in kept if made.indexed else ():
            parsed = reference.parse(name)
            for part in made.parts:
                await known.tag(part.image.id, _by_digest(parsed, part.image.manifest))
            await known.tag(native.id, _by_digest(parsed, top.digest), top.digest)
            await known.tag(native.id, name, top.digest)
        for repository in {reference.parse(name).name for name in kept}:
            image = known.images[native.id]
            meant = {known.targets.get(ref, "") for ref in image.refs} | {image.manifest}
            digests = [one for one in image.digests if one.startswith(f"{repository}@")]
            await known.untag(one for one in digests if one.rpartition("@")[2] not in meant)
        made.native.image = known.images[native.id]

    async def _forget(self, made: _Made) -> None:
        """The image was only made to be brought elsewhere: it does not stay in the store."""
        for part in made.parts:
            image = self._images.catalog.images.get(part.image.id)
            if image is not None and part.fresh and not (image.refs or image.digests):
                await self._images.catalog.remove(image.id)
        self._images.collector.want()

    async def _attest(
        self, done: prepared.Prepared, part: exporters.Part, built: stages.Built, names: list[str]
    ) -> None:
        wanted = done.wanted
        platform = stages.shown(part.platform)
        statements: list[dict[str, Any]] = []
        moment = float(wanted.epoch) if wanted.epoch is not None else time.time()
        if mode := wanted.attests.get("provenance"):
            vertices = graph.ancestors([built.vertex] if built.vertex is not None else [])
            full = "max" in (mode, dict(_fields(mode)).get("mode"))
            statements.append(attest.provenance(
                wanted, part.image, names, platform, vertices, built.base, full=full,
                begun=done.begun, ended=time.time(),
            ))  # fmt: skip
        if wanted.attests.get("sbom"):
            async with self._trees.view(part.ref) as root:
                statements.append(await asyncio.to_thread(
                    attest.sbom, root, part.image, names, platform, moment))  # fmt: skip
        if statements:
            part.attached.append(await asyncio.to_thread(
                exporters.attach, self._images.content, part.image, statements, part.platform
            ))  # fmt: skip

    async def _shelve(
        self, wanted: request.Request, out: request.Output, made: _Made
    ) -> dict[str, str]:
        """Write an output for the client to fetch."""
        async with self._shelf.place() as (token, path):
            if out.type in ("tar", "local"):
                await exporters.write_rootfs(
                    self._trees, made.parts, path, wanted.epoch,
                    split=out.options.get("platform-split", "true") != "false",
                )  # fmt: skip
            else:
                names = _canonical([out]) or made.names
                assert made.top is not None
                await exporters.write_archive(
                    self._images, made.native.image, made.top, names, path,
                    docker=out.type == "docker", indexed=made.indexed,
                )  # fmt: skip
        return {"type": out.type, "dest": out.options.get("dest", "-"), "token": token}

    async def _push(
        self, wanted: request.Request, out: request.Output, made: _Made, watcher: progress.Watcher
    ) -> None:
        if not out.named:
            raise errdefs.InvalidParameter("cannot push an image without a name: give it one (-t)")
        assert made.top is not None
        for name in out.named:
            if out.anonymous:
                target = reference.parse(name)
                who = await wanted.keys.get(target.domain)
                await cachefiles.push(
                    self._images.carrier, self._images.content, made.top, name, who,
                    tag=made.top.digest,
                )  # fmt: skip
                watcher.message(f"pushed {target.familiar_name}@{made.top.digest}")
                continue
            target = reference.combine(name)
            who = await wanted.keys.get(target.domain)

            def say(message: dict[str, Any]) -> None:
                if text := message.get("status"):
                    identity = f"{message['id']}: " if message.get("id") else ""
                    if not message.get("progressDetail"):
                        watcher.message(f"{identity}{text}")

            pushed = await self._images.push(str(target), credentials=who, progress=say)
            if made.top.digest not in [one.digest for one in pushed]:
                raise errdefs.System(
                    f"{target.familiar} was pushed, but as another image than the one that was "
                    "built: something else has taken its name meanwhile, build again"
                )


def _metadata(made: _Made, pushed: bool) -> dict[str, Any]:
    """What is told of a result. ``containerimage.digest`` is what an image that stays here is
    inspected by: Compose compares the two, and makes containers anew when they differ."""
    top = made.top
    if top is None:
        return {}
    single = not pushed and top.media_type in _SINGLE
    found: dict[str, Any] = {
        "containerimage.config.digest": made.native.image.id,
        "containerimage.descriptor": msgspec.to_builtins(top),
        "containerimage.digest": made.native.image.id if single else top.digest,
    }
    if made.names:
        found["image.name"] = ",".join(made.names)
    return found


def _canonical(outputs: Sequence[request.Output]) -> list[str]:
    return list(dict.fromkeys(
        str(reference.combine(name)) for out in outputs for name in out.named
    ))  # fmt: skip


def _by_digest(name: reference.Reference, digest: str) -> str:
    return str(reference.Reference(name.domain, name.path, "", digest))


def _fields(text: str) -> list[tuple[str, str]]:
    """``key=value,...``."""
    pairs = (field.partition("=") for field in text.split(","))
    return [(key.strip(), value) for key, _, value in pairs]


def _compression(outputs: Sequence[request.Output], indexed: bool) -> packing.Compression | None:
    """How layers are written. Nothing can be changed on the way to a registry when digests are
    known before; so what is pushed, or kept as an index, is compressed beforehand."""
    asked: set[packing.Compression] = set()
    for out in outputs:
        options = out.options
        found = packing.parse(
            options.get("compression", ""), options.get("compression-level", ""),
            options.get("force-compression", ""),
        )  # fmt: skip
        if found is not None:
            asked.add(found)
    if len(asked) > 1:
        raise errdefs.InvalidParameter("the outputs of one build have one compression")
    if asked:
        return asked.pop()
    if any(out.pushed for out in outputs) or (indexed and any(out.stored for out in outputs)):
        return packing.Compression()
    return None


def _native(plans: list[plan.Plan]) -> plan.Plan:
    """The plan whose image gets the names in the store: the host's platform, else the first."""
    here = platforms.host()
    for one in plans:
        if (one.platform.os, one.platform.architecture) == (here.os, here.architecture):
            return one
    return plans[0]
