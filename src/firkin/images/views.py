"""Images as the Engine API shows them."""

from __future__ import annotations

import datetime
import re
from typing import Any

from firkin import reference
from firkin.snapshots import snapshotter
from firkin.types import base
from firkin.types import image as types

_TIME = re.compile(r"(.*:\d\d)(?:\.(\d+))?(Z|[+-]\d\d:\d\d)$")


def seconds(text: str) -> float:
    """An RFC 3339 time as seconds since the epoch; 0 for "" and what is no time."""
    match = _TIME.match(text)
    if match is None:
        return 0.0
    fraction = (match[2] or "")[:6].ljust(6, "0")
    zone = "+00:00" if match[3] == "Z" else match[3]
    try:
        return datetime.datetime.fromisoformat(f"{match[1]}.{fraction}{zone}").timestamp()
    except (ValueError, OverflowError):
        return 0.0


def rfc3339(when: float) -> str:
    """Seconds since the epoch as the API writes times, in UTC."""
    moment = datetime.datetime.fromtimestamp(when, datetime.UTC)
    return moment.strftime("%Y-%m-%dT%H:%M:%S.%f") + "000Z"


def familiar(names: tuple[str, ...]) -> list[str]:
    return [reference.parse(name).familiar for name in names]


def repo_digests(image: types.Image) -> list[str]:
    """Digest names as users see them: of an index rather than of the manifest in it."""
    own = [name for name in image.digests if name.endswith(f"@{image.manifest}")]
    rest = [name for name in image.digests if name not in own]
    repositories = {reference.parse(name).name for name in rest}
    shown = [name for name in own if reference.parse(name).name not in repositories]
    return familiar(tuple(sorted((*rest, *shown))))


def summary(image: types.Image, containers: int = -1, shared: int = -1) -> types.ImageSummary:
    """One line of ImageList."""
    return types.ImageSummary(
        id=image.id,
        parent_id=image.parent,
        repo_tags=familiar(image.refs),
        repo_digests=repo_digests(image),
        created=int(seconds(image.config.created)),
        size=image.size,
        shared_size=shared,
        labels=image.config.config.labels,
        containers=containers,
    )


def inspect(
    image: types.Image, directories: list[str], driver: str, tagged: float
) -> dict[str, Any]:
    """ImageInspect. ``directories`` are those of the layers, the top one first."""
    config = image.config
    data: dict[str, str] = {}
    if directories:
        data["UpperDir"] = directories[0]
        if len(directories) > 1:
            data["LowerDir"] = ":".join(directories[1:])
    run = base.to_builtins(config.config)
    metadata = {"LastTagTime": rfc3339(tagged) if tagged else "0001-01-01T00:00:00Z"}
    shown: dict[str, Any] = {
        "Id": image.id,
        "RepoTags": familiar(image.refs),
        "RepoDigests": repo_digests(image),
        "Config": run,
        "Architecture": config.architecture,
        "Os": config.os,
        "Size": image.size,
        "GraphDriver": {"Name": driver, "Data": data},
        "RootFS": {"Type": "layers", "Layers": list(config.rootfs.diff_ids)},
        "Metadata": metadata,
    }
    comment = config.history[-1].comment if config.history else ""
    about = (("Parent", image.parent), ("Comment", comment), ("Author", config.author))
    shown |= {key: text for key, text in about if text}
    if config.created:
        shown["Created"] = config.created
    if config.variant:
        shown["Variant"] = config.variant
    if config.os_version:
        shown["OsVersion"] = config.os_version
    return shown


def history(
    image: types.Image, stack: list[snapshotter.Info], parents: list[types.Image]
) -> list[types.HistoryItem]:
    """ImageHistory, the newest first. ``stack`` is the image's layers, bottom first; ``parents``
    are the images it was committed from, nearest first."""
    sizes = [info.size for info in stack]
    items: list[types.HistoryItem] = []
    at = 0
    lines = list(image.config.history)
    described = sum(not line.empty_layer for line in lines)
    lines += [types.History(created=image.config.created)] * max(0, len(sizes) - described)
    for line in lines:
        size = 0
        if not line.empty_layer and at < len(sizes):
            size = sizes[at]
            at += 1
        items.append(
            types.HistoryItem(
                created=int(seconds(line.created)),
                created_by=line.created_by,
                size=size,
                comment=line.comment,
            )
        )
    items.reverse()
    known = {len(other.config.history): other for other in reversed([image, *parents])}
    for place, item in enumerate(items):
        owner = known.get(len(items) - place)
        if owner is not None:
            item.id = owner.id
            item.tags = familiar(owner.refs) or None
    return items
