"""The images that are there, in memory and in the database.

All is read once at start; resolving a name costs a look-up or two. Changes go to the database
first, in one transaction, then here; they are made on the event loop only, so readers never see
half of one.
"""

from __future__ import annotations

import bisect
import hashlib
import sqlite3
import time
from collections.abc import Iterable

import msgspec

from firkin import errdefs, reference
from firkin.content import store as contents
from firkin.store import db
from firkin.store import images as rows
from firkin.types import base
from firkin.types import image as types

MAX_DOCUMENT = 8 << 20
_HEX = frozenset("0123456789abcdef")


def decode_config(data: bytes) -> types.ImageConfig:
    """An image config. Raises ``InvalidParameter``."""
    try:
        config = base.decode(types.ImageConfig, data)
    except errdefs.InvalidParameter as error:
        raise errdefs.InvalidParameter(f"the image's config is not valid: {error}") from error
    for diff_id in config.rootfs.diff_ids:
        if not reference.is_sha256(diff_id):
            raise errdefs.InvalidParameter(
                f"the image's config has the diff id {diff_id[:100]!r}, which is not sha256:<hex>"
            )
    return config


def decode_manifest(data: bytes) -> types.Manifest:
    """An image manifest. Raises ``InvalidParameter``."""
    try:
        manifest = base.decode(types.Manifest, data)
    except errdefs.InvalidParameter as error:
        raise errdefs.InvalidParameter(f"the image's manifest is not valid: {error}") from error
    for item in (manifest.config, *manifest.layers):
        if not reference.is_sha256(item.digest):
            raise errdefs.InvalidParameter(
                f"the image's manifest has the digest {item.digest[:100]!r}, "
                "which is not sha256:<hex>"
            )
    return manifest


