"""Images of one name for several platforms.

A pull keeps the index that a name meant, under a digest name of its repository; each image made
from it keeps a digest name too, that of its own manifest, and the tag knows which digest it means.
So the variants of an image are the images whose manifests its index lists, and no table is needed
for it. One of them has the tag; the others stand behind it: they are listed only under it, are
chosen by asking for their platform, and go when it goes.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import msgspec

from firkin import errdefs
from firkin.content import store as contents
from firkin.images import catalog, platforms
from firkin.types import base
from firkin.types import image as types

_ATTESTATION = "vnd.docker.reference.type"
SUBJECT = "vnd.docker.reference.digest"
_PREDICATE = "in-toto.io/predicate-type"
_IN_TOTO = "application/vnd.in-toto+json"
_MAX_STATEMENT = 64 << 20


class Member(msgspec.Struct, frozen=True):
    """A manifest of an image's index, and the image that was made from it if it is here."""

    descriptor: types.Descriptor
    image: types.Image | None


def platform_of(image: types.Image) -> types.Platform:
    """What an image was built for."""
    found = image.config
    return types.Platform(
        os=found.os,
        architecture=found.architecture,
        variant=found.variant,
        os_version=found.os_version,
    )


def parse(text: str) -> types.Platform:
    """A platform as the API writes it: JSON, or os[/arch[/variant]]."""
    if not text.startswith("{"):
        return platforms.parse(text)
    found = base.decode(types.Platform, text)
    return platforms.parse(platforms.show(found))


