"""``volume export``: a volume's files as an archive."""

from __future__ import annotations

import sys

from firkin.cli import copying, errors, flags
from firkin.cli.commands.image import save
from firkin.client import volumes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] VOLUME",
    "Write a volume's files as a tar archive",
    (flags.string("output", "o", "Write to this file, not to standard output"),),
    flags.exactly(1),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """A file is written whole or not at all."""
    path = values.text("output")
    if not path and sys.stdout.isatty():
        raise errors.CliError(
            "cowardly refusing to save to a terminal. Use the -o flag or redirect"
        )
    if path:
        save.check_target(path)
    response = volumes.export(cli.client, args[0])
    if path:
        save.write_file(path, response.chunks())
    else:
        copying.write_all(response.chunks(), lambda size: None)
    cli.client.release(response)
    return 0
