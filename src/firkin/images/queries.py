"""Looking at images: resolve, list, inspect, history and disk usage."""

from __future__ import annotations

import asyncio
from typing import Any

import msgspec

from firkin import errdefs
from firkin.content import store as contents
from firkin.images import catalog, filters, layers, variants, views
from firkin.snapshots import snapshotter
from firkin.types import base
from firkin.types import image as types

# Names for what is a list: inside the class "list" is ImageList.
Summaries = list[types.ImageSummary]
HistoryItems = list[types.HistoryItem]
Shown = list[dict[str, Any]]
Images = list[types.Image]
Users = dict[str, list[str]]
Names = list[str]


class Usage(msgspec.Struct, frozen=True):
    """Bytes of files: all layers once, and per image those shared with others and its own."""

    layers: int
    shared: dict[str, int]
    unique: dict[str, int]


class Disk(msgspec.Struct, frozen=True):
    """What images take on the disk, in bytes: layers by chain id, blobs by digest (blobs on their
    way in apart), and of each image the parts that it needs."""

    layers: dict[str, int]
    blobs: dict[str, int]
    unfinished: int
    chains: dict[str, Names]
    digests: dict[str, frozenset[str]]

    @property
    def total(self) -> int:
        """All that there is, the layers of builds too."""
        return sum(self.layers.values()) + sum(self.blobs.values()) + self.unfinished

    def parts(self, image: str) -> dict[str, int]:
        """What each part of an image takes."""
        found = {key: self.layers.get(key, 0) for key in self.chains.get(image, ())}
        found.update((key, self.blobs.get(key, 0)) for key in self.digests.get(image, ()))
        return found


