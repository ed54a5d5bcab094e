"""From the result of a build to an image of the store.

A step's layer is only a directory until an image needs it: then its tar is written, once, and the
snapshot gets the name that images know layers by, its chain id. With SOURCE_DATE_EPOCH the tar has
no later times than that, so it is a layer of its own, unpacked again.
"""

from __future__ import annotations

import asyncio
import datetime
import hashlib
from collections.abc import Callable

import msgspec

from firkin import errdefs
from firkin.builder import plan, solver, stages, steps, trees
from firkin.content import store as contents
from firkin.images import assemble, catalog, diff, layers, packing, stream, views
from firkin.types import image as types


class Form(msgspec.Struct, frozen=True, kw_only=True):
    """How an image is written down: its layers' compression (None: as they are stored), and the
    annotations of its manifest."""

    compression: packing.Compression | None = None
    annotations: dict[str, str] = {}


AS_STORED = Form()


class Layer(msgspec.Struct):
    """A layer of the image to be."""

    diff_id: str
    descriptor: types.Descriptor


class Imager:
    """Makes images. One for each engine."""

    def __init__(
        self, workshop: steps.Workshop, known: catalog.Catalog, owner: layers.Layers,
        press: packing.Press,
    ) -> None:  # fmt: skip
        self._press = press
        self._workshop = workshop
        self._cache = workshop.cache
        self._catalog = known
        self._layers = owner
        self._one = asyncio.Lock()

    async def image(
        self, built: stages.Built, solved: solver.Solver, names: list[str], epoch: int | None,
        adorn: Callable[[bytes], bytes] = lambda config: config, form: Form = AS_STORED,
    ) -> types.Image:  # fmt: skip
        """The image of a planned and solved stage. The caller holds a lease.

        ``adorn`` may add members to the config.
        """
        ref = await solved.solve(built.vertex) if built.vertex is not None else trees.SCRATCH
        async with self._one:
            stack = await self.layers(ref, built.base, epoch)
        config = built.config
        config.rootfs = types.RootFS(diff_ids=[layer.diff_id for layer in stack])
        await self._history(built, solved, config, len(stack), epoch)
        encoded = adorn(assemble.encode_config(config))
        manifest = b""
        if form != AS_STORED:
            await self._pack(stack, form)
            descriptor = types.Descriptor(
                media_type=types.MEDIA_OCI_CONFIG, digest=catalog.digest_of(encoded),
                size=len(encoded),
            )  # fmt: skip
            items = [layer.descriptor for layer in stack]
            manifest = assemble.encode_manifest(descriptor, items, form.annotations)
        same = self._catalog.images.get(catalog.digest_of(encoded))
        if (
            same is not None
            and (not manifest or same.manifest == catalog.digest_of(manifest))
            and all(self._layers.store.exists(digest) for digest in (same.id, same.manifest))
        ):
            for name in names:
                known = self._catalog.names.get(name), self._catalog.targets.get(name)
                if known != (same.id, same.manifest):
                    await self._catalog.tag(same.id, name)
            return self._catalog.images[same.id]
        parts = assemble.Parts(
            config=encoded, layers=[self._received(layer) for layer in stack], names=names,
            manifest=manifest,
        )  # fmt: skip
        return await assemble.assemble(parts, self._layers, self._catalog)

    async def _pack(self, stack: list[Layer], form: Form) -> None:
        wanted = form.compression
        if wanted is None:
            return
        for layer in stack:
            layer.descriptor = await self._press.layer(layer.descriptor, wanted)

    def _received(self, layer: Layer) -> layers.Received:
        return assemble.stored(self._layers.store, layer.descriptor)

    async def layers(
        self, ref: trees.Ref, base: types.Image | None, epoch: int | None
    ) -> list[Layer]:
        """The layers of a tree, bottom first, all in the content store."""
        snapshots = self._layers.snapshots
        lineage: list[str] = []
        async with self._cache.naming:
            key = ref.snapshot
            while key:
                lineage.append(key)
                key = (await snapshots.stat(key)).parent
        known = await asyncio.to_thread(self._known, base)
        found: list[Layer] = []
        chain, below = "", ""
        for key in reversed(lineage):
            layer = known.get(key)
            record = next((r for r in self._cache.records.values() if r.snapshot == key), None)
            if layer is None and record is not None and record.diff_id and epoch is None:
                layer = self._stored(record.diff_id)
            if layer is None or (epoch is not None and record is not None):
                layer = await self._write(key, below, epoch)
            if layer is not None:
                following = _chain(chain, layer.diff_id)
                own = key.startswith(trees.PREFIX)
                if epoch is None and own and not await self._layers.has(following):
                    async with self._cache.naming:
                        await self._cache.rename(key, following, layer.diff_id)
                    key = following
                chain = following
                found.append(layer)
            below = key
        return found

    def _known(self, base: types.Image | None) -> dict[str, Layer]:
        """Layers of images by their chain ids, those of the base first."""
        found: dict[str, Layer] = {}
        images = list(self._catalog.images.values())
        for image in ([base] if base is not None else []) + images:
            ids = image.config.rootfs.diff_ids
            try:
                manifest = self._catalog.manifest(image)
            except errdefs.FirkinError:
                continue
            for chain, diff_id, item in zip(
                layers.chain_ids(ids), ids, manifest.layers, strict=False
            ):
                if self._layers.store.exists(item.digest):
                    found.setdefault(chain, Layer(diff_id, item))
        return found

    def _stored(self, diff_id: str) -> Layer | None:
        if not self._layers.store.exists(diff_id):
            return None
        info = self._layers.store.info(diff_id)
        return Layer(diff_id, types.Descriptor(
            media_type=types.MEDIA_OCI_LAYER, digest=diff_id, size=info.size))  # fmt: skip

    async def _write(self, key: str, below: str, epoch: int | None) -> Layer | None:
        """The tar of a snapshot into the store; None when it has no entries."""
        snapshots = self._layers.snapshots
        directory = await snapshots.directory(key)
        lower = ""
        if not snapshots.rebases and below:
            lower = await snapshots.directory(below)

        def work() -> contents.Info | None:
            walker = diff.Walker(epoch)
            writer = self._layers.store.writer()
            try:
                for batch in diff.batches(walker.run(directory, lower)):
                    writer.writev(batch)
                return writer.commit() if walker.entries else None
            except OSError as error:
                raise errdefs.System(
                    f"cannot read a layer: {error.strerror} ({error.filename})"
                ) from error
            finally:
                writer.abort()

        info = await stream.in_own_thread(work, "firkin-layer")
        if info is None:
            return None
        self._layers.room.keep(info.size)
        return Layer(info.digest, types.Descriptor(
            media_type=types.MEDIA_OCI_LAYER, digest=info.digest, size=info.size))  # fmt: skip

    async def _history(
        self, built: stages.Built, solved: solver.Solver, config: types.ImageConfig, total: int,
        epoch: int | None,
    ) -> None:  # fmt: skip
        base = built.base
        config.history = list(base.config.history) if base is not None else []
        inherited = len(base.config.rootfs.diff_ids) if base is not None else 0
        when = views.seconds(base.config.created) if base is not None else 0.0
        before = base.top if base is not None else ""
        flags: list[bool] = []
        times: list[float] = []
        for line in built.lines:
            record = await solved.peek(line.vertex) if line.vertex is not None else None
            if record is not None:
                when = max(when, record.created)
                flags.append(record.snapshot == before)
                before = record.snapshot
            else:
                flags.append(line.vertex is None)
            times.append(when)
        missing = flags.count(False) - (total - inherited)
        for at, line in enumerate(built.lines):
            if missing <= 0 or flags[at] or line.vertex is None:
                continue
            if await solved.peek(line.vertex) is None:
                flags[at] = True
                missing -= 1
        for line, empty, moment in zip(built.lines, flags, times, strict=True):
            config.history.append(types.History(
                created=_time(moment, epoch), created_by=line.created_by, author=line.author,
                comment=plan.COMMENT, empty_layer=empty))  # fmt: skip
        config.created = _time(when, epoch)


def _time(seconds: float, epoch: int | None) -> str:
    if epoch is not None:
        moment = datetime.datetime.fromtimestamp(epoch, datetime.UTC)
        return moment.strftime("%Y-%m-%dT%H:%M:%SZ")
    return views.rfc3339(seconds)


def _chain(parent: str, diff_id: str) -> str:
    if not parent:
        return diff_id
    return f"sha256:{hashlib.sha256(f'{parent} {diff_id}'.encode()).hexdigest()}"
