"""``network rm``."""

from __future__ import annotations

from firkin.cli import errors, flags
from firkin.client import api, networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "NETWORK [NETWORK...]",
    "Remove networks",
    (flags.boolean("force", "f", "A network that isn't there is no failure"),),
    flags.at_least(1),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Print the name of each network that is gone."""
    status = 0
    for name in args:
        try:
            networks.remove(cli.client, name)
        except api.APIError as error:
            if values.flag("force") and error.status == 404:
                continue
            cli.warn(f"Error response from daemon: {error}")
            status = 1
        else:
            cli.print(name)
    if status:
        raise errors.Quiet(status)
    return 0
