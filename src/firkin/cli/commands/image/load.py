"""``image load``: images from an archive that ``save`` wrote."""

from __future__ import annotations

import sys

from firkin.cli import common, errors, flags, progress
from firkin.client import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS]",
    "Load images from an archive",
    (
        flags.string("input", "i", "Read this file instead of standard input"),
        flags.string("platform", "", "Load only this platform, as os[/arch[/variant]]"),
        flags.boolean("quiet", "q", "Don't show progress"),
    ),
    flags.none(),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Stream the archive to the engine; it answers with progress messages."""
    path = values.text("input")
    if path:
        with open(path, "rb") as file:
            return _load(cli, values, file)
    if sys.stdin.isatty():
        raise errors.CliError("requested load from stdin, but stdin is empty")
    return _load(cli, values, sys.stdin.buffer)


def _load(cli: context.Cli, values: flags.Values, file: BinaryIO) -> int:
    quiet = values.flag("quiet") or not sys.stdout.isatty()
    chunks = common.read_chunks(file)
    response = images.load(
        cli.client,
        chunks if quiet else progress.sending(chunks, common.size_of(file), sys.stdout),
        quiet=True,  # the engine's bars would be seen when all is sent
        platform=common.platform(values.text("platform")),
        size=common.file_size(file),
    )
    if "json" in response.headers.get("content-type", ""):
        progress.stdout(response.json_values())
    else:
        for chunk in response.chunks():
            sys.stdout.write(chunk.decode("utf-8", "replace"))
    cli.client.release(response)
    return 0
