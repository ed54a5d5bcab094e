"""``firkin top``."""

from __future__ import annotations

import sys

from firkin.cli import flags, formatter
from firkin.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "CONTAINER [ps OPTIONS]",
    "List the processes of a container",
    (),
    flags.at_least(1),
    interspersed=False,
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    found = containers.top(cli.client, args[0], args[1:])
    rows = [found.get("Titles") or [], *(found.get("Processes") or [])]
    table = "".join("\t".join(row) + "\n" for row in rows)
    sys.stdout.write(formatter.align(table, 20, 3))
    return 0
