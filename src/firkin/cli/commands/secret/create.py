"""``secret create``."""

from __future__ import annotations

import sys

from firkin.cli import common, errors, flags
from firkin.client import secrets

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] SECRET [file|-]",
    "Create a secret from a file or standard input",
    (
        flags.string("driver", "d", "Driver that gives the value (swarm only)"),
        flags.strings("label", "l", "Label of the secret"),
        flags.string("template-driver", "", "Driver that fills in the value (swarm only)"),
    ),
    flags.between(1, 2),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Print the secret's ID."""
    source = args[1] if len(args) > 1 else "-"
    if source == "-":
        value = sys.stdin.buffer.read()
    else:
        try:
            with open(source, "rb") as file:
                value = file.read()
        except OSError as error:
            raise errors.CliError(f"error reading from {source}: {error.strerror}") from None
    made = secrets.create(
        cli.client,
        args[0],
        value,
        labels=common.pairs(values.items("label")),
        driver=values.text("driver"),
        templating=values.text("template-driver"),
    )
    cli.print(made)
    return 0
