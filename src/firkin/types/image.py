"""Images: OCI descriptors, manifests and configs, and the Engine API's views of an image."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import field

from firkin.types.base import Wire
from firkin.types.container import HealthConfig

MEDIA_OCI_MANIFEST = "application/vnd.oci.image.manifest.v1+json"
MEDIA_OCI_INDEX = "application/vnd.oci.image.index.v1+json"
MEDIA_OCI_CONFIG = "application/vnd.oci.image.config.v1+json"
MEDIA_OCI_LAYER = "application/vnd.oci.image.layer.v1.tar"
MEDIA_DOCKER_MANIFEST = "application/vnd.docker.distribution.manifest.v2+json"
MEDIA_DOCKER_INDEX = "application/vnd.docker.distribution.manifest.list.v2+json"
MEDIA_DOCKER_CONFIG = "application/vnd.docker.container.image.v1+json"
MEDIA_DOCKER_LAYER_GZIP = "application/vnd.docker.image.rootfs.diff.tar.gzip"


class Platform(msgspec.Struct, kw_only=True, omit_defaults=True):
    """image-spec platform."""

    architecture: str = ""
    os: str = ""
    os_version: str = field(default="", name="os.version")
    variant: str = ""


class Descriptor(msgspec.Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """image-spec content descriptor; ``size`` is in bytes."""

    media_type: str = ""
    digest: str
    size: int
    urls: list[str] | None = None
    annotations: dict[str, str] | None = None
    platform: Platform | None = None
    artifact_type: str = ""


class Manifest(msgspec.Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """image-spec image manifest (and Docker's schema 2, which has the same shape)."""

    schema_version: int = field(default=2)
    media_type: str = MEDIA_OCI_MANIFEST
    config: Descriptor
    layers: list[Descriptor]
    annotations: dict[str, str] | None = None
    subject: Descriptor | None = None
    artifact_type: str = ""


class Index(msgspec.Struct, kw_only=True, omit_defaults=True, rename="camel"):
    """image-spec image index."""

    schema_version: int = 2
    media_type: str = MEDIA_OCI_INDEX
    manifests: list[Descriptor]
    annotations: dict[str, str] | None = None


class RunConfig(Wire, omit_defaults=True):
    """The ``config`` member of an image config: the defaults of a container's Config."""

    user: str = ""
    exposed_ports: dict[str, Any] | None = None
    env: list[str] | None = None
    entrypoint: list[str] | None = None
    cmd: list[str] | None = None
    healthcheck: HealthConfig | None = None
    args_escaped: bool = False
    volumes: dict[str, Any] | None = None
    working_dir: str = ""
    on_build: list[str] | None = None
    labels: dict[str, str] | None = None
    stop_signal: str = ""
    shell: list[str] | None = None


class RootFS(msgspec.Struct, kw_only=True):
    """Layers of an image, bottom first, by the digest of their uncompressed tar."""

    type: str = "layers"
    diff_ids: list[str] = []


class History(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One line of an image's history; ``empty_layer`` lines changed only the config."""

    created: str = ""
    created_by: str = ""
    author: str = ""
    comment: str = ""
    empty_layer: bool = False


class ImageConfig(msgspec.Struct, kw_only=True, omit_defaults=True):
    """image-spec image configuration. Its digest is the image's id."""

    created: str = ""
    author: str = ""
    architecture: str = ""
    variant: str = ""
    os: str = ""
    os_version: str = field(default="", name="os.version")
    config: RunConfig = field(default_factory=RunConfig)
    rootfs: RootFS = field(default_factory=RootFS)
    history: list[History] = []


class Image(msgspec.Struct, kw_only=True, frozen=True):
    """An image that this engine holds whole.

    ``id`` is the digest of its config ("sha256:..."); ``top`` the chain id of its top layer ("" for
    an image without layers); ``size`` the bytes of its unpacked layers; ``refs`` its names
    ("docker.io/library/busybox:latest").
    """

    id: str
    manifest: str
    config: ImageConfig
    top: str
    size: int
    refs: tuple[str, ...] = ()
    digests: tuple[str, ...] = ()
    parent: str = ""


class ImageSummary(Wire):
    """One image of ImageList."""

    id: str
    parent_id: str = ""
    repo_tags: list[str] = []
    repo_digests: list[str] = []
    created: int = 0
    size: int = 0
    shared_size: int = -1
    labels: dict[str, str] | None = None
    containers: int = -1


class HistoryItem(Wire):
    """One line of ImageHistory; ``created`` is in seconds since the epoch, ``size`` in bytes."""

    id: str = "<missing>"
    created: int = 0
    created_by: str = ""
    tags: list[str] | None = None
    size: int = 0
    comment: str = ""


class DeleteItem(Wire, omit_defaults=True):
    """One step of ImageDelete."""

    untagged: str = ""
    deleted: str = ""
