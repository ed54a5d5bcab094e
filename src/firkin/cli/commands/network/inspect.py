"""``network inspect``."""

from __future__ import annotations

from firkin.cli import common, flags, inspector
from firkin.client import networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] NETWORK [NETWORK...]",
    "Show everything about networks",
    (
        flags.string("format", "f", common.INSPECT_USAGE),
        flags.boolean("verbose", "v", "Show more, to find faults"),
    ),
    flags.at_least(1),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Show every network that is there, then say which ones are not."""
    verbose = values.flag("verbose")

    def fetch(name: str) -> tuple[str, bytes]:
        return "network", networks.inspect_raw(cli.client, name, verbose=verbose)

    return inspector.inspect(args, values.text("format"), fetch)
