"""``system check``: does what the engine believes agree with what is there?"""

from __future__ import annotations

import sys

from firkin.cli import common, flags, formatter
from firkin.client import system

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS]",
    "Compare the database with disk, mounts, networks, rules and processes",
    (
        flags.boolean("deep", "", "Also read every blob and compare its digest"),
        flags.string("format", "", common.FORMAT_USAGE),
        flags.boolean("repair", "", "Mend what can be mended without losing anything"),
    ),
    flags.none(),
    note="Exits with 1 when there are differences that are not repaired.",
)

COLUMNS = {
    "Area": "AREA",
    "Subject": "SUBJECT",
    "Problem": "PROBLEM",
    "State": "STATE",
    "Remedy": "REMEDY",
}


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Each difference, and below it what to do."""
    found = system.check(cli.client, repair=values.flag("repair"), deep=values.flag("deep"))
    if fmt := values.text("format"):
        if fmt == "table":
            fmt = "table {{.Area}}\t{{.Subject}}\t{{.State}}\t{{.Problem}}"
        formatter.render(map(_row, found), fmt, sys.stdout, columns=COLUMNS)
    else:
        for one in found:
            print(f"{one['Area']} {one['Subject']}: {one['Problem']}")
            print(f"    {'repaired' if one['Repaired'] else one['Remedy']}")
        if not found:
            print("no differences")
    return 1 if any(not one["Repaired"] for one in found) else 0


def _row(one: dict[str, Any]) -> formatter.Row:
    return formatter.Row(
        {
            "Area": one["Area"],
            "Subject": one["Subject"],
            "Problem": one["Problem"],
            "Remedy": one["Remedy"],
            "State": "repaired" if one["Repaired"] else "open",
        }
    )
