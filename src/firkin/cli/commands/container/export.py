"""``container export``: a container's files as one archive."""

from __future__ import annotations

from firkin.cli import flags, outfile
from firkin.client import archives

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] CONTAINER",
    "Write a container's root file system as a tar archive",
    (flags.string("output", "o", "Write to this file, not to standard output"),),
    flags.exactly(1),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """A file is written whole or not at all."""
    outfile.save(cli, values.text("output"), lambda: archives.export(cli.client, args[0]))
    return 0
