"""Volumes on the wire (API schema Volume)."""

from __future__ import annotations

from typing import Any

import msgspec

from firkin.types.base import Wire


class UsageData(Wire):
    """``size`` in bytes, ``ref_count`` containers using it; -1 where not known."""

    size: int = -1
    ref_count: int = -1


class Volume(Wire):
    """A volume; ``mountpoint`` is its directory on the host."""

    created_at: str = ""
    driver: str = "local"
    labels: dict[str, str] | None = None
    mountpoint: str = ""
    name: str = ""
    options: dict[str, str] | None = None
    scope: str = "local"
    status: dict[str, Any] | msgspec.UnsetType = msgspec.UNSET


class CreateRequest(Wire):
    """The body of VolumeCreate."""

    name: str = ""
    driver: str = ""
    driver_opts: dict[str, str] | None = None
    labels: dict[str, str] | None = None
    cluster_volume_spec: dict[str, Any] | None = None
