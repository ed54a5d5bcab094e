"""``network reload``."""

from __future__ import annotations

from firkin.cli import flags
from firkin.client import networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "",
    "Put the engine's firewall rules back, with the administrator's own",
    (),
    flags.none(),
    note="The engine does so by itself when somebody takes rules out of its table.",
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Nothing is printed."""
    networks.reload(cli.client)
    return 0
