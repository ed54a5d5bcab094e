"""``volume rename``: another name for a volume."""

from __future__ import annotations

from firkin.cli import flags
from firkin.client import volumes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "VOLUME NEW_NAME",
    "Give a volume that no container uses another name",
    (),
    flags.exactly(2),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Print the new name."""
    volumes.rename(cli.client, args[0], args[1])
    cli.print(args[1])
    return 0
