"""``firkin restart``."""

from __future__ import annotations

from firkin.cli import flags
from firkin.cli.commands.container import stopping
from firkin.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Stop containers and start them again",
    stopping.FLAGS,
    flags.at_least(1),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    return stopping.each(cli, values, args, containers.restart)
