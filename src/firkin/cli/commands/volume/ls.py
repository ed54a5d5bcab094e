"""``volume ls``."""

from __future__ import annotations

import sys

from firkin.cli import common, flags, formatter, gorows, ordering, units
from firkin.client import volumes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS]",
    "List volumes",
    (
        common.filter_flag("f"),
        flags.string("format", "", common.FORMAT_USAGE),
        flags.boolean("quiet", "q", "Only show names"),
    ),
    flags.none(),
)

COLUMNS = {
    "Name": "VOLUME NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "Labels": "LABELS",
    "Mountpoint": "MOUNTPOINT",
    "Links": "LINKS",
    "Size": "SIZE",
    "Availability": "AVAILABILITY",
    "Group": "GROUP",
    "Status": "STATUS",
}


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Volumes in the order of their names."""
    quiet = values.flag("quiet")
    fmt = common.list_format(cli, values, "volumesFormat", quiet=quiet)
    if fmt == "table":
        fmt = "{{.Name}}" if quiet else "table {{.Driver}}\t{{.Name}}"
    elif fmt == "raw":
        fmt = "name: {{.Name}}" if quiet else "name: {{.Name}}\ndriver: {{.Driver}}\n"
    found = volumes.list_volumes(cli.client, common.filters(values.items("filter")))
    found.sort(key=lambda volume: ordering.natural(volume["Name"]))
    rows = (row(volume) for volume in found)
    formatter.render(rows, fmt, sys.stdout, columns=COLUMNS)
    return 0


def row(volume: dict[str, Any]) -> formatter.Row:
    """One line."""
    labels = volume.get("Labels") or {}
    usage = volume.get("UsageData")
    return formatter.Row(
        {
            "Name": volume["Name"],
            "Driver": volume.get("Driver") or "",
            "Scope": volume.get("Scope") or "",
            "Mountpoint": volume.get("Mountpoint") or "",
            "Labels": ",".join(f"{key}={labels[key]}" for key in sorted(labels)),
            "Links": str(usage["RefCount"]) if usage else "N/A",
            "Size": units.human_size(usage["Size"]) if usage else "N/A",
            "Availability": "N/A",
            "Group": "N/A",
            "Status": "N/A",
        },
        {"Label": lambda name: labels.get(name, "")},
        type_name="volume",
        whole=lambda: gorows.volume(volume),
    )
