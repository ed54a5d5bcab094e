"""``firkin container prune``."""

from __future__ import annotations

import sys

from firkin.cli import common, flags, units
from firkin.cli.opts import filters
from firkin.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS]",
    "Remove all stopped containers",
    (
        flags.strings(
            "filter",
            "",
            'Only what matches (e.g. "until=<timestamp>")',
            filters.check,
            type_name="filter",
        ),
        flags.boolean("force", "f", "Do not ask first"),
    ),
    flags.none(),
)

WARNING = "WARNING! This will remove all stopped containers."


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    wanted = common.prune_filters(cli, values.items("filter"))
    if not values.flag("force"):
        sys.stdout.write(f"{WARNING}\nAre you sure you want to continue? [y/N] ")
        sys.stdout.flush()
        answer = sys.stdin.readline() if sys.stdin else ""
        if answer.strip().lower() not in ("y", "yes"):
            return 0
    pruned = containers.prune(cli.client, wanted)
    if deleted := pruned.get("ContainersDeleted"):
        cli.print("Deleted Containers:")
        for name in deleted:
            cli.print(name)
        cli.print("")
    cli.print(f"Total reclaimed space: {units.human_size(pruned.get('SpaceReclaimed') or 0)}")
    return 0
