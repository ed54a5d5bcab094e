"""``firkin ps``, also ``firkin container ls``."""

from __future__ import annotations

import sys
import time

from firkin.cli import flags, formatter, gorows, units
from firkin.cli.opts import filters
from firkin.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from firkin.cli import context

    Json = dict[str, Any]

COMMAND = flags.Command(
    "[OPTIONS]",
    "List containers",
    (
        flags.boolean("all", "a", "Show all containers, not just those that run"),
        flags.strings("filter", "f", "Only what matches", filters.check, type_name="filter"),
        flags.string(
            "format",
            "",
            "How to show them:\n"
            "'table':            a table with column titles (default)\n"
            "'table TEMPLATE':   a table made with a Go template\n"
            "'json':             JSON, one object a line\n"
            "'TEMPLATE':         lines made with a Go template",
        ),
        flags.integer("last", "n", "Show the n containers created last, running or not", -1),
        flags.boolean("latest", "l", "Show the container created last, running or not"),
        flags.boolean("no-trunc", "", "Do not shorten anything"),
        flags.boolean("quiet", "q", "Print IDs only"),
        flags.boolean("reachable", "", "Show by which addresses published ports are reached"),
        flags.boolean("size", "s", "Show sizes of files too"),
    ),
    flags.none(),
)

TABLE = (
    "table {{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}"
)
RAW = (
    "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\n"
    "created_at: {{.CreatedAt}}\nstate: {{.State}}\nstatus: {{.Status}}\nnames: {{.Names}}\n"
    "labels:{{if .Labels}} {{.Labels}}{{end}}\nports:{{if .Ports}} {{.Ports}}{{end}}\n"
)
COLUMNS = {
    "ID": "CONTAINER ID",
    "Names": "NAMES",
    "Image": "IMAGE",
    "Command": "COMMAND",
    "CreatedAt": "CREATED AT",
    "RunningFor": "CREATED",
    "Ports": "PORTS",
    "Reachable": "REACHABLE AT",
    "State": "STATE",
    "Status": "STATUS",
    "Size": "SIZE",
    "Labels": "LABELS",
    "Mounts": "MOUNTS",
    "LocalVolumes": "LOCAL VOLUMES",
    "Networks": "NETWORKS",
    "Platform": "PLATFORM",
}
_WITH_SIZE = (".Size", "{{json.}}", "{{.|json}}")
"""What a format without blanks has if it shows the size, which takes the engine long to tell."""
SHORT_ID = 12
SHORT_COMMAND = 20
SHORT_MOUNT = 15


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    fmt = values.text("format")
    last = values.number("last")
    if values.flag("latest") and last == -1:
        last = 1
    if not fmt and not values.flag("quiet"):
        fmt = str(cli.config.get("psFormat") or "")
    fmt = fmt or "table"
    plain = fmt.replace(" ", "")
    size = values.flag("size") or any(part in plain for part in _WITH_SIZE)
    found = containers.listing(
        cli.client,
        all=values.flag("all"),
        limit=last if last > 0 else None,
        size=size,
        filters=filters.parse(values.items("filter")),
    )
    if values.flag("quiet") and values.text("format") not in ("", "table"):
        cli.warn("WARNING: Ignoring custom format, because both --format and --quiet are set.")
        fmt = "raw" if fmt == "raw" else "table"
    if fmt == "raw":
        fmt = RAW + ("size: {{.Size}}\n" if values.flag("size") else "")
        fmt = "container_id: {{.ID}}" if values.flag("quiet") else fmt
    elif fmt == "table":
        fmt = TABLE.replace(".Ports", ".Reachable") if values.flag("reachable") else TABLE
        fmt += "\t{{.Size}}" if values.flag("size") else ""
        fmt = "{{.ID}}" if values.flag("quiet") else fmt
    if ".Reachable" in fmt:
        _add_ways(cli, found)
    whole = values.flag("no-trunc")
    formatter.render([row(item, whole) for item in found], fmt, sys.stdout, columns=COLUMNS)
    return 0


def _add_ways(cli: context.Cli, found: list[Json]) -> None:
    """Give each container the addresses by which its published ports are reached."""
    from firkin.client import networks

    ways = networks.exposure(cli.client)
    for item in found:
        item["Reachable"] = [
            f"{networks.reach(way)}->{way['ContainerPort']}/{way['Protocol']}"
            for way in ways
            if way["ContainerID"] == item["Id"]
        ]


