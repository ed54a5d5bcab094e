"""What a manifest says: the parts of image manifests and indexes that a registry has to know.

A manifest is hostile input. It is parsed once, on the way in, and refused when a client would
stumble over it: no JSON, a media type that contradicts itself, descriptors that are not any.
"""

from __future__ import annotations

from typing import Any

import msgspec

from firkin.registry import errors, names

OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
OCI_INDEX = "application/vnd.oci.image.index.v1+json"
DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
DOCKER_LIST = "application/vnd.docker.distribution.manifest.list.v2+json"

_IMAGES = (OCI_MANIFEST, DOCKER_MANIFEST)
_INDEXES = (OCI_INDEX, DOCKER_LIST)
_SCHEMA1 = "application/vnd.docker.distribution.manifest.v1+"

LIMIT = 4 << 20
"""Bytes of a manifest; the spec wants four megabytes to be possible."""

_MAX_CHILDREN = 10_000


class Descriptor(msgspec.Struct, rename="camel", frozen=True):
    """A reference to content."""

    media_type: str
    digest: str
    size: int
    urls: list[str] = []
    annotations: dict[str, str] | None = None
    artifact_type: str = ""
    platform: dict[str, Any] | None = None


class Document(msgspec.Struct, rename="camel", frozen=True):
    """An image manifest or an index; which of them, the fields that are there tell."""

    schema_version: int
    media_type: str = ""
    artifact_type: str = ""
    config: Descriptor | None = None
    layers: list[Descriptor] | None = None
    manifests: list[Descriptor] | None = None
    subject: Descriptor | None = None
    annotations: dict[str, str] | None = None


class Manifest(msgspec.Struct, frozen=True):
    """A manifest that was checked. ``blobs`` and ``manifests`` are what it refers to."""

    media_type: str
    document: Document
    blobs: list[Descriptor]
    manifests: list[Descriptor]

    @property
    def subject(self) -> str:
        """The digest that it refers to as its subject, or ""."""
        return self.document.subject.digest if self.document.subject else ""

    @property
    def artifact_type(self) -> str:
        """As a referrer: its own type, else that of its configuration; "" for neither."""
        config = self.document.config
        return self.document.artifact_type or (config.media_type if config else "")


def _invalid(why: str) -> errors.Failure:
    return errors.Failure("MANIFEST_INVALID", f"the manifest is not valid: {why}")


_decoder = msgspec.json.Decoder(Document)


def decode(content: bytes) -> Document:
    """The JSON of a manifest, or ``MANIFEST_INVALID``."""
    try:
        return _decoder.decode(content)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _invalid(str(error)) from None


def _media_type(document: Document, announced: str) -> str:
    declared = document.media_type
    if announced and declared and announced != declared:
        raise _invalid(f"its mediaType is {declared!r}, the Content-Type is {announced!r}")
    if found := declared or announced:
        return found
    return OCI_INDEX if document.manifests is not None else OCI_MANIFEST


def parse(content: bytes, content_type: str) -> Manifest:
    """Check a manifest that arrived with this ``Content-Type``; ``MANIFEST_INVALID`` says why not.

    Parameters of the type are ignored, as is a type that says nothing about manifests.
    """
    announced = content_type.partition(";")[0].strip().lower()
    if announced in ("application/json", "application/octet-stream", "text/plain"):
        announced = ""
    if announced.startswith(_SCHEMA1):
        raise _invalid("schema version 1 is not supported: push with a client of this decade")
    document = decode(content)
    if document.schema_version != 2:
        raise _invalid(f"schemaVersion is {document.schema_version}, only 2 is known")
    media_type = _media_type(document, announced)
    if media_type in _IMAGES:
        if document.config is None or document.manifests is not None:
            raise _invalid("an image manifest has 'config' and 'layers', and no 'manifests'")
        blobs, children = [document.config, *(document.layers or ())], []
    elif media_type in _INDEXES:
        if document.manifests is None or document.layers is not None:
            raise _invalid("an index has 'manifests', and no 'layers'")
        blobs, children = [], document.manifests
    else:
        known = ", ".join((*_IMAGES, *_INDEXES))
        raise _invalid(f"media type {media_type[:200]!r} is not known; known are {known}")
    if len(blobs) + len(children) > _MAX_CHILDREN:
        raise _invalid(f"it refers to more than {_MAX_CHILDREN} things")
    subject = [document.subject] if document.subject else []
    for descriptor in (*blobs, *children, *subject):
        if not names.is_digest(descriptor.digest):
            raise _invalid(f"{descriptor.digest[:200]!r} is not a digest")
        if not 0 <= descriptor.size < 1 << 63:
            raise _invalid(f"{descriptor.digest} has the size {descriptor.size}")
    return Manifest(media_type, document, blobs, children)