class Variants:
    """See the module's description. Reads small blobs, each once."""

    def __init__(self, known: catalog.Catalog, store: contents.Store) -> None:
        self._known = known
        self._store = store
        self._read: dict[str, types.Index | None] = {}

    def _index(self, digest: str) -> types.Index | None:
        """The index of that digest, None when it is none or not here."""
        if digest not in self._read:
            found: types.Index | None = None
            try:
                data = contents.read(self._store, digest, catalog.MAX_DOCUMENT)
                if "manifests" in json.loads(data):
                    found = base.decode(types.Index, data)
            except (errdefs.FirkinError, ValueError):
                return None  # it may come yet
            self._read[digest] = found
        return self._read[digest]

    def indexes(self, image: types.Image, name: str = "") -> list[tuple[str, types.Index]]:
        """The indexes that an image came from, by their digests; the latest first.

        Of a tagged image only those that its tags mean, or ``name`` (canonical) alone.
        """
        known = self._known
        names = (name,) if name in image.refs else image.refs
        latest = sorted(names, key=lambda ref: -known.tagged.get(ref, 0.0))
        digests = [known.targets.get(ref, "") for ref in latest]
        if not digests or not all(digests):
            latest = sorted(image.digests, key=lambda ref: -known.tagged.get(ref, 0.0))
            digests = [ref.rpartition("@")[2] for ref in latest]
        found = []
        for digest in dict.fromkeys(digests):
            if digest != image.manifest and (index := self._index(digest)) is not None:
                found.append((digest, index))
        return found

    def _by_manifest(self) -> dict[str, types.Image]:
        return {image.manifest: image for image in self._known.images.values()}

    def members(self, image: types.Image) -> list[Member]:
        """What the image's indexes list, this image included; itself alone without an index."""
        here = self._by_manifest()
        found: dict[str, Member] = {}
        for _, index in self.indexes(image):
            for item in index.manifests:
                found.setdefault(item.digest, Member(item, here.get(item.digest)))
        if image.manifest not in found:
            found[image.manifest] = Member(self.own(image), image)
        return list(found.values())

    def own(self, image: types.Image) -> types.Descriptor:
        """The descriptor of an image's own manifest."""
        try:
            data = contents.read(self._store, image.manifest, catalog.MAX_DOCUMENT)
            media = json.loads(data).get("mediaType") or types.MEDIA_OCI_MANIFEST
            size = len(data)
        except (errdefs.FirkinError, ValueError):
            media, size = types.MEDIA_OCI_MANIFEST, 0
        return types.Descriptor(
            media_type=media, digest=image.manifest, size=size, platform=platform_of(image)
        )

    def target(self, image: types.Image, name: str = "") -> types.Descriptor:
        """What the image's name means: its index, or its manifest."""
        for digest, index in self.indexes(image, name):
            return types.Descriptor(
                media_type=index.media_type, digest=digest, size=self._store.info(digest).size
            )
        return self.own(image)

    def whole(self, image: types.Image, name: str = "") -> types.Descriptor | None:
        """The index that the image's name means, when all that it lists is here."""
        found = self.indexes(image, name)
        if found and all(self._complete(item) for item in found[0][1].manifests):
            return self.target(image, name)
        return None

    def _complete(self, item: types.Descriptor) -> bool:
        manifest = self._manifest(item.digest)
        return manifest is not None and all(
            self._store.exists(one.digest) for one in (manifest.config, *manifest.layers)
        )

    def find(self, image: types.Image, platform: str, name: str) -> types.Image:
        """The variant for a platform. Raises ``NotFound`` in the words that clients know."""
        wanted = parse(platform)
        others = [m.image for m in self.members(image) if m.image is not None]
        for found in (image, *others):
            if platforms.suits(platform_of(found), wanted):
                return found
        raise errdefs.NotFound(
            f"image with reference {name} was found but does not match the specified platform: "
            f"wanted {platforms.show(wanted)}, actual: {platforms.show(platform_of(image))}"
        )

    def behind(self, image: types.Image) -> list[types.Image]:
        """The variants that stand behind a tagged image: those without a tag of their own."""
        if not image.refs:
            return []
        return [
            member.image
            for member in self.members(image)
            if member.image is not None and member.image.id != image.id and not member.image.refs
        ]

    def hidden(self) -> set[str]:
        """The ids of all images that stand behind another one."""
        return {
            other.id
            for image in list(self._known.images.values())
            if image.refs
            for other in self.behind(image)
        }

    def summaries(self, image: types.Image, users: dict[str, list[str]]) -> list[dict[str, Any]]:
        """The ``Manifests`` of an image; ``users`` are the containers by image id."""
        return [self._summary(member, users) for member in self.members(image)]

    def _summary(self, member: Member, users: dict[str, list[str]]) -> dict[str, Any]:
        item = member.descriptor
        content = self._present([item])
        notes = item.annotations or {}
        shown: dict[str, Any] = {
            "ID": item.digest,
            "Descriptor": msgspec.to_builtins(item),
            "Available": member.image is not None,
            "Kind": "unknown",
        }
        unpacked = 0
        if notes.get(_ATTESTATION) == "attestation-manifest":
            shown["Kind"] = "attestation"
            shown["AttestationData"] = {"For": notes.get(SUBJECT, "")}
            manifest = self._manifest(item.digest)
            shown["Available"] = manifest is not None
            content += self._present(manifest.layers) if manifest is not None else 0
        elif item.platform is None or item.platform.os != "unknown":
            image = member.image
            shown["Kind"] = "image"
            platform = item.platform
            if image is not None:
                platform = platform or platform_of(image)
                unpacked = image.size
                manifest = self._manifest(item.digest)
                if manifest is not None:
                    content += self._present([manifest.config, *manifest.layers])
            shown["ImageData"] = {
                "Platform": msgspec.to_builtins(platform) if platform is not None else {},
                "Containers": users.get(image.id, []) if image is not None else [],
                "Size": {"Unpacked": unpacked},
            }
        shown["Size"] = {"Content": content, "Total": content + unpacked}
        return shown

    def _manifest(self, digest: str) -> types.Manifest | None:
        try:
            data = contents.read(self._store, digest, catalog.MAX_DOCUMENT)
            return catalog.decode_manifest(data)
        except errdefs.FirkinError:
            return None

    def _present(self, items: Iterable[types.Descriptor]) -> int:
        """Bytes of those that are in the content store."""
        return sum(item.size for item in items if self._store.exists(item.digest))

    def attestations(
        self, image: types.Image, named: types.Image, kinds: list[str], statements: bool
    ) -> list[dict[str, Any]]:
        """ImageAttestations: the in-toto statements about an image that came with the index of
        ``named``, the image that it stands behind or is."""
        found: list[dict[str, Any]] = []
        for member in self.members(named):
            notes = member.descriptor.annotations or {}
            if notes.get(SUBJECT) != image.manifest:
                continue
            manifest = self._manifest(member.descriptor.digest)
            for item in manifest.layers if manifest is not None else ():
                kind = (item.annotations or {}).get(_PREDICATE, "")
                if item.media_type != _IN_TOTO or (kinds and kind not in kinds):
                    continue
                shown = {"Descriptor": msgspec.to_builtins(item), "PredicateType": kind}
                if statements:
                    data = contents.read(self._store, item.digest, _MAX_STATEMENT)
                    shown["Statement"] = msgspec.Raw(data)
                found.append(shown)
        return found

    def blobs(self, image: types.Image) -> set[str]:
        """Digests of all that the content store has to have for an image.

        Raises ``NotFound`` or ``InvalidParameter`` when its manifest is damaged.
        """
        manifest = self._known.manifest(image)
        return {
            image.id,
            image.manifest,
            *(name.rpartition("@")[2] for name in image.digests),
            *self.attached(image),
            manifest.config.digest,
            *(layer.digest for layer in manifest.layers),
        }

    def attached(self, image: types.Image) -> set[str]:
        """Digests of the attestation manifests about an image and its variants that are here, and
        of what they hold."""
        found: set[str] = set()
        members = self.members(image)
        here = {one.descriptor.digest for one in members if one.image is not None}
        for member in members:
            if (member.descriptor.annotations or {}).get(SUBJECT) in here:
                found.add(member.descriptor.digest)
                manifest = self._manifest(member.descriptor.digest)
                if manifest is not None:
                    found |= {manifest.config.digest, *(item.digest for item in manifest.layers)}
        return found
