"""``image history``: how the layers of an image came to be."""

from __future__ import annotations

import sys

from firkin.cli import common, flags, formatter, gorows, units
from firkin.client import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] IMAGE",
    "Show the history of an image",
    (
        flags.string("format", "", common.FORMAT_USAGE),
        flags.boolean("human", "H", "Print sizes and dates for people", True),
        flags.boolean("no-trunc", "", "Show whole IDs and commands"),
        flags.string("platform", "", "Platform of the image, as os[/arch[/variant]]"),
        flags.boolean("quiet", "q", "Only show image IDs"),
    ),
    flags.exactly(1),
)

COLUMNS = {
    "ID": "IMAGE",
    "CreatedSince": "CREATED",
    "CreatedAt": "CREATED AT",
    "CreatedBy": "CREATED BY",
    "Size": "SIZE",
    "Comment": "COMMENT",
}
_COMMAND_LENGTH = 45


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Ask for the history and show it."""
    human, trunc = values.flag("human"), not values.flag("no-trunc")
    fmt = values.text("format") or "table"
    if fmt == "table":
        created = "CreatedSince" if human else "CreatedAt"
        fmt = "table {{.ID}}\t{{." + created + "}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}"
        if values.flag("quiet"):
            fmt = "{{.ID}}"
    platform = common.platform(values.text("platform"))
    steps = images.history(cli.client, args[0], platform)
    rows = (_row(step, human, trunc) for step in steps)
    formatter.render(rows, fmt, sys.stdout, columns=COLUMNS)
    return 0


def _row(step: dict[str, Any], human: bool, trunc: bool) -> formatter.Row:
    identity = str(step.get("Id") or "")
    command = str(step.get("CreatedBy") or "").replace("\t", " ")
    created = step.get("Created") or 0
    size = step.get("Size") or 0
    return formatter.Row(
        {
            "ID": common.short_id(identity) if trunc else identity,
            "CreatedSince": lambda: common.ago(created) if created > 0 else "N/A",
            "CreatedAt": lambda: common.when(created, "rfc3339"),
            "CreatedBy": common.shorten(command, _COMMAND_LENGTH) if trunc else command,
            "Size": units.human_size(size, 3) if human else str(size),
            "Comment": step.get("Comment") or "",
        },
        type_name="history",
        whole=lambda: gorows.history(step, trunc, human),
    )
