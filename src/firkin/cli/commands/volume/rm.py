"""``volume rm``."""

from __future__ import annotations

from firkin.cli import common, flags
from firkin.client import volumes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] VOLUME [VOLUME...]",
    "Remove volumes that no container uses",
    (flags.boolean("force", "f", "A volume that isn't there is no failure"),),
    flags.at_least(1),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Print the name of each volume that is gone."""
    force = values.flag("force")
    return common.for_each(cli, args, lambda name: volumes.remove(cli.client, name, force=force))
