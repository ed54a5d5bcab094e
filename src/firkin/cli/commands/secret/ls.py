"""``secret ls``."""

from __future__ import annotations

import sys

from firkin.cli import common, flags, formatter, ordering
from firkin.client import secrets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS]",
    "List secrets",
    (
        common.filter_flag("f"),
        flags.string("format", "", common.FORMAT_USAGE),
        flags.boolean("quiet", "q", "Only show IDs"),
    ),
    flags.none(),
)

COLUMNS = {
    "ID": "ID",
    "Name": "NAME",
    "Driver": "DRIVER",
    "CreatedAt": "CREATED",
    "UpdatedAt": "UPDATED",
    "Labels": "LABELS",
}


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """By name."""
    quiet = values.flag("quiet")
    fmt = common.list_format(cli, values, "secretFormat", quiet=quiet)
    if fmt == "table":
        full = "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.CreatedAt}}\t{{.UpdatedAt}}"
        fmt = "{{.ID}}" if quiet else full
    found = secrets.listing(cli.client, common.filters(values.items("filter")))
    found.sort(key=lambda one: ordering.natural(one["Spec"]["Name"]))
    formatter.render((_row(one) for one in found), fmt, sys.stdout, columns=COLUMNS)
    return 0


def _row(one: dict[str, Any]) -> formatter.Row:
    labels = one["Spec"].get("Labels") or {}
    return formatter.Row(
        {
            "ID": one["ID"],
            "Name": one["Spec"]["Name"],
            "Driver": "",
            "CreatedAt": _ago(one["CreatedAt"]),
            "UpdatedAt": _ago(one["UpdatedAt"]),
            "Labels": ",".join(f"{key}={labels[key]}" for key in sorted(labels)),
        },
        {"Label": lambda name: labels.get(name, "")},
        type_name="secret",
    )


def _ago(moment: str) -> str:
    import datetime

    parsed = datetime.datetime.fromisoformat(moment.replace("Z", "+00:00"))
    return common.ago(parsed.timestamp())