class Queries:
    """What can be asked of an image store. Changes nothing."""

    def __init__(
        self,
        known: catalog.Catalog,
        snapshots: snapshotter.Snapshotter,
        others: variants.Variants,
        content: contents.Store,
    ) -> None:
        self.content = content
        self.catalog = known
        self.snapshots = snapshots
        self.variants = others
        self._digests: dict[str, tuple[types.Image, frozenset[str]]] = {}
        self._described: dict[str, tuple[types.Image, dict[str, Any] | None]] = {}

    def resolve(self, name: str, platform: str = "") -> types.Image:
        """The image that a reference, id or short id means, or its variant for ``platform``.

        Raises ``NotFound``.
        """
        image = self.catalog.resolve(name)
        return self.variants.find(image, platform, name) if platform else image

    def list(self, wanted: filters.Filters | None = None, *, all: bool = False) -> Summaries:
        """ImageList, the newest first. Only with ``all`` those that stand behind another image:
        nameless parents, and variants for other platforms."""
        wanted = wanted or {}
        filters.check(wanted, filters.LIST)
        passes = filters.predicate(wanted, self.resolve)
        parents = {image.parent for image in self.catalog.images.values()}
        hidden = set() if all else self.variants.hidden()
        dangling = filters.flag(wanted, "dangling")
        found = [
            image
            for image in self.catalog.images.values()
            if (image.refs or image.digests or all or dangling or image.id not in parents)
            and image.id not in hidden
            and passes(image)
        ]
        found.sort(key=lambda image: (views.seconds(image.config.created), image.id), reverse=True)
        summaries = [views.summary(image) for image in found]
        if patterns := wanted.get("reference", ()):  # of an image's names only those asked for
            for one in summaries:
                one.repo_tags = filters.matching(one.repo_tags, patterns)
                one.repo_digests = filters.matching(one.repo_digests, patterns)
        return summaries

    async def describe(self, summaries: Summaries, users: Users) -> Shown:
        """The same as JSON values, with the manifests of each and what its name means.

        Their ``Size`` is that of all manifests, blobs and layers: clients show it above theirs.
        """

        def work() -> Shown:
            found: Shown = []
            for summary in summaries:
                image = self.catalog.images.get(summary.id)
                if image is not None:
                    shown = base.to_builtins(summary)
                    shown["Descriptor"] = msgspec.to_builtins(self.variants.target(image))
                    manifests = self.variants.summaries(image, users)
                    shown["Manifests"] = manifests
                    shown["Size"] = sum(one["Size"]["Total"] for one in manifests) or summary.size
                    found.append(shown)
            return found

        return await asyncio.to_thread(work)

    async def inspect(
        self, name: str, *, platform: str = "", manifests: bool = False, users: Users | None = None
    ) -> dict[str, Any]:
        """ImageInspect as plain JSON values."""
        if platform and manifests:
            raise errdefs.InvalidParameter(
                "conflicting options: manifests and platform cannot both be given"
            )
        image = self.resolve(name, platform)
        directories = await self.snapshots.layers(image.top) if image.top else []
        tagged = max((self.catalog.tagged.get(ref, 0.0) for ref in image.refs), default=0.0)
        shown = views.inspect(image, directories, self.snapshots.name, tagged)
        called = self.catalog.canonical(name)
        target = await asyncio.to_thread(self.variants.target, image, called)
        shown["Descriptor"] = msgspec.to_builtins(target)
        if manifests:
            work = lambda: self.variants.summaries(image, users or {})  # noqa: E731
            shown["Manifests"] = await asyncio.to_thread(work)
        return shown

    def manifest_of(self, identity: str) -> dict[str, Any] | None:
        """The descriptor of an image's own manifest, if both are still here."""
        image = self.catalog.images.get(identity)
        if image is None:
            self._described.pop(identity, None)
            return None
        known, shown = self._described.get(identity, (None, None))
        if known is not image:
            found = self.variants.own(image)
            shown = msgspec.to_builtins(found) if found.size else None
            self._described[identity] = image, shown
        return shown

    async def history(self, name: str, platform: str = "") -> HistoryItems:
        """ImageHistory, the newest first."""
        image = self.resolve(name, platform)
        chain = layers.chain_ids(image.config.rootfs.diff_ids)
        stack = [await self.snapshots.stat(identity) for identity in chain]
        parents: Images = []
        above = self.catalog.images.get(image.parent)
        while above is not None and len(parents) < 1000:
            parents.append(above)
            above = self.catalog.images.get(above.parent)
        return views.history(image, stack, parents)

    async def attestations(self, name: str, platform: str, kinds: Names, statements: bool) -> Shown:
        """ImageAttestations: in-toto statements about an image that came with it."""
        named = self.resolve(name)
        image = self.variants.find(named, platform, name) if platform else named
        return await asyncio.to_thread(self.variants.attestations, image, named, kinds, statements)

    async def disk(self) -> Disk:
        """What images take. Costs no look at a file, but the first time it is asked for."""
        sizes = await self.snapshots.sizes()
        known = list(self.catalog.images.values())

        def work() -> tuple[dict[str, int], int]:
            self._digests = {image.id: (image, self._parts(image)) for image in known}
            return self.content.sizes(), self.content.unfinished()

        blobs, unfinished = await asyncio.to_thread(work)
        return Disk(
            layers=sizes,
            blobs=blobs,
            unfinished=unfinished,
            chains={i.id: layers.chain_ids(i.config.rootfs.diff_ids) for i in known},
            digests={identity: parts for identity, (_, parts) in self._digests.items()},
        )

    def _parts(self, image: types.Image) -> frozenset[str]:
        old = self._digests.get(image.id)
        if old is not None and old[0] is image:
            return old[1]
        try:
            return frozenset(self.variants.blobs(image))
        except errdefs.FirkinError:  # damaged: system check tells
            return frozenset({image.id, image.manifest})

    async def usage(self) -> Usage:
        """The bytes of the files in layers, each layer counted once."""
        sizes = {
            info.key: info.size for info in await self.snapshots.walk() if info.kind == "committed"
        }
        users: dict[str, int] = {}
        chains: Users = {}
        for image in self.catalog.images.values():
            chains[image.id] = layers.chain_ids(image.config.rootfs.diff_ids)
            for chain in chains[image.id]:
                users[chain] = users.get(chain, 0) + 1
        shared = {i: sum(sizes.get(c, 0) for c in ch if users[c] > 1) for i, ch in chains.items()}
        unique = {i: sum(sizes.get(c, 0) for c in ch if users[c] == 1) for i, ch in chains.items()}
        return Usage(sum(sizes.values()), shared, unique)
