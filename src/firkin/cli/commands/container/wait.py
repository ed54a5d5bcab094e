"""``firkin wait``."""

from __future__ import annotations

import sys

from firkin.cli import errors, flags
from firkin.client import api, containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "CONTAINER [CONTAINER...]",
    "Wait until containers stop and print their exit codes",
    (),
    flags.at_least(1),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    failures: list[str] = []
    for name in args:
        try:
            response = containers.wait_begin(cli.client, name)
            status, _ = containers.wait_end(cli.client, response)
        except api.APIError as refused:
            failures.append(f"Error response from daemon: {refused}")
            continue
        sys.stdout.write(f"{status}\n")
        sys.stdout.flush()
    if failures:
        raise errors.CliError("\n".join(failures))
    return 0
