"""``context import``: a context from an archive that ``context export`` made."""

from __future__ import annotations

import sys

from firkin.cli import contextarchive, contextstore, errors, flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "CONTEXT FILE|-", "Read a context from a tar or zip file", (), flags.exactly(2)
)

_LIMIT = 10 << 20


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Read the archive from a file or, with ``-``, from standard input."""
    name, source = args
    contextstore.check_name(name)
    if cli.contexts.exists(name):
        raise errors.CliError(f'context "{name}" already exists')
    data = sys.stdin.buffer.read(_LIMIT + 1) if source == "-" else contextstore.read_file(source)
    if len(data) > _LIMIT:
        raise errors.CliError(f"the archive is larger than {_LIMIT >> 20} MiB")
    meta, files = contextarchive.unpack(data, name)
    cli.contexts.save_tls(name, files)
    cli.contexts.save(meta)
    cli.print(name)
    cli.warn(f'Successfully imported context "{name}"')
    return 0
