"""``network disconnect``."""

from __future__ import annotations

from firkin.cli import flags
from firkin.client import networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] NETWORK CONTAINER",
    "Take a container off a network",
    (flags.boolean("force", "f", "Do it even if the container can't be reached"),),
    flags.exactly(2),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Nothing is printed."""
    networks.disconnect(cli.client, args[0], args[1], force=values.flag("force"))
    return 0
