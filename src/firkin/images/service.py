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
import contextlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from typing import Any

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
    packing,
    pull,
    push,
    queries,
    registries,
    remove,
    room,
    save,
    stream,
    unpack,
    variants,
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
DeleteItems = list[types.DeleteItem]
Mounts = list[mount.Mount]
Messages = list[dict[str, Any]]
Images = list[types.Image]
Names = list[str]
Plan = pull.Plan
PushedTags = list[push.Pushed]
_IGNORE = pull.ignore


def _silent(action: str, image: str, attributes: dict[str, str]) -> None:
    """The callback of a service that nobody listens to."""


class ImageService(queries.Queries):
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
        content = local.LocalStore(os.path.join(root, "content"))
        known = catalog.Catalog(database, content)
        super().__init__(known, snapshots, variants.Variants(known, content), content)
        self.layers = layers.Layers(self.content, snapshots, os.path.join(root, "empty"), limits)
        self.collector = gc.Collector(
            self.content, snapshots, self.catalog, database, self.variants.blobs
        )
        self.press = packing.Press(database, self.content, self.layers.scratch)
        self._carrier = transport.Transport(settings)
        self.registries = registries.Registries(self._carrier)
        self._puller = pull.Puller(database, self.layers, self.catalog, self._carrier)
        self._pusher = push.Pusher(
            database, self.layers, self.catalog, self._carrier, self.variants, on_event
        )
        self.keeper: room.Keeper | None = None
        self._on_event = on_event
        self._remover = remove.Remover(self.catalog, self.variants, on_event)
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

    @property
    def carrier(self) -> transport.Transport:
        """The connections to registries."""
        return self._carrier

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
        need = 0
        if self.keeper is not None and self.keeper.limited:
            missing = await self._puller.plan(wanted, platform, credentials)
            need = sum(blob.size - blob.here for blob in missing.blobs)
        async with self.storing(need):
            pulled = await self._puller.pull(wanted, platform, credentials, progress)
        shown = wanted.familiar
        progress({"status": f"Digest: {pulled.digest}"})
        news = "Downloaded newer image" if pulled.fresh else "Image is up to date"
        progress({"status": f"Status: {news} for {shown}"})
        self._on_event("pull", shown, {"name": wanted.familiar_name})
        return pulled.image

    @contextlib.asynccontextmanager
    async def storing(self, need: int | None = None, expected: int = 0) -> AsyncIterator[None]:
        """A lease for who stores something new (see ``room.Keeper.admit``).

        What does not fit leaves nothing, not even for the next pull to go on from.
        """
        if self.keeper is not None:
            await self.keeper.admit(need, expected)
        try:
            async with self.collector.lease():
                yield
        except errdefs.InsufficientStorage as error:
            if self.keeper is None:
                raise
            await self.collector.forget_pending()
            await self.collector.collect()
            raise await self.keeper.refused(error) from error

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
        async with self.collector.lease():
            return await self._pusher.push_names(
                reference.parse(name), platform, credentials, progress
            )

    async def plan(
        self, name: str, *, platform: str = "", credentials: auth.Credentials = auth.NOBODY
    ) -> Plan:
        """What a pull of ``name`` would fetch; nothing is changed."""
        return await self._puller.plan(reference.parse(name).tagged(), platform, credentials)

    async def tags(self, name: str, credentials: auth.Credentials = auth.NOBODY) -> Names:
        """All tags that a repository has at its registry."""
        return await self._puller.source(reference.parse(name), credentials).tags()

    async def tag(self, name: str, repository: str, tag: str = "") -> str:
        """Give an image a further name; returns it in the familiar form."""
        image = self.resolve(name)
        wanted = reference.combine(repository, tag)
        means = self.catalog.targets.get(self.catalog.canonical(name), "")
        await self.catalog.tag(image.id, str(wanted), means)
        self._on_event("tag", image.id, {"name": wanted.familiar})
        return wanted.familiar

    async def remove(
        self,
        name: str,
        in_use: InUse,
        *,
        force: bool = False,
        noprune: bool = False,
        platforms: Sequence[str] = (),
    ) -> DeleteItems:
        """ImageDelete. ``in_use`` tells the containers made from an image id.

        With ``platforms`` only the variants for those go.
        """
        async with self._removing:
            remover = self._remover
            if platforms:
                items = await remover.remove_variants(name, platforms, force, noprune, in_use)
            else:
                items = await remover.remove(name, force, noprune, in_use)
        if any(item.deleted for item in items):
            await self.collector.collect()
        return items

    async def prune(self, wanted: filters.Filters | None, in_use: InUse) -> tuple[DeleteItems, int]:
        """ImagePrune: nameless images without a container, or with dangling=false all unused.

        What cut pulls have left goes too. Returns the steps and the bytes that the disk
        has back.
        """
        wanted = dict(wanted or {})
        filters.check(wanted, filters.PRUNE)
        only_dangling = filters.flag(wanted, "dangling") is not False
        wanted.pop("dangling", None)
        passes = filters.predicate(wanted, self.resolve)
        items: DeleteItems = []
        before = (await self.disk()).total
        hidden = self.variants.hidden()
        async with self._removing:
            # The newest first, so that children go before the images they were made from.
            for image in reversed([*self.catalog.images.values()]):
                if image.id not in self.catalog.images or in_use(image.id) or not passes(image):
                    continue
                if only_dangling and (image.refs or image.id in hidden):
                    continue
                try:
                    items += await self._remover.remove(image.id, True, False, in_use)
                except errdefs.Conflict:
                    continue
        await self.collector.forget_pending()
        await self.collector.collect()
        after = (await self.disk()).total
        return items, max(0, before - after)

    async def create_rootfs(self, image: types.Image, key: str) -> Mounts:
        """A writable tree on top of ``image`` for the container ``key``; what to mount for it."""
        return await self.snapshots.prepare(key, image.top, counted=True)

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

    async def load(
        self, source: AsyncIterator[bytes], platforms: Sequence[str] = (), size: int = 0,
        progress: Callable[[dict[str, Any]], None] | None = None,
    ) -> AsyncIterator[dict[str, Any]]:  # fmt: skip
        """ImageLoad: yields Docker's messages once all of the archive is in.

        Of an image for several platforms the variants for ``platforms`` are loaded, by default all
        that are in the archive. ``size`` is that of the archive, as far as the client has told.
        ``progress`` gets messages about layers, while they come.

        Raises ``InvalidParameter`` for an archive that is damaged, hostile or of another format;
        nothing of it is kept then.
        """
        messages: Messages = []
        async with self.storing(expected=2 * size):
            receiver = load.Receiver(
                self.layers, self.catalog, asyncio.get_running_loop(), progress
            )
            try:
                archive = await stream.consume(source, receiver.receive, "load images")
                for parts in load.plan(archive, self.catalog, self.layers, platforms):
                    messages += self._renamed(parts)
                    image = await assemble.assemble(parts, self.layers, self.catalog)
                    self._on_event("load", image.id, {"name": image.id})
                    names = [
                        reference.parse(name).familiar for name in parts.names if "@" not in name
                    ]
                    messages += [{"stream": f"Loaded image: {name}\n"} for name in names]
                    if not parts.names:
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
            if old is not None and old != new and "@" not in name:
                shown = reference.parse(name).familiar
                text = f"The image {shown} already exists, renaming the old one with ID {old} to "
                messages.append({"stream": f"{text}empty string\n"})
        return messages

    def save(
        self, names: Sequence[str], platforms: Sequence[str] = (), without: Sequence[str] = ()
    ) -> AsyncIterator[bytes]:
        """ImageGet: a tar of the images, readable as docker-archive and as OCI layout.

        All variants that are here go, or those for ``platforms``. Layers in ``without`` are left
        out, for an engine that is known to have them.

        Raises ``NotFound`` at once, before the first byte.
        """
        chosen = save.choose(self.catalog, names, self.variants, platforms)
        return save.archive(
            chosen, self.catalog, self.layers, self.collector, self._on_event, frozenset(without)
        )

    async def import_(
        self,
        source: AsyncIterator[bytes],
        *,
        repository: str = "",
        tag: str = "",
        message: str = "",
        changes: Sequence[str] = (),
        platform: str = "",
        size: int = 0,
    ) -> types.Image:
        """ImageCreate from a root file system tar, plain or compressed: an image of one layer."""
        names = [str(reference.combine(repository, tag))] if repository else []
        async with self.storing(expected=2 * size):
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
        expected = 0
        if self.keeper is not None and self.keeper.limited:
            expected = 2 * (await self.snapshots.usage(key)).size
        async with self.storing(expected=expected):
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