def digest_of(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def no_such_image(name: str) -> errdefs.NotFound:
    """The error for a name that no image has; tools match on its text."""
    try:
        name = reference.parse(name).tagged().familiar
    except errdefs.InvalidParameter:
        pass
    return errdefs.NotFound(f"No such image: {name}")


class Catalog:
    """See the module's description. Make one, then ``await open()``."""

    def __init__(self, database: db.Database, store: contents.Store) -> None:
        self._db = database
        self._store = store
        self.images: dict[str, types.Image] = {}
        self.names: dict[str, str] = {}
        self.tagged: dict[str, float] = {}
        self.targets: dict[str, str] = {}
        self._ids: list[str] = []
        self.blobs: dict[str, types.Descriptor] = {}

    async def open(self) -> None:
        """Read everything. An image whose blobs are damaged is left out of sharing only."""
        images, refs = await self._db.run(rows.every)
        names: dict[str, list[str]] = {}
        for ref in refs:
            self.names[ref.name] = ref.image
            self.tagged[ref.name] = ref.tagged
            self.targets[ref.name] = ref.target
            names.setdefault(ref.image, []).append(ref.name)
        for row in images:
            self._insert(row, names.get(row.id, []))

    def _insert(self, row: rows.Row, names: Iterable[str]) -> types.Image:
        ordered = sorted(names)
        image = types.Image(
            id=row.id,
            manifest=row.manifest,
            config=decode_config(row.config),
            top=row.top,
            size=row.size,
            refs=tuple(name for name in ordered if "@" not in name),
            digests=tuple(name for name in ordered if "@" in name),
            parent=row.parent,
        )
        if row.id not in self.images:
            bisect.insort(self._ids, row.id)
        self.images[row.id] = image
        try:
            manifest = self.manifest(image)
        except errdefs.FirkinError:
            return image
        for diff_id, layer in zip(image.config.rootfs.diff_ids, manifest.layers, strict=False):
            self.blobs.setdefault(diff_id, layer)
        return image

    def manifest(self, image: types.Image) -> types.Manifest:
        """The image's manifest, from the content store. Blocks for one small read."""
        return decode_manifest(contents.read(self._store, image.manifest, MAX_DOCUMENT))

    def _renamed(self, *ids: str) -> None:
        for identity in ids:
            image = self.images.get(identity)
            if image is None:
                continue
            mine = sorted(name for name, owner in self.names.items() if owner == identity)
            self.images[identity] = msgspec.structs.replace(
                image,
                refs=tuple(name for name in mine if "@" not in name),
                digests=tuple(name for name in mine if "@" in name),
            )

    async def add(self, row: rows.Row, names: Iterable[str] = (), target: str = "") -> types.Image:
        """Store an image with ``names`` (canonical), which other images lose.

        ``target`` is the digest of what the names mean, by default of the image's manifest.
        """
        target = target or row.manifest
        wanted = list(names)

        def change(connection: sqlite3.Connection) -> list[rows.Ref]:
            rows.put(connection, row)
            return [rows.tag(connection, name, row.id, target) for name in wanted]

        refs = await self._db.run(change)
        if (old := self.images.get(row.id)) is not None:
            row = row._replace(parent=old.parent or row.parent)
        self._insert(row, [*(name for name, owner in self.names.items() if owner == row.id)])
        self._take(refs)
        return self.images[row.id]

    def _take(self, refs: Iterable[rows.Ref]) -> None:
        touched: set[str] = set()
        for ref in refs:
            touched |= {ref.image, self.names.get(ref.name, "")}
            self.names[ref.name] = ref.image
            self.tagged[ref.name] = ref.tagged
            self.targets[ref.name] = ref.target
        self._renamed(*touched)

    async def tag(self, image: str, name: str, target: str = "") -> None:
        """Give the canonical ``name`` to an image, taking it from any other.

        ``target`` is the digest of what it means, by default of the image's manifest.
        """
        means = target or self.images[image].manifest
        self._take([await self._db.run(lambda c: rows.tag(c, name, image, means))])

    async def untag(self, names: Iterable[str]) -> None:
        """Take ``names`` away from whatever has them."""
        gone = list(names)

        def change(connection: sqlite3.Connection) -> None:
            for name in gone:
                rows.untag(connection, name)

        await self._db.run(change)
        owners = {self.names.pop(name, "") for name in gone}
        for name in gone:
            self.tagged.pop(name, None)
            self.targets.pop(name, None)
        self._renamed(*owners)

    async def remove(self, identity: str) -> None:
        """Forget an image and its names. Its blobs and snapshots are garbage then."""
        await self._db.run(lambda c: rows.remove(c, identity))
        image = self.images.pop(identity)
        self._ids.remove(identity)
        for name in (*image.refs, *image.digests):
            self.names.pop(name, None)
            self.tagged.pop(name, None)
            self.targets.pop(name, None)
        for other in list(self.images.values()):
            if other.parent == identity:
                self.images[other.id] = msgspec.structs.replace(other, parent="")
        self.blobs.clear()
        for other in self.images.values():
            try:
                manifest = self.manifest(other)
            except errdefs.FirkinError:
                continue
            for diff_id, layer in zip(other.config.rootfs.diff_ids, manifest.layers, strict=False):
                self.blobs.setdefault(diff_id, layer)

    def is_id(self, name: str, identity: str) -> bool:
        """Whether ``name`` means the image ``identity`` by its id, whole or short."""
        return identity.startswith((name, f"sha256:{name}"))

    def resolve(self, name: str) -> types.Image:
        """The image that ``name`` (a reference, an id or the beginning of one) means.

        Raises ``NotFound`` ("No such image: NAME") or ``InvalidParameter``.
        """
        if name.startswith("sha256:"):
            found = self._by_prefix(name)
            if found is None:
                raise no_such_image(name)
            return found
        if len(name) == 64 and _HEX.issuperset(name):
            image = self.images.get(f"sha256:{name}")
            if image is None:
                raise errdefs.NotFound(f"No such image: {name}")
            return image
        parsed = reference.parse(name).tagged()
        identity = self.names.get(str(parsed))
        if identity is None and parsed.digest:
            # A tag beside a digest adds nothing: the digest says which image is meant.
            by_digest = reference.Reference(parsed.domain, parsed.path, "", parsed.digest)
            identity = self.names.get(str(by_digest))
        if identity is None and _HEX.issuperset(name):
            found = self._by_prefix(f"sha256:{name}")
            identity = found.id if found is not None else None
        if identity is None:
            raise no_such_image(name)
        return self.images[identity]

    def canonical(self, name: str) -> str:
        """A name as it stands in ``names``; "" for an id, and for what no image is called."""
        try:
            found = str(reference.parse(name).tagged())
        except errdefs.InvalidParameter:
            return ""
        return found if found in self.names else ""

    def _by_prefix(self, prefix: str) -> types.Image | None:
        if prefix in self.images:
            return self.images[prefix]
        at = bisect.bisect_left(self._ids, prefix)
        matches = [i for i in self._ids[at : at + 2] if i.startswith(prefix)]
        if len(prefix) <= len("sha256:") or not matches:
            return None
        if len(matches) > 1:
            raise errdefs.InvalidParameter(
                f"ambiguous image id {prefix.removeprefix('sha256:')!r}: "
                "more than one image's id begins so; give more digits"
            )
        return self.images[matches[0]]


def make_row(config: bytes, manifest: str, top: str, size: int, parent: str = "") -> rows.Row:
    """The row of an image that is added now."""
    return rows.Row(digest_of(config), manifest, top, size, parent, config, time.time())
