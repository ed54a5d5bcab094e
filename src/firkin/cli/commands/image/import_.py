"""``image import``: an image from an archive of a file tree."""

from __future__ import annotations

import sys

from firkin.cli import common, flags, progress
from firkin.client import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import BinaryIO

    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] file|URL|- [REPOSITORY[:TAG]]",
    "Make an image of an archive of a file tree",
    (
        flags.strings("change", "c", "Apply this Dockerfile instruction to the image"),
        flags.string("message", "m", "Comment of the image"),
        flags.string("platform", "", "Platform of the image, as os[/arch[/variant]]"),
    ),
    flags.at_least(1),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """The engine fetches a URL itself; a file is sent to it."""
    source = args[0]
    if source == "-":
        return _import(cli, values, args, "-", sys.stdin.buffer)
    if source.startswith(("http://", "https://", "ftp://")):
        return _import(cli, values, args, source, None)
    with open(source, "rb") as file:
        return _import(cli, values, args, "-", file)


def _import(
    cli: context.Cli,
    values: flags.Values,
    args: list[str],
    source: str,
    file: BinaryIO | None,
) -> int:
    chunks = None
    if file is not None:
        chunks = progress.sending(common.read_chunks(file), common.size_of(file), sys.stdout)
    repository, tag = images.split_tag(args[1]) if len(args) > 1 else ("", "")
    response = images.import_archive(
        cli.client,
        source,
        chunks,
        repository=repository,
        tag=tag,
        message=values.text("message"),
        changes=values.items("change"),
        platform=values.text("platform"),
        size=common.file_size(file) if file else None,
    )
    progress.stdout(response.json_values())
    cli.client.release(response)
    return 0
