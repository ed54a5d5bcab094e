"""Pulling: an image from a registry into the store.

::

    tag ─> index ─> manifest ─> config ─> layers, several at once ─> snapshots, bottom first ─> name

What a pull will need is written down as *pending* before the first layer is asked for, so that it
outlives this process without an image: a pull that is cut at any point leaves whole blobs, whole
snapshots and beginnings of blobs, and the next one goes on from there. The image appears, with its
name, in one transaction at the end.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import Callable
from typing import Any

import msgspec

from firkin import errdefs, reference
from firkin.content import store as contents
from firkin.images import assemble, catalog, layers, platforms, transfers, variants
from firkin.remotes import auth, fetcher, transport
from firkin.store import db
from firkin.store import distribution as rows
from firkin.types import base
from firkin.types import image as types

log = logging.getLogger(__name__)

Message = dict[str, Any]
Progress = Callable[[Message], None]

KEEP = 24 * 3600.0
"""Seconds that a pull which did not end keeps what it has."""

_INDEXES = (types.MEDIA_OCI_INDEX, types.MEDIA_DOCKER_INDEX)
_CONFIGS = (types.MEDIA_OCI_CONFIG, types.MEDIA_DOCKER_CONFIG, "")
_MAX_LAYERS = 500
_MAX_ATTACHMENT = 32 << 20
_MAX_DEPTH = 3


def ignore(message: Message) -> None:
    """The progress of a pull that nobody watches."""


class Resolved(msgspec.Struct, frozen=True):
    """What a name means at its registry. ``digest`` is that of the top document."""

    digest: str
    manifest: fetcher.Document
    parsed: types.Manifest
    above: tuple[fetcher.Document, ...]
    platform: types.Platform | None

    @property
    def documents(self) -> tuple[fetcher.Document, ...]:
        return (self.manifest, *self.above)


class PlannedBlob(msgspec.Struct, frozen=True):
    """One layer or config of a dry run: its size, and how much of it is here."""

    digest: str
    size: int
    here: int


class Plan(msgspec.Struct, frozen=True):
    """What a pull would fetch."""

    digest: str
    blobs: list[PlannedBlob]


class Pulled(msgspec.Struct, frozen=True):
    """The outcome of a pull. ``fresh`` tells whether anything changed here."""

    image: types.Image
    digest: str
    fresh: bool


def _short(digest: str) -> str:
    return digest[7:19]


class Puller:
    """Pulls into one image store. The caller of ``pull`` holds a lease."""

    def __init__(
        self,
        database: db.Database,
        owner: layers.Layers,
        known: catalog.Catalog,
        carrier: transport.Transport,
    ) -> None:
        self._db = database
        self._owner = owner
        self._store = owner.store
        self._known = known
        self._carrier = carrier
        self.transfers = transfers.Transfers(owner, carrier.settings.downloads)

    def source(self, name: reference.Reference, credentials: auth.Credentials) -> fetcher.Fetcher:
        return fetcher.Fetcher(self._carrier, name, credentials)

    async def resolve(
        self, source: fetcher.Fetcher, name: reference.Reference, platform: str
    ) -> Resolved:
        """Find the manifest for a platform, by default the host's. Nothing is stored."""
        wanted = platforms.parse(platform) if platform else None
        document = await source.manifest(name.digest or name.tag)
        top, above = document.digest, []
        chosen: types.Platform | None = None
        while document.media_type in _INDEXES:
            above.append(document)
            index = base.decode(types.Index, document.data)
            items = platforms.choose(index.manifests, wanted)
            if not items:
                raise errdefs.NotFound(
                    f"no matching manifest for {platforms.show(wanted or platforms.host())} in the "
                    f"manifest list entries: {name.familiar} has "
                    + (_offered(index) or "no platform at all")
                )
            if len(above) > _MAX_DEPTH:
                raise errdefs.InvalidParameter(
                    f"the indexes of {name.familiar} are nested too deep"
                )
            chosen = items[0].platform
            document = await source.manifest(items[0].digest)
        parsed = catalog.decode_manifest(document.data)
        if parsed.config.media_type not in _CONFIGS:
            raise errdefs.InvalidParameter(
                f"{name.familiar} is not a container image: it is an artifact of the type "
                f"{parsed.artifact_type or parsed.config.media_type}"
            )
        if len(parsed.layers) > _MAX_LAYERS:
            raise errdefs.InvalidParameter(
                f"{name.familiar} has {len(parsed.layers)} layers, the limit is {_MAX_LAYERS}"
            )
        for item in (parsed.config, *parsed.layers):
            if item.size < 0:
                raise errdefs.InvalidParameter(f"{item.digest} has an impossible size")
        return Resolved(top, document, parsed, tuple(above), chosen)

    async def plan(
        self, name: reference.Reference, platform: str, credentials: auth.Credentials
    ) -> Plan:
        """What a pull would fetch."""
        resolved = await self.resolve(self.source(name, credentials), name, platform)
        found: list[PlannedBlob] = []
        for item in (resolved.parsed.config, *resolved.parsed.layers):
            here = await asyncio.to_thread(self._here, item)
            found.append(PlannedBlob(item.digest, item.size, here))
        return Plan(resolved.digest, found)

    def _here(self, item: types.Descriptor) -> int:
        if self._store.exists(item.digest):
            return item.size
        return min(item.size, self._store.begun(item.digest))

    async def pull(
        self,
        name: reference.Reference,
        platform: str,
        credentials: auth.Credentials,
        progress: Progress,
    ) -> Pulled:
        """Pull ``name``, which has a tag or a digest. Raises as :class:`fetcher.Fetcher` does,
        and ``InvalidParameter`` for an image that is damaged, hostile or no image."""
        source = self.source(name, credentials)
        if (same := await self._unchanged(source, name, platform)) is not None:
            progress({"status": f"Pulling from {_path(name)}", "id": name.digest or name.tag})
            return same
        resolved = await self.resolve(source, name, platform)
        progress({"status": f"Pulling from {_path(name)}", "id": name.digest or name.tag})
        items = resolved.parsed.layers
        named = f"the config of {name.familiar}"
        async with contextlib.AsyncExitStack() as stack:
            await self._keep([d.digest for d in resolved.documents] + [i.digest for i in items])
            failed: asyncio.Future[_Receiver] = asyncio.get_running_loop().create_future()
            receivers: dict[str, _Receiver] = {}
            for item in items:
                if item.digest not in receivers:
                    receivers[item.digest] = _Receiver(item, progress, failed)
            missing = {
                item.digest
                for item in items
                if not await asyncio.to_thread(self._store.exists, item.digest)
            }
            for digest in receivers:
                if digest in missing:
                    await receivers[digest].begin(stack, self.transfers, source)
            text = await self._config(source, resolved.parsed.config, named)
            config = catalog.decode_config(text)
            _check(config, resolved, name, platform)
            pulled = await self._place(name, resolved, text, config, receivers, progress)
        await self._attachments(source, resolved)
        return pulled

    async def _keep(self, keys: list[str]) -> None:
        await self._db.run(lambda c: rows.keep(c, keys, KEEP))

    async def _config(self, source: fetcher.Fetcher, item: types.Descriptor, what: str) -> bytes:
        if not await asyncio.to_thread(self._store.exists, item.digest):
            return await source.small(item, catalog.MAX_DOCUMENT, what)
        limit = catalog.MAX_DOCUMENT
        return await asyncio.to_thread(lambda: contents.read(self._store, item.digest, limit))

    async def _attachments(self, source: fetcher.Fetcher, resolved: Resolved) -> None:
        """Fetch the attestations about the image. They are small, and it is whole without them."""
        for document in resolved.above:
            for item in base.decode(types.Index, document.data).manifests:
                about = (item.annotations or {}).get(variants.SUBJECT)
                if about == resolved.manifest.digest:
                    try:
                        await self._attachment(source, item)
                    except errdefs.FirkinError as error:
                        log.warning("an attestation of %s: %s", about, error)

    async def _attachment(self, source: fetcher.Fetcher, item: types.Descriptor) -> None:
        manifest = await source.manifest(item.digest)
        parsed = catalog.decode_manifest(manifest.data)
        blobs = [parsed.config, *parsed.layers]
        for blob in blobs:
            if not await asyncio.to_thread(self._store.exists, blob.digest):
                data = await source.small(blob, _MAX_ATTACHMENT, "an attestation")
                await asyncio.to_thread(contents.put, self._store, data)
        await asyncio.to_thread(contents.put, self._store, manifest.data)

    async def _unchanged(
        self, source: fetcher.Fetcher, name: reference.Reference, platform: str
    ) -> Pulled | None:
        """The image that is here, when it is what the registry has under the name."""
        identity = self._known.names.get(str(name))
        if identity is None:
            return None
        image = self._known.images[identity]
        wanted = platforms.parse(platform) if platform else platforms.host()
        if not platforms.suits(_platform(image.config), wanted):
            return None
        digest = name.digest or await source.head(name.tag)
        by_digest = str(reference.Reference(name.domain, name.path, "", digest)) if digest else ""
        if by_digest not in image.digests:
            return None
        return Pulled(image, digest, False)

    async def _place(
        self,
        name: reference.Reference,
        resolved: Resolved,
        text: bytes,
        config: types.ImageConfig,
        receivers: dict[str, _Receiver],
        progress: Progress,
    ) -> Pulled:
        """Layers to their places, then documents, then the image."""
        diff_ids = config.rootfs.diff_ids
        chain = layers.chain_ids(diff_ids)
        await self._keep([*chain, resolved.parsed.config.digest])
        parent, size = "", 0
        told: set[str] = set()
        for item, diff_id, identity in zip(resolved.parsed.layers, diff_ids, chain, strict=True):
            receiver = receivers[item.digest]
            here = await self._owner.has(identity)
            layer = await receiver.wait()
            if layer is None:
                layer = await asyncio.to_thread(assemble.stored, self._store, item)
            if not here:
                receiver.say("Extracting")
            await self._owner.place(layer, diff_id, identity, parent)
            size += (await self._owner.snapshots.stat(identity)).size
            parent = identity
            if item.digest not in told:
                told.add(item.digest)
                receiver.say("Already exists" if here and not receiver.used else "Pull complete")

        def documents() -> None:
            for data in (text, *(document.data for document in resolved.documents)):
                contents.put(self._store, data)

        await asyncio.to_thread(documents)
        row = catalog.make_row(text, resolved.manifest.digest, parent, size)
        by_digest = str(reference.Reference(name.domain, name.path, "", resolved.digest))
        by_manifest = str(reference.Reference(name.domain, name.path, "", resolved.manifest.digest))
        names = [by_digest, by_manifest] if name.digest else [str(name), by_digest, by_manifest]
        before = self._known.names.get(names[0])
        image = await self._known.add(row, names, resolved.digest)
        digests = [resolved.parsed.config.digest, *(i.digest for i in resolved.parsed.layers)]
        everything = [*digests, *chain, *(document.digest for document in resolved.documents)]
        repository = f"{name.domain}/{name.path}"

        def settle(connection: Any) -> None:
            rows.settle(connection, everything)
            rows.seen(connection, digests, repository)

        await self._db.run(settle)
        return Pulled(image, resolved.digest, before != image.id)


