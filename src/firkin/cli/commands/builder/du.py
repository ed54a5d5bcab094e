"""``builder du``: what the build cache takes."""

from __future__ import annotations

import sys

from firkin.cli import common, flags, formatter, units
from firkin.client import build

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS]",
    "Show what the build cache takes",
    (
        common.filter_flag(),
        flags.string("format", "", common.FORMAT_USAGE),
        flags.boolean("verbose", "", "Show every record in full"),
    ),
    flags.none(),
)

COLUMNS = {
    "ID": "ID", "Reclaimable": "RECLAIMABLE", "Size": "SIZE", "LastAccessed": "LAST ACCESSED",
    "Type": "TYPE", "Description": "DESCRIPTION", "Shared": "SHARED", "UsageCount": "USAGE",
    "CreatedAt": "CREATED AT",
}  # fmt: skip
TABLE = "table {{.ID}}\t{{.Reclaimable}}\t{{.Size}}\t{{.LastAccessed}}"


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """A line for each record, and the sums."""
    wanted = common.filters(values.items("filter"))
    items = [item for item in build.usage(cli.client) if _fits(item, wanted)]
    if values.flag("verbose"):
        for item in items:
            for name, value in item.items():
                cli.print(f"{name + ':':<14}{value}")
            cli.print("")
    else:
        fmt = values.text("format")
        chosen = TABLE if fmt in ("", "table") else fmt
        formatter.render((_row(item) for item in items), chosen, sys.stdout, columns=COLUMNS)
        if fmt not in ("", "table"):
            return 0
    shared = sum(item["Size"] for item in items if item["Shared"])
    private = sum(item["Size"] for item in items if not item["Shared"])
    idle = sum(item["Size"] for item in items if not item["InUse"] and not item["Shared"])
    for name, size in (("Shared", shared), ("Private", private), ("Reclaimable", idle),
                       ("Total", shared + private)):  # fmt: skip
        cli.print(f"{name + ':':<14}{units.human_size(size)}")
    return 0


def _fits(item: dict[str, Any], wanted: dict[str, list[str]]) -> bool:
    for name, values in wanted.items():
        known = {"id": "ID", "type": "Type", "inuse": "InUse", "shared": "Shared",
                 "description": "Description"}.get(name)  # fmt: skip
        if known is None:
            continue
        value = str(item[known])
        if not any(value.lower() == text.lower() or (name in ("id", "description") and
                   text in value) for text in values):  # fmt: skip
            return False
    return True


def _row(item: dict[str, Any]) -> formatter.Row:
    used = item.get("LastUsedAt")
    when = common.ago(float(units.parse_moment(used))) if used else ""
    return formatter.Row(
        {
            "ID": item["ID"], "Reclaimable": str(not item["InUse"]).lower(),
            "Size": units.human_size(item["Size"]), "LastAccessed": when, "Type": item["Type"],
            "Description": item["Description"], "Shared": str(item["Shared"]).lower(),
            "UsageCount": str(item["UsageCount"]), "CreatedAt": item["CreatedAt"],
        },
        type_name="build cache",
    )  # fmt: skip
