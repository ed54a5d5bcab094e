"""``system df``: what takes how much room, and how much of it could be had back."""

from __future__ import annotations

import io
import sys

from firkin.cli import common, errors, flags, formatter, shapes, units
from firkin.cli.commands.container import ls as container_ls
from firkin.cli.commands.image import ls as image_ls
from firkin.cli.commands.volume import ls as volume_ls
from firkin.client import system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS]",
    "Show how much disk is used",
    (
        flags.string("format", "", common.FORMAT_USAGE),
        flags.boolean("verbose", "v", "Show every object"),
    ),
    flags.none(),
)

COLUMNS = {
    "Type": "TYPE",
    "TotalCount": "TOTAL",
    "Active": "ACTIVE",
    "Size": "SIZE",
    "Reclaimable": "RECLAIMABLE",
}
TABLE = "table {{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}"
_ACTIVE = ("running", "paused", "restarting")
_COMMAND_LENGTH = 20

IMAGES = (
    "table {{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t"
    "{{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}"
)
CONTAINER_COLUMNS = {
    "ID": "CONTAINER ID",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "LocalVolumes": "LOCAL VOLUMES",
    "Size": "SIZE",
    "RunningFor": "CREATED",
    "Status": "STATUS",
    "Names": "NAMES",
}
VOLUME_COLUMNS = {"Name": "VOLUME NAME", "Links": "LINKS", "Size": "SIZE"}
CACHE_COLUMNS = {
    "ID": "CACHE ID",
    "CacheType": "CACHE TYPE",
    "Size": "SIZE",
    "CreatedSince": "CREATED",
    "LastUsedSince": "LAST USED",
    "UsageCount": "USAGE",
    "Shared": "SHARED",
}


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """The summary, or with -v every object."""
    fmt, verbose = values.text("format"), values.flag("verbose")
    usage = system.disk_usage(cli.client)
    if verbose:
        if fmt in ("", "table"):
            _show_objects(usage)
        elif fmt == "json":
            sys.stdout.write(_objects(usage).to_json())
        else:
            out = io.StringIO()
            formatter.render([_objects(usage)], fmt, out, columns={})
            sys.stdout.write(out.getvalue().removesuffix("\n"))  # one object, as it is
        return 0
    chosen = TABLE if fmt in ("", "table") else fmt
    formatter.render(summary(usage), chosen, sys.stdout, columns=COLUMNS)
    if chosen == TABLE and (line := _limits(usage.get("DataRoot") or {})):
        cli.print(line)
    return 0


def _limits(root: dict[str, Any]) -> str:
    """What is left of the quota of the engine's data root, if it has one."""
    size, quota, reserve = (root.get(key) or 0 for key in ("Size", "Quota", "Reserve"))
    if quota:
        shown = f"{units.human_size(size)} of {units.human_size(quota)}"
        return f"\nData root: {shown} used ({size * 100 // quota}%)"
    if reserve:
        free = units.human_size(root.get("Free") or 0)
        return f"\nData root: {free} free, of which {units.human_size(reserve)} are to stay"
    return ""


def summary(usage: dict[str, Any]) -> Iterator[formatter.Row]:
    """A row per kind of object."""
    images = _items(usage, "Images")
    total = usage.get("LayersSize") or 0
    own = sum(
        image["Size"] - image["SharedSize"]
        for image in images
        if image.get("Containers") and image.get("Size", -1) != -1 != image.get("SharedSize", -1)
    )
    used = sum(1 for image in images if image.get("Containers", 0) > 0)
    # An engine of API 1.52 tells it itself, and does not count what two images in use share.
    free = (usage.get("ImageUsage") or {}).get("Reclaimable", total - own)
    yield _row("Images", len(images), used, total, free)
    containers = _items(usage, "Containers")
    running = [item for item in containers if str(item.get("State")).lower() in _ACTIVE]
    total = sum(item.get("SizeRw") or 0 for item in containers)
    busy = sum(item.get("SizeRw") or 0 for item in running)
    yield _row("Containers", len(containers), len(running), total, total - busy)
    volumes = [item.get("UsageData") or {} for item in _items(usage, "Volumes")]
    sizes = [(item.get("RefCount", 0) > 0, max(item.get("Size", 0), 0)) for item in volumes]
    total = sum(size for _, size in sizes)
    free = sum(size for linked, size in sizes if not linked)
    yield _row("Local Volumes", len(sizes), sum(linked for linked, _ in sizes), total, free)
    cache = _items(usage, "BuildCache")
    in_use = [item for item in cache if item.get("InUse")]
    total, busy = _cache_size(cache), _cache_size(in_use)
    yield _row("Build Cache", len(cache), len(in_use), total, total - busy, share=False)


def _items(usage: dict[str, Any], key: str) -> list[dict[str, Any]]:
    return list(usage.get(key) or ())


def _cache_size(items: list[dict[str, Any]]) -> int:
    return sum(item.get("Size") or 0 for item in items if not item.get("Shared"))


