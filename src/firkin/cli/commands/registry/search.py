"""``firkin search``: repositories of a registry by name."""

from __future__ import annotations

import sys

from firkin.cli import common, credentials, flags, formatter
from firkin.client import registries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] TERM",
    "Search docker.io, or the registry that the term begins with, for images",
    (
        common.filter_flag("f"),
        flags.string("format", "", common.FORMAT_USAGE),
        flags.integer("limit", "", "Show no more than this many"),
        flags.boolean("no-trunc", "", "Show whole descriptions"),
    ),
    flags.exactly(1),
)

COLUMNS = {
    "Name": "NAME",
    "Description": "DESCRIPTION",
    "StarCount": "STARS",
    "IsOfficial": "OFFICIAL",
    "IsAutomated": "AUTOMATED",
}
TABLE = "table {{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}"
_DESCRIPTION = 45


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """The most liked ones first."""
    found = registries.search(
        cli.client,
        args[0],
        values.number("limit") or None,
        common.filters(values.items("filter")),
        credentials.headers(cli, f"{args[0]}/x" if "/" not in args[0] else args[0]),
    )
    found.sort(key=lambda item: -int(item.get("star_count") or 0))
    fmt = values.text("format") or "table"
    trunc = not values.flag("no-trunc")
    rows = (_row(item, trunc) for item in found)
    formatter.render(rows, TABLE if fmt == "table" else fmt, sys.stdout, columns=COLUMNS)
    return 0


def _row(item: dict[str, Any], trunc: bool) -> formatter.Row:
    text = str(item.get("description") or "").replace("\n", " ").replace("\r", " ")
    if trunc and len(text) > _DESCRIPTION:
        text = text[: _DESCRIPTION - 1] + "…"
    return formatter.Row(
        {
            "Name": str(item.get("name") or ""),
            "Description": text,
            "StarCount": str(item.get("star_count") or 0),
            "IsOfficial": "[OK]" if item.get("is_official") else "",
            "IsAutomated": "[OK]" if item.get("is_automated") else "",
        },
        type_name="search",
    )
