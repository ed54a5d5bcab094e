"""``image save``: images as one archive."""

from __future__ import annotations

import os
import sys

from firkin.cli import common, errors, flags
from firkin.client import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] IMAGE [IMAGE...]",
    "Save images to an archive on standard output",
    (
        flags.string("output", "o", "Write to this file instead"),
        flags.string("platform", "", "Save only this platform, as os[/arch[/variant]]"),
    ),
    flags.at_least(1),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Nothing is written before the engine has found all images."""
    path = values.text("output")
    if not path and sys.stdout.isatty():
        raise errors.CliError(
            "cowardly refusing to save to a terminal. Use the -o flag or redirect"
        )
    if path:
        check_target(path)
    response = images.save(cli.client, args, common.platform(values.text("platform")))
    if path:
        write_file(path, response.chunks())
    else:
        sys.stdout.flush()
        for chunk in response.chunks():
            sys.stdout.buffer.write(chunk)
    cli.client.release(response)
    return 0


def check_target(path: str) -> None:
    """Raise ``CliError`` for a path that no file can be written to."""
    if os.path.isdir(path):
        raise errors.CliError(f'invalid output path: "{path}" is a directory, name a file in it')
    directory = os.path.dirname(path) or "."
    if not os.path.isdir(directory):
        raise errors.CliError(f'invalid output path: directory "{directory}" does not exist')


def write_file(path: str, chunks: Iterator[bytes]) -> None:
    """Write a file whole or not at all: a broken download leaves the old one.

    Something that isn't a regular file (a pipe, /dev/null) is written to directly.
    """
    if os.path.exists(path) and not os.path.isfile(path):
        with open(path, "wb") as special:
            for chunk in chunks:
                special.write(chunk)
        return
    target = os.path.realpath(path)
    partial = f"{target}.{os.getpid()}.partial"
    try:
        with open(partial, "xb") as file:
            for chunk in chunks:
                file.write(chunk)
        os.replace(partial, target)
    except BaseException:
        if os.path.exists(partial):
            os.unlink(partial)
        raise
