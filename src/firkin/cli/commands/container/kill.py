"""``firkin kill``."""

from __future__ import annotations

from firkin.cli import flags
from firkin.cli.commands.container import many
from firkin.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Send a signal to running containers",
    (flags.string("signal", "s", "Signal to send to the container (KILL without this flag)"),),
    flags.at_least(1),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    signal = values.text("signal")
    return many.each(args, lambda name: containers.kill(cli.client, name, signal))
