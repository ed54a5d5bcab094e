"""``firkin container exists``."""

from __future__ import annotations

from firkin.cli import existence, flags
from firkin.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "CONTAINER",
    "Tell by the exit status whether there is such a container",
    (),
    flags.exactly(1),
    note="The status is 0 when there is one, 1 when not, and 125 when it could not be found out.",
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    return existence.status(lambda: containers.inspect_raw(cli.client, args[0]))
