"""The image service: what the engine asks of images, in one place.

Layout of its directory::

    ROOT/content/      blobs (firkin.content.local)
    ROOT/snapshots/    file trees (firkin.snapshots)
    ROOT/empty/        an empty directory, the root of workers that need no files

Operations on images may run at the same time; those that add blobs or layers hold a lease, so that
what they have stored is not collected before an image refers to it.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

import msgspec

from firkin import errdefs, reference
from firkin.content import local
from firkin.images import (
    assemble,
    catalog,
    commit,
    filters,
    gc,
    importer,
    layers,
    load,
    platforms,
    pull,
    push,
    registries,
    remove,
    save,
    stream,
    unpack,
    views,
)
from firkin.linux import failures
from firkin.remotes import auth, config, transport
from firkin.snapshots import mounting, native, overlay, snapshotter
from firkin.store import db
from firkin.types import container, mount
from firkin.types import image as types

log = logging.getLogger(__name__)

User = remove.User
InUse = remove.InUse
OnEvent = remove.OnEvent
# Names for what is a list: inside the class "list" is ImageList.
Summaries = list[types.ImageSummary]
HistoryItems = list[types.HistoryItem]
DeleteItems = list[types.DeleteItem]
Mounts = list[mount.Mount]
Messages = list[dict[str, Any]]
Images = list[types.Image]
Names = list[str]
_IGNORE = pull.ignore
PushedTags = list[push.Pushed]


class Usage(msgspec.Struct, frozen=True):
    """Disk usage: all layers once, and per image the bytes shared with others and its own."""

    layers: int
    shared: dict[str, int]
    unique: dict[str, int]


def _silent(action: str, image: str, attributes: dict[str, str]) -> None:
    """The callback of a service that nobody listens to."""


class ImageService:
    """See the module's description. Make one with :meth:`open`."""

    def __init__(
        self,
        root: str,
        database: db.Database,
        snapshots: snapshotter.Snapshotter,
        on_event: OnEvent,
        limits: unpack.Limits,
        settings: config.Settings,
    ) -> None:
        self.content = local.LocalStore(os.path.join(root, "content"))
        self.snapshots = snapshots
        self.catalog = catalog.Catalog(database, self.content)
        self.layers = layers.Layers(self.content, snapshots, os.path.join(root, "empty"), limits)
        self.collector = gc.Collector(self.content, snapshots, self.catalog, database)
        self._carrier = transport.Transport(settings)
        self.registries = registries.Registries(self._carrier)
        self._puller = pull.Puller(database, self.layers, self.catalog, self._carrier)
        self._pusher = push.Pusher(database, self.layers, self.catalog, self._carrier)
        self._on_event = on_event
        self._remover = remove.Remover(self.catalog, on_event)
        self._removing = asyncio.Lock()

    @classmethod
    async def open(
        cls,
        root: str,
        database: db.Database,
        *,
        driver: str = "",
        on_event: OnEvent = _silent,
        limits: unpack.Limits | None = None,
        settings: config.Settings | None = None,
        keepers: Sequence[Callable[[], Iterable[str]]] = (),
    ) -> ImageService:
        """Open the images in ``root`` and remove what a killed engine left there.

        ``driver`` is "overlay2", "vfs" or "" for overlayfs where it works; the first choice stays,
        since the two can't read each other's layers. ``keepers`` name snapshots, beside those of
        images and containers, that are not garbage. Raises ``InvalidParameter`` for another one.
        """
        directory = os.path.join(root, "snapshots")
        os.makedirs(directory, mode=0o700, exist_ok=True)
        with failures.told(f"use {root} for images"):
            driver = await asyncio.to_thread(_driver, directory, driver)
        snapshots: snapshotter.Snapshotter = (
            overlay.Overlay(directory, database)
            if driver == "overlay2"
            else native.Native(directory, database)
        )
        service = cls(
            root,
            database,
            snapshots,
            on_event,
            limits or unpack.Limits(),
            settings or config.Settings(),
        )
        service.collector.keepers += keepers
        await service.catalog.open()
        await service.collector.collect()
        await snapshots.cleanup()
        return service

    def configure(self, settings: config.Settings) -> None:
        """Use other registry settings from now on."""
        self._carrier.settings = settings
        self._carrier.schemes.clear()
        self._puller.transfers.resize(settings.downloads)
        self._pusher.resize(settings.uploads)

    async def close(self) -> None:
        """End transfers and connections to registries."""
        await self._puller.transfers.close()
        await self.registries.close()

    async def pull(
        self,
        name: str,
        *,
        platform: str = "",
        credentials: auth.Credentials = auth.NOBODY,
        progress: pull.Progress = _IGNORE,
    ) -> types.Image:
        """ImageCreate from a registry: the image that ``name`` (by default its tag latest) means.

        ``platform`` is by default the host's. ``progress`` gets Docker's messages on the event loop
        and must not block; nothing is sent to it before the registry has answered for the name, so
        an error before the first message is the answer to the whole request. Cancelling is safe at
        any moment, and what has arrived stays for the next pull. Raises ``NotFound``,
        ``Unauthorized``, ``Unavailable``, ``InvalidParameter`` and ``Forbidden`` with a remedy.
        """
        wanted = reference.parse(name).tagged()
        async with self.collector.lease():
            pulled = await self._puller.pull(wanted, platform, credentials, progress)
        shown = wanted.familiar
        progress({"status": f"Digest: {pulled.digest}"})
        news = "Downloaded newer image" if pulled.fresh else "Image is up to date"
        progress({"status": f"Status: {news} for {shown}"})
        self._on_event("pull", shown, {"name": wanted.familiar_name})
        return pulled.image

    async def push(
        self,
        name: str,
        *,
        platform: str = "",
        credentials: auth.Credentials = auth.NOBODY,
        progress: push.Progress = _IGNORE,
    ) -> PushedTags:
        """ImagePush: a tag, or all tags of a repository when ``name`` has none.

        Raises ``NotFound`` when there is no such image here, and what the registry says.
        """
        wanted = reference.parse(name)
        if wanted.digest:
            raise errdefs.InvalidParameter(
                f"cannot push a digest reference ({wanted.familiar}): give repository[:tag]"
            )
        shown = wanted.familiar
        names = (
            [str(wanted)]
            if wanted.tag
            else [n for n in sorted(self.catalog.names) if n.startswith(f"{wanted.name}:")]
        )
        if not names or names[0] not in self.catalog.names:
            raise errdefs.NotFound(f"An image does not exist locally with the tag: {shown}")
        images = [self._fitting(one, platform) for one in names]
        progress({"status": f"The push refers to repository [{wanted.name}]"})
        done: PushedTags = []
        async with self.collector.lease():
            for one, image in zip(names, images, strict=True):
                parsed = reference.parse(one)
                pushed = await self._pusher.push(image, parsed, credentials, progress)
                status = f"{pushed.tag}: digest: {pushed.digest} size: {pushed.size}"
                progress({"status": status})
                aux = {"Tag": pushed.tag, "Digest": pushed.digest, "Size": pushed.size}
                progress({"progressDetail": {}, "aux": aux})
                self._on_event("push", parsed.familiar, {"name": parsed.familiar_name})
                done.append(pushed)
        return done

    def _fitting(self, name: str, platform: str) -> types.Image:
        image = self.catalog.images[self.catalog.names[name]]
        found = image.config
        if platform:
            has = types.Platform(
                os=found.os, architecture=found.architecture, variant=found.variant
            )
            if not platforms.suits(has, platforms.parse(platform)):
                raise errdefs.NotFound(
                    f"image with reference {reference.parse(name).familiar} was found but does not "
                    f"match the specified platform: wanted {platform}, actual: "
                    f"{platforms.show(has)}"
                )
        return image

    async def tags(self, name: str, credentials: auth.Credentials = auth.NOBODY) -> Names:
        """All tags that a repository has at its registry."""
        return await self._puller.source(reference.parse(name), credentials).tags()

    def resolve(self, name: str) -> types.Image:
        """The image that a reference, id or short id means. Raises ``NotFound``."""
        return self.catalog.resolve(name)

    def list(self, wanted: filters.Filters | None = None, *, all: bool = False) -> Summaries:
        """ImageList, the newest first. Nameless parents of other images only with ``all``."""
        wanted = wanted or {}
        filters.check(wanted, filters.LIST)
        passes = filters.predicate(wanted, self.resolve)
        parents = {image.parent for image in self.catalog.images.values()}
        dangling = filters.flag(wanted, "dangling")
        found = [
            image
            for image in self.catalog.images.values()
            if (image.refs or image.digests or all or dangling or image.id not in parents)
            and passes(image)
        ]
        found.sort(key=lambda image: (views.seconds(image.config.created), image.id), reverse=True)
        return [views.summary(image) for image in found]

    async def inspect(self, name: str) -> dict[str, Any]:
        """ImageInspect as plain JSON values."""
        image = self.resolve(name)
        directories = await self.snapshots.layers(image.top) if image.top else []
        tagged = max((self.catalog.tagged.get(ref, 0.0) for ref in image.refs), default=0.0)
        return views.inspect(image, directories, self.snapshots.name, tagged)

    async def history(self, name: str) -> HistoryItems:
        """ImageHistory, the newest first."""
        image = self.resolve(name)
        chain = layers.chain_ids(image.config.rootfs.diff_ids)
        stack = [await self.snapshots.stat(identity) for identity in chain]
        parents: Images = []
        above = self.catalog.images.get(image.parent)
        while above is not None and len(parents) < 1000:
            parents.append(above)
            above = self.catalog.images.get(above.parent)
        return views.history(image, stack, parents)

    async def tag(self, name: str, repository: str, tag: str = "") -> str:
        """Give an image a further name; returns it in the familiar form."""
        image = self.resolve(name)
        wanted = reference.combine(repository, tag)
        await self.catalog.tag(image.id, str(wanted))
        self._on_event("tag", image.id, {"name": wanted.familiar})
        return wanted.familiar

    async def remove(
        self, name: str, in_use: InUse, *, force: bool = False, noprune: bool = False
    ) -> DeleteItems:
        """ImageDelete. ``in_use`` tells the containers made from an image id."""
        async with self._removing:
            items = await self._remover.remove(name, force, noprune, in_use)
        if any(item.deleted for item in items):
            await self.collector.collect()
        return items

    async def prune(self, wanted: filters.Filters | None, in_use: InUse) -> tuple[DeleteItems, int]:
        """ImagePrune: nameless images without a container, or with dangling=false all unused.

        What cut pulls have left goes too. Returns the steps and the bytes freed.
        """
        wanted = dict(wanted or {})
        filters.check(wanted, filters.PRUNE)
        only_dangling = filters.flag(wanted, "dangling") is not False
        wanted.pop("dangling", None)
        passes = filters.predicate(wanted, self.resolve)
        items: DeleteItems = []
        before = (await self.usage()).layers
        async with self._removing:
            # The newest first, so that children go before the images they were made from.
            for image in reversed([*self.catalog.images.values()]):
                if image.id not in self.catalog.images or in_use(image.id) or not passes(image):
                    continue
                if only_dangling and (image.refs or image.digests):
                    continue
                try:
                    items += await self._remover.remove(image.id, True, False, in_use)
                except errdefs.Conflict:
                    continue
        begun = await self.collector.forget_pending()
        await self.collector.collect()
        after = (await self.usage()).layers
        return items, max(0, before - after) + begun

    async def create_rootfs(self, image: types.Image, key: str) -> Mounts:
        """A writable tree on top of ``image`` for the container ``key``; what to mount for it."""
        return await self.snapshots.prepare(key, image.top)

    async def remove_rootfs(self, key: str) -> None:
        """Remove a container's tree, which must not be mounted. No error when there is none."""
        try:
            await self.snapshots.remove(key)
        except errdefs.NotFound:
            return

    async def forget_rootfs(self, key: str) -> str:
        """Remove a container's tree from what is known; its directory, "" when there is none.

        Removing that is the caller's business, once it is not mounted; the next engine does it
        if the caller does not.
        """
        try:
            return await self.snapshots.forget(key)
        except errdefs.NotFound:
            return ""

    async def usage(self) -> Usage:
        """Sizes for /system/df: layers counted once."""
        sizes = {
            info.key: info.size for info in await self.snapshots.walk() if info.kind == "committed"
        }
        users: dict[str, int] = {}
        chains: dict[str, list[str]] = {}
        for image in self.catalog.images.values():
            chains[image.id] = layers.chain_ids(image.config.rootfs.diff_ids)
            for chain in chains[image.id]:
                users[chain] = users.get(chain, 0) + 1
        shared = {i: sum(sizes.get(c, 0) for c in ch if users[c] > 1) for i, ch in chains.items()}
        unique = {i: sum(sizes.get(c, 0) for c in ch if users[c] == 1) for i, ch in chains.items()}
        return Usage(sum(sizes.values()), shared, unique)

    async def load(self, source: AsyncIterator[bytes]) -> AsyncIterator[dict[str, Any]]:
        """ImageLoad: yields Docker's progress messages once all of the archive is in.

        Raises ``InvalidParameter`` for an archive that is damaged, hostile or of another format;
        nothing of it is kept then.
        """
        messages: Messages = []
        async with self.collector.lease():
            receiver = load.Receiver(self.layers, self.catalog, asyncio.get_running_loop())
            try:
                archive = await stream.consume(source, receiver.receive, "load images")
                for parts in load.plan(archive, self.catalog, self.layers):
                    messages += self._renamed(parts)
                    image = await assemble.assemble(parts, self.layers, self.catalog)
                    self._on_event("load", image.id, {"name": image.id})
                    names = [reference.parse(name).familiar for name in parts.names]
                    messages += [{"stream": f"Loaded image: {name}\n"} for name in names]
                    if not names:
                        messages.append({"stream": f"Loaded image ID: {image.id}\n"})
            finally:
                for layer in receiver.archive.layers.values():
                    await self.layers.discard(layer)
                # Layers that no image turned out to need.
                self.collector.want()
        for message in messages:
            yield message

    def _renamed(self, parts: assemble.Parts) -> Messages:
        new = catalog.digest_of(parts.config)
        messages: Messages = []
        for name in parts.names:
            old = self.catalog.names.get(name)
            if old is not None and old != new:
                shown = reference.parse(name).familiar
                text = f"The image {shown} already exists, renaming the old one with ID {old} to "
                messages.append({"stream": f"{text}empty string\n"})
        return messages

    def save(self, names: Sequence[str]) -> AsyncIterator[bytes]:
        """ImageGet: a tar of the images, readable as docker-archive and as OCI layout.

        Raises ``NotFound`` at once, before the first byte.
        """
        chosen = save.choose(self.catalog, names)
        return save.archive(chosen, self.catalog, self.layers, self.collector, self._on_event)

    async def import_(
        self,
        source: AsyncIterator[bytes],
        *,
        repository: str = "",
        tag: str = "",
        message: str = "",
        changes: Sequence[str] = (),
        platform: str = "",
    ) -> types.Image:
        """ImageCreate from a root file system tar, plain or compressed: an image of one layer."""
        names = [str(reference.combine(repository, tag))] if repository else []
        async with self.collector.lease():
            image = await importer.import_layer(
                source, self.layers, self.catalog, names, message, changes, platform
            )
        self._on_event("import", image.id, {"name": image.id})
        for name in names:
            self._on_event("tag", image.id, {"name": reference.parse(name).familiar})
        return image

    async def commit(
        self,
        key: str,
        parent: str,
        config: container.Config,
        *,
        author: str = "",
        comment: str = "",
        changes: Sequence[str] = (),
        repository: str = "",
        tag: str = "",
        created_by: str = "",
    ) -> types.Image:
        """ImageCommit: the snapshot ``key`` of a container as a new image on the image ``parent``.

        ``config`` is the container's own; ``parent`` is "" when its image is gone, its layers must
        be known by the snapshot then (``InvalidParameter`` otherwise).
        """
        names = [str(reference.combine(repository, tag))] if repository else []
        async with self.collector.lease():
            image = await commit.commit_layer(
                self.layers,
                self.catalog,
                commit.Request(
                    key=key,
                    parent=self.resolve(parent) if parent else None,
                    config=config,
                    author=author,
                    comment=comment,
                    changes=list(changes),
                    names=names,
                    created_by=created_by,
                ),
            )
        for name in names:
            self._on_event("tag", image.id, {"name": reference.parse(name).familiar})
        return image


def _driver(directory: str, asked: str) -> str:
    """The storage driver of the layers in ``directory``. Blocks; raises ``OSError``."""
    if asked not in ("", "overlay2", "vfs"):
        raise errdefs.InvalidParameter(
            f"unknown storage driver {asked!r}: there are overlay2 and vfs"
        )
    path = directory + ".driver"
    try:
        with open(path, encoding="ascii") as file:
            chosen = file.read().strip()
    except FileNotFoundError:
        chosen = ""
    if chosen:
        if asked not in ("", chosen):
            raise errdefs.InvalidParameter(
                f"{directory} holds layers of the storage driver {chosen}, which {asked} can't "
                "read: choose another --data-root"
            )
        return chosen
    chosen = asked
    if not chosen:
        works = mounting.overlay_works(directory)
        chosen = "overlay2" if works else "vfs"
        if not works:
            log.warning("%s does not take overlayfs: layers are copied (vfs)", directory)
    with open(path + ".new", "w", encoding="ascii") as file:
        file.write(f"{chosen}\n")
    os.rename(path + ".new", path)
    return chosen
