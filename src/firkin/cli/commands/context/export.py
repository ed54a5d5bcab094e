"""``context export``: a context as a tar archive."""

from __future__ import annotations

import sys

from firkin.cli import contextarchive, contextstore, errors, flags
from firkin.cli.commands.context import docker_endpoint

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] CONTEXT [FILE|-]",
    "Write a context to a tar archive, or to standard output as one",
    (),
    flags.between(1, 2),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Write the archive; a file that is there already is not overwritten."""
    name = args[0]
    host, skip, files = docker_endpoint.copy(cli, name)
    if name == contextstore.DEFAULT:
        meta = contextstore.new(name, "", host, skip)
    else:
        meta = cli.contexts.load(name)
    data = contextarchive.pack(meta, files)
    target = args[1] if len(args) > 1 else f"{name}.dockercontext"
    if target == "-":
        if sys.stdout.isatty():
            raise errors.CliError("cowardly refusing to export to a terminal, specify a file path")
        sys.stdout.buffer.write(data)
        return 0
    import os

    try:
        handle = os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise errors.CliError(f"open {target}: {reason}") from None
    with open(handle, "wb") as file:
        file.write(data)
    cli.warn(f'Written file "{target}"')
    return 0
