"""``secret rm``."""

from __future__ import annotations

from firkin.cli import common, flags
from firkin.client import secrets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "SECRET [SECRET...]",
    "Remove secrets that no container uses",
    (),
    flags.at_least(1),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Print the name of each secret that is gone."""
    return common.for_each(cli, args, lambda name: secrets.remove(cli.client, name))
