"""The engine itself over the API: version, information, disk usage, events."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from firkin.client import api

    Filters = dict[str, list[str]]

_SECTIONS = {
    "Images": "ImageUsage", "Containers": "ContainerUsage", "Volumes": "VolumeUsage",
    "BuildCache": "BuildCacheUsage",
}  # fmt: skip
"""Members of SystemDataUsage until API 1.51, and where their objects are since."""


def version(client: api.Client) -> dict[str, Any]:
    return dict(client.call("GET", "/version"))


def info(client: api.Client) -> dict[str, Any]:
    return dict(client.call("GET", "/info"))


def disk_usage(client: api.Client, kind: str = "") -> dict[str, Any]:
    """Objects and their sizes, of one kind or of all, in the members that API 1.51 has; later
    versions show them in sections."""
    query = {"verbose": True, "type": kind or None}
    found = dict(client.call("GET", "/system/df", query))
    if "ImageUsage" in found:
        found["LayersSize"] = found["ImageUsage"].get("TotalSize", 0)
    for old, new in _SECTIONS.items():
        if new in found:
            found[old] = found[new].get("Items") or []
    return found


def prune(client: api.Client, noun: str, filters: Filters, **query: object) -> dict[str, Any]:
    """Prune "containers", "networks", "volumes" or "build"."""
    found = client.call("POST", f"/{noun}/prune", {"filters": filters or None, **query})
    return dict(found or {})


def check(client: api.Client, *, repair: bool, deep: bool) -> list[dict[str, Any]]:
    """Differences between what the engine believes and what is there (Firkin's own)."""
    query = {"repair": repair or None, "deep": deep or None}
    return list(client.call("POST", "/system/check", query)["Differences"])


def events(
    client: api.Client, *, since: str = "", until: str = "", filters: Filters | None = None
) -> Iterator[bytes]:
    """Events as they happen, each one JSON text; ends only when ``until`` is past."""
    query = {"since": since or None, "until": until or None, "filters": filters or None}
    response = client.request("GET", "/events", query)
    try:
        for line in response.lines():
            if line.strip():
                yield line
    finally:
        response.close()
