"""``volume import``: an archive's files into a volume."""

from __future__ import annotations

import sys

from firkin.cli import common, flags
from firkin.client import volumes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "VOLUME [FILE|-]",
    "Extract a tar archive into a volume, which is made if there is none",
    (),
    flags.between(1, 2),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Without a file the archive is read from standard input."""
    source = args[1] if len(args) > 1 else "-"
    if source == "-":
        volumes.import_archive(cli.client, args[0], common.read_chunks(sys.stdin.buffer))
    else:
        with open(source, "rb") as file:
            volumes.import_archive(cli.client, args[0], common.read_chunks(file))
    cli.print(args[0])
    return 0
