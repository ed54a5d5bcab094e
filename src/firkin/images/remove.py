"""Removing images: Docker's rules for untagging and deleting.

By a name: the name is taken away; when it was the last one, the image goes too. By an id: all its
names and the image go. What stands against it:

=========================================  =================  ========
in the way                                 by                 force
=========================================  =================  ========
a container, running or not                its only name      helps
a running container                        id                 no help
a stopped container                        id                 helps
names in several repositories              id                 helps
images committed from it                   id                 no help
=========================================  =================  ========
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec

from firkin import errdefs, reference
from firkin.images import catalog, layers, variants, views
from firkin.types import image as types


class User(msgspec.Struct, frozen=True):
    """A container that was made from an image."""

    id: str
    running: bool


InUse = Callable[[str], Sequence[User]]
OnEvent = Callable[[str, str, dict[str, str]], None]

_SHORT = 12


def short(identity: str) -> str:
    return identity.removeprefix("sha256:")[:_SHORT]


def _repositories(image: types.Image) -> set[str]:
    return {reference.parse(name).name for name in (*image.refs, *image.digests)}


class Remover:
    """One removal at a time; the caller collects garbage afterwards."""

    def __init__(
        self, known: catalog.Catalog, others: variants.Variants, on_event: OnEvent
    ) -> None:
        self._known = known
        self._variants = others
        self._on_event = on_event

    def _conflict(self, image: types.Image, users: Sequence[User], force: bool) -> str:
        """Why the image cannot be deleted; "" when it can."""
        hard = f"conflict: unable to delete {short(image.id)} (cannot be forced) - "
        soft = f"conflict: unable to delete {short(image.id)} (must be forced) - "
        if any(other.parent == image.id for other in self._known.images.values()):
            return hard + "image has dependent child images"
        for user in users:
            if user.running:
                return hard + f"image is being used by running container {short(user.id)}"
        if force:
            return ""
        for user in users:
            return soft + f"image is being used by stopped container {short(user.id)}"
        return ""

    async def remove(
        self, name: str, force: bool, noprune: bool, in_use: InUse
    ) -> list[types.DeleteItem]:
        """Remove what ``name`` means, with the variants that stand behind it.

        Returns the steps done. Raises ``NotFound``, ``Conflict``.
        """
        image = self._known.resolve(name)
        behind = self._variants.behind(image)
        items = await self._remove(name, image, force, noprune, in_use)
        left = self._known.images.get(image.id)
        if left is None or not left.refs:
            for variant in behind:
                if not self._conflict(variant, in_use(variant.id), force):
                    items += await self._delete(variant, noprune, in_use)
        return items

    async def remove_variants(
        self, name: str, platforms: Sequence[str], force: bool, noprune: bool, in_use: InUse
    ) -> list[types.DeleteItem]:
        """Remove the variants of ``name`` for ``platforms``; another one that is here, if any,
        takes over the tags of one that has them. Raises ``NotFound``, ``Conflict``."""
        items: list[types.DeleteItem] = []
        for platform in platforms:
            image = self._known.resolve(name)
            variant = self._variants.find(image, platform, name)
            if conflict := self._conflict(variant, in_use(variant.id), force):
                raise errdefs.Conflict(conflict)
            heirs = self._variants.behind(variant)
            indexes = self._variants.indexes(variant)
            for tag in variant.refs if heirs else ():
                await self._known.tag(heirs[0].id, tag, self._known.targets.get(tag, ""))
            for digest, _ in indexes if heirs else ():
                for mine in [n for n in variant.digests if n.endswith(f"@{digest}")]:
                    await self._known.tag(heirs[0].id, mine, digest)
            items += await self._delete(self._known.images[variant.id], noprune, in_use)
        return items

    async def _remove(
        self, name: str, image: types.Image, force: bool, noprune: bool, in_use: InUse
    ) -> list[types.DeleteItem]:
        users = in_use(image.id)
        if self._known.is_id(name, image.id):
            if len(_repositories(image)) > 1 and not force:
                raise errdefs.Conflict(
                    f"conflict: unable to delete {short(image.id)} (must be forced) - "
                    "image is referenced in multiple repositories"
                )
            if conflict := self._conflict(image, users, force):
                raise errdefs.Conflict(conflict)
            return await self._delete(image, noprune, in_use)
        parsed = reference.parse(name).tagged()
        mine = (*image.refs, *image.digests)
        canonical = str(parsed)
        if canonical not in mine:
            canonical = str(reference.Reference(parsed.domain, parsed.path, "", parsed.digest))
        parsed = reference.parse(canonical)
        # The digests of the same repository are no names of their own: they go with the last tag.
        rest = [other for other in mine if other != canonical]
        companions = [o for o in rest if "@" in o and reference.parse(o).name == parsed.name]
        last = len(rest) == len(companions)
        if last and users and not force:
            shown = views.familiar((canonical,))[0]
            raise errdefs.Conflict(
                f'conflict: unable to remove repository reference "{shown}" (must force) - '
                f"container {short(users[0].id)} is using its referenced image {short(image.id)}"
            )
        if not last:
            return await self._untag(image, [canonical])
        if self._conflict(image, users, force):
            # It stays without a name until nothing needs it any more.
            return await self._untag(image, [canonical, *companions])
        return await self._delete(image, noprune, in_use)

    async def _untag(self, image: types.Image, names: list[str]) -> list[types.DeleteItem]:
        await self._known.untag(names)
        for _ in names:
            self._on_event("untag", image.id, {"name": image.id})
        return [types.DeleteItem(untagged=shown) for shown in views.familiar(tuple(names))]

    async def _delete(
        self, image: types.Image, noprune: bool, in_use: InUse
    ) -> list[types.DeleteItem]:
        items: list[types.DeleteItem] = []
        if names := [*image.refs, *image.digests]:
            items += await self._untag(image, names)
        await self._known.remove(image.id)
        self._on_event("delete", image.id, {"name": image.id})
        items.append(types.DeleteItem(deleted=image.id))
        items += [types.DeleteItem(deleted=chain) for chain in self._orphans(image)]
        parent = self._known.images.get(image.parent)
        if parent is not None and not noprune and not parent.refs and not parent.digests:
            users = in_use(parent.id)
            if not users and not self._conflict(parent, users, False):
                items += await self._delete(parent, noprune, in_use)
        return items

    def _orphans(self, image: types.Image) -> list[str]:
        """Layers that no other image has, the top one first."""
        kept: set[str] = set()
        for other in self._known.images.values():
            kept.update(layers.chain_ids(other.config.rootfs.diff_ids))
        chain = layers.chain_ids(image.config.rootfs.diff_ids)
        return [identity for identity in reversed(chain) if identity not in kept]
