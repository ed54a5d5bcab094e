"""``firkin rename``."""

from __future__ import annotations

from firkin.cli import errors, flags
from firkin.client import api, containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command("CONTAINER NEW_NAME", "Rename a container", (), flags.exactly(2))


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    old, new = (word.strip() for word in args)
    if not old or not new:
        raise errors.CliError("Error: Neither old nor new names may be empty")
    try:
        containers.rename(cli.client, old, new)
    except api.APIError as error:
        cli.warn(f"Error response from daemon: {error}")
        raise errors.CliError(f"Error: failed to rename container named {old}") from None
    return 0
