"""``container diff``: what a container has changed in its image's files."""

from __future__ import annotations

from firkin.cli import errors, flags
from firkin.client import archives

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "CONTAINER",
    "List files that a container has changed (C), added (A) or deleted (D)",
    (),
    flags.exactly(1),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """One path to a line, by name."""
    if not args[0]:
        raise errors.CliError("Container name cannot be empty")
    for change in archives.changes(cli.client, args[0]):
        cli.print(f"{'CAD'[change['Kind']]} {change['Path']}")
    return 0
