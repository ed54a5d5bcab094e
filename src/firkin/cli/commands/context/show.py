"""``context show``: the name of the current context."""

from __future__ import annotations

from firkin.cli import flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command("", "Print the name of the current context", (), flags.none())


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    cli.print(cli.context_name())
    return 0