class _Receiver:
    """One layer of one pull: its transfer, if it needs one, and what the client hears of it."""

    def __init__(
        self, item: types.Descriptor, progress: Progress, failed: asyncio.Future[_Receiver]
    ) -> None:
        self._item = item
        self._failed = failed
        self._progress = progress
        self._task: asyncio.Task[layers.Received] | None = None

    @property
    def used(self) -> bool:
        """Whether it was transferred."""
        return self._task is not None

    def say(self, status: str, detail: dict[str, int] | None = None) -> None:
        message: Message = {"status": status, "progressDetail": detail or {}}
        self._progress({**message, "id": _short(self._item.digest)})

    async def begin(
        self,
        stack: contextlib.AsyncExitStack,
        shared: transfers.Transfers,
        source: fetcher.Fetcher,
    ) -> None:
        self.say("Pulling fs layer")
        item = self._item

        def fetch(offset: int) -> Any:
            return source.blob(item.digest, item.size, offset, what=f"the layer {item.digest}")

        self._task = await stack.enter_async_context(shared.use(item, fetch, self._heard))

    def _heard(self, transfer: transfers.Transfer) -> None:
        if transfer.phase == "waiting":
            self.say("Waiting")
        elif transfer.phase == "downloading":
            detail = {"current": transfer.current, "total": self._item.size}
            self.say("Downloading", detail if transfer.current else None)
        elif transfer.phase == "complete":
            self.say("Download complete")
        elif not self._failed.done():
            self._failed.set_result(self)

    async def wait(self) -> layers.Received | None:
        """The layer when it is here; None when it was here before.

        Raises as soon as any layer of the pull has failed.
        """
        if self._task is None:
            return None
        ends: list[asyncio.Future[Any]] = [self._task, self._failed]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        if self._failed.done() and self._failed.result() is not self:
            await self._failed.result().wait()
        try:
            return await asyncio.shield(self._task)
        except asyncio.CancelledError:
            if self._task.cancelled():
                raise errdefs.Cancelled("the engine is stopping") from None
            raise