def row(item: Json, whole: bool) -> formatter.Row:
    """One container as templates see it; ``whole`` shortens nothing."""
    fields: dict[str, object] = {
        "ID": lambda: item["Id"] if whole else item["Id"][:SHORT_ID],
        "Names": lambda: _names(item, whole),
        "Image": lambda: _image(item, whole),
        "Command": lambda: _command(item, whole),
        "CreatedAt": lambda: _created_at(item),
        "RunningFor": lambda: _age(item),
        "Ports": lambda: ports(item.get("Ports") or []),
        **({"Reachable": ", ".join(item["Reachable"])} if "Reachable" in item else {}),
        "State": lambda: item.get("State", ""),
        "Status": lambda: item.get("Status", ""),
        "Size": lambda: _size(item),
        "Labels": lambda: _labels(item),
        "Mounts": lambda: _mounts(item, whole),
        "LocalVolumes": lambda: str(_local_volumes(item)),
        "Networks": lambda: ",".join(_networks(item)),
        "Platform": lambda: _platform(item),
    }
    methods: dict[str, Callable[..., object]] = {
        "Label": lambda name: formatter.label(item.get("Labels"), name)
    }
    return formatter.Row(
        fields, methods, "*formatter.ContainerContext", lambda: gorows.container(item, not whole)
    )


def _names(item: Json, whole: bool) -> str:
    names = [name.removeprefix("/") for name in item.get("Names") or []]
    if not whole:
        names = [name for name in names if "/" not in name]  # Others are links to it.
    return ",".join(names)


def _image(item: Json, whole: bool) -> str:
    image = str(item.get("Image") or "")
    if not image:
        return "<no image>"
    if whole:
        return image
    identity = str(item.get("ImageID") or "")
    digest = identity.partition(":")[2] or identity
    if image in (identity, digest):
        return digest[:SHORT_ID]
    return image.partition("@")[0]


def _command(item: Json, whole: bool) -> str:
    command = str(item.get("Command") or "")
    if not whole and len(command) > SHORT_COMMAND:
        command = command[: SHORT_COMMAND - 1] + "…"
    return flags.quoted(command)


def _created_at(item: Json) -> str:
    moment = time.localtime(item.get("Created") or 0)
    return time.strftime("%Y-%m-%d %H:%M:%S %z %Z", moment)


def _age(item: Json) -> str:
    return units.human_duration(time.time() - (item.get("Created") or 0)) + " ago"


def _size(item: Json) -> str:
    own = units.human_size(item.get("SizeRw") or 0, 3)
    total = item.get("SizeRootFs") or 0
    return f"{own} (virtual {units.human_size(total, 3)})" if total > 0 else own


def _labels(item: Json) -> str:
    labels = item.get("Labels") or {}
    return ",".join(f"{name}={labels[name]}" for name in sorted(labels))


def _mounts(item: Json, whole: bool) -> str:
    names: list[str] = []
    for mount in item.get("Mounts") or []:
        name = str(mount.get("Name") or mount.get("Source") or "")
        if not whole and len(name) > SHORT_MOUNT:
            name = name[: SHORT_MOUNT - 1] + "…"
        names.append(name)
    return ",".join(names)


def _local_volumes(item: Json) -> int:
    return sum(mount.get("Driver") == "local" for mount in item.get("Mounts") or [])


def _networks(item: Json) -> list[str]:
    return sorted((item.get("NetworkSettings") or {}).get("Networks") or {})


def _platform(item: Json) -> object:
    if platform := (item.get("ImageManifestDescriptor") or {}).get("platform"):
        from firkin.cli import named

        return named.Platform(platform)
    from firkin.cli.template import values

    return values.NIL


def ports(items: list[Json]) -> str:
    """Published and exposed ports in one cell, in the order that Docker's users know.

    Consecutive ports with the same number inside and outside are joined to ranges and come first;
    those published under another number follow one by one.
    """
    ranges: list[tuple[tuple[str, str], int, int]] = []
    open_ranges: dict[tuple[str, str], tuple[int, int]] = {}
    moved: list[str] = []
    for port in sorted(items, key=_port_order):
        inside, outside = int(port["PrivatePort"]), int(port.get("PublicPort") or 0)
        address, protocol = str(port.get("IP") or ""), str(port["Type"])
        if address and inside != outside:
            moved.append(f"{_host(address)}:{outside}->{inside}/{protocol}")
            continue
        key = (address, protocol)
        first, last = open_ranges.get(key, (inside, inside))
        if key in open_ranges and inside not in (last, last + 1):
            ranges.append((key, first, last))
            first = inside
        open_ranges[key] = (first, inside)
    ranges += [(key, *span) for key, span in open_ranges.items()]
    return ", ".join([_range(*item) for item in ranges] + moved)


def _port_order(port: Json) -> tuple[int, str, int, str]:
    return (
        int(port["PrivatePort"]),
        str(port.get("IP") or ""),
        int(port.get("PublicPort") or 0),
        str(port["Type"]),
    )


def _host(address: str) -> str:
    return f"[{address}]" if ":" in address else address


def _range(key: tuple[str, str], first: int, last: int) -> str:
    address, protocol = key
    numbers = str(first) if first == last else f"{first}-{last}"
    return (
        f"{_host(address)}:{numbers}->{numbers}/{protocol}"
        if address
        else (f"{numbers}/{protocol}")
    )
