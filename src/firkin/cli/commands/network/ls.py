"""``network ls``."""

from __future__ import annotations

import sys

from firkin.cli import common, flags, formatter, gorows, ordering
from firkin.client import networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS]",
    "List networks",
    (
        common.filter_flag("f"),
        flags.string("format", "", common.FORMAT_USAGE),
        flags.boolean("no-trunc", "", "Show whole IDs"),
        flags.boolean("quiet", "q", "Only show IDs"),
    ),
    flags.none(),
)

COLUMNS = {
    "ID": "NETWORK ID",
    "Name": "NAME",
    "Driver": "DRIVER",
    "Scope": "SCOPE",
    "IPv4": "IPV4",
    "IPv6": "IPV6",
    "Internal": "INTERNAL",
    "Labels": "LABELS",
    "CreatedAt": "CREATED AT",
}


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Networks in the order of their names."""
    quiet = values.flag("quiet")
    fmt = common.list_format(cli, values, "networksFormat", quiet=quiet)
    if fmt == "table":
        table = "table {{.ID}}\t{{.Name}}\t{{.Driver}}\t{{.Scope}}"
        fmt = "{{.ID}}" if quiet else table
    elif fmt == "raw":
        raw = "network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n"
        fmt = "network_id: {{.ID}}" if quiet else raw
    found = networks.list_networks(cli.client, common.filters(values.items("filter")))
    found.sort(key=lambda network: ordering.natural(network["Name"]))
    trunc = not values.flag("no-trunc")
    rows = (_row(network, trunc) for network in found)
    formatter.render(rows, fmt, sys.stdout, columns=COLUMNS)
    return 0


def _row(network: dict[str, Any], trunc: bool) -> formatter.Row:
    labels = network.get("Labels") or {}
    return formatter.Row(
        {
            "ID": common.short_id(network["Id"]) if trunc else network["Id"],
            "Name": network["Name"],
            "Driver": network.get("Driver") or "",
            "Scope": network.get("Scope") or "",
            "IPv4": _truth(network.get("EnableIPv4")),
            "IPv6": _truth(network.get("EnableIPv6")),
            "Internal": _truth(network.get("Internal")),
            "Labels": ",".join(f"{key}={labels[key]}" for key in sorted(labels)),
            "CreatedAt": lambda: common.go_time(network.get("Created")),
        },
        {"Label": lambda name: labels.get(name, "")},
        type_name="network",
        whole=lambda: gorows.network(network, trunc),
    )


def _truth(value: object) -> str:
    return "true" if value else "false"