def _path(name: reference.Reference) -> str:
    return (
        name.path
        if name.domain == reference.DEFAULT_DOMAIN
        else name.familiar_name.split("/", 1)[1]
    )


def _platform(config: types.ImageConfig) -> types.Platform:
    return types.Platform(os=config.os, architecture=config.architecture, variant=config.variant)


def _offered(index: types.Index) -> str:
    shown = {
        platforms.show(item.platform)
        for item in index.manifests
        if item.platform is not None and item.platform.os != "unknown"
    }
    return ", ".join(sorted(shown))


def _check(
    config: types.ImageConfig, resolved: Resolved, name: reference.Reference, platform: str
) -> None:
    """Whether the config belongs to the manifest, and the image to the platform asked for."""
    found = len(config.rootfs.diff_ids)
    if found != len(resolved.parsed.layers):
        raise errdefs.InvalidParameter(
            f"{name.familiar} has {len(resolved.parsed.layers)} layers but its config names {found}"
        )
    if config.os and config.os != "linux":
        raise errdefs.InvalidParameter(
            f'image operating system "{config.os}" cannot be used on this platform: '
            f"{name.familiar} has no image for linux"
        )
    if platform and config.architecture:
        wanted = platforms.parse(platform)
        if not platforms.suits(_platform(config), wanted):
            raise errdefs.NotFound(
                f"image with reference {name.familiar} was found but does not match the specified "
                f"platform: wanted {platforms.show(wanted)}, actual: "
                f"{platforms.show(_platform(config))}"
            )
