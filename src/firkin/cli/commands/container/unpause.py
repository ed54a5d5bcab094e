"""``firkin unpause``."""

from __future__ import annotations

from firkin.cli import flags
from firkin.cli.commands.container import many
from firkin.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "CONTAINER [CONTAINER...]",
    "Let the processes of paused containers go on",
    (),
    flags.at_least(1),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    return many.each(args, lambda name: containers.unpause(cli.client, name))