def _row(
    kind: str, count: int, active: int, size: int, reclaimable: int, *, share: bool = True
) -> formatter.Row:
    shown = units.human_size(reclaimable)
    if size > 0 and share:
        shown += f" ({reclaimable * 100 // size}%)"
    return formatter.Row(
        {
            "Type": kind,
            "TotalCount": str(count),
            "Active": str(active),
            "Size": units.human_size(size),
            "Reclaimable": shown,
        },
        type_name="*formatter.diskUsageContext",
    )


def _show_objects(usage: dict[str, Any]) -> None:
    out = sys.stdout
    out.write("Images space usage:\n\n")
    rows = [image_ls.row(image, *_first_tag(image), "", True) for image in _items(usage, "Images")]
    formatter.render(rows, IMAGES, out, columns=image_ls.COLUMNS)
    out.write("\nContainers space usage:\n\n")
    rows = [_container(item) for item in _items(usage, "Containers")]
    formatter.render(rows, _table(CONTAINER_COLUMNS), out, columns=CONTAINER_COLUMNS)
    out.write("\nLocal Volumes space usage:\n\n")
    rows = [_volume(item) for item in _items(usage, "Volumes")]
    formatter.render(rows, _table(VOLUME_COLUMNS), out, columns=VOLUME_COLUMNS)
    cache = _items(usage, "BuildCache")
    out.write(f"\nBuild cache usage: {units.human_size(_cache_size(cache))}\n\n")
    rows = [_cache(item) for item in cache]
    formatter.render(rows, _table(CACHE_COLUMNS), out, columns=CACHE_COLUMNS)


def _first_tag(image: dict[str, Any]) -> tuple[str, str]:
    """Repository and tag of an image's one line; a digest alone is no name here."""
    repository, tag, _ = next(image_ls.names_of({"RepoTags": image.get("RepoTags")}, False, False))
    return repository, tag


def _objects(usage: dict[str, Any]) -> formatter.Row:
    """All of it as one object with four lists, for templates."""
    images = [
        image_ls.row(image, *_first_tag(image), "", False) for image in _items(usage, "Images")
    ]
    fields: dict[str, object] = {
        "Images": images,
        "Containers": [_whole(item) for item in _items(usage, "Containers")],
        "Volumes": [volume_ls.row(item) for item in _items(usage, "Volumes")],
        "BuildCache": [_cache(item, whole=True) for item in _items(usage, "BuildCache")],
    }
    return _Objects(fields, type_name="*formatter.diskUsageContext")


class _Objects(formatter.Row):
    """Fields in their own order, also as JSON."""

    def as_json(self) -> dict[str, object]:
        from firkin.cli.template import values

        return {name: values.plain(rows) for name, rows in self.fields.items()}


def _whole(item: dict[str, Any]) -> formatter.Row:
    row = container_ls.row(item, True)
    row.fields["Size"] = units.human_size(item.get("SizeRw") or 0, 3)
    return row


def _table(columns: dict[str, str]) -> str:
    return "table " + "\t".join("{{." + name + "}}" for name in columns)


def _container(item: dict[str, Any]) -> formatter.Row:
    from firkin.cli.template import gofmt

    command = common.shorten(str(item.get("Command") or ""), _COMMAND_LENGTH)
    names = [name.strip("/") for name in item.get("Names") or () if "/" not in name.strip("/")]
    volumes = [mount for mount in item.get("Mounts") or () if mount.get("Driver") == "local"]
    return formatter.Row(
        {
            "ID": common.short_id(item["Id"]),
            "Image": item.get("Image") or "<no image>",
            "Command": gofmt.quoted(command),
            "LocalVolumes": str(len(volumes)),
            "Size": units.human_size(item.get("SizeRw") or 0, 3),
            "RunningFor": common.ago(item.get("Created") or 0),
            "Status": item.get("Status") or "",
            "Names": ",".join(names),
        }
    )


def _volume(item: dict[str, Any]) -> formatter.Row:
    data = item.get("UsageData")
    return formatter.Row(
        {
            "Name": item.get("Name") or "",
            "Links": str(data["RefCount"]) if data else "N/A",
            "Size": units.human_size(data["Size"]) if data else "N/A",
        }
    )


def _cache(item: dict[str, Any], *, whole: bool = False) -> formatter.Row:
    identity, used = str(item.get("ID") or ""), item.get("LastUsedAt") or ""
    return formatter.Row(
        {
            "ID": identity if whole else identity[:12] + ("*" if item.get("InUse") else ""),
            "Parent": item.get("Parent") or "",
            "CacheType": item.get("Type") or "",
            "Description": item.get("Description") or "",
            "InUse": "true" if item.get("InUse") else "false",
            "Size": units.human_size(item.get("Size") or 0, 3),
            "CreatedAt": lambda: shapes.moment(item.get("CreatedAt")),
            "CreatedSince": _since(item.get("CreatedAt")),
            "LastUsedAt": lambda: used and shapes.moment(used),
            "LastUsedSince": _since(used),
            "UsageCount": str(item.get("UsageCount") or 0),
            "Shared": "true" if item.get("Shared") else "false",
        }
    )


def _since(moment: object) -> str:
    if not isinstance(moment, str) or not moment:
        return ""
    try:
        return common.ago(float(units.parse_moment(moment)))
    except (ValueError, errors.CliError):
        return moment
