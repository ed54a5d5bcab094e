"""An archive of the engine's, into a file or to standard output."""

from __future__ import annotations

import os
import sys

from firkin.cli import copying, errors

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from firkin.cli import context
    from firkin.client import http


def save(cli: context.Cli, path: str, ask: Callable[[], http.Response]) -> None:
    """Write what ``ask`` is answered to the file ``path``, whole or not at all; ""
    means standard output. Raises ``CliError`` before anything is asked."""
    if not path and sys.stdout.isatty():
        raise errors.CliError(
            "cowardly refusing to save to a terminal. Use the -o flag or redirect"
        )
    if path:
        check_target(path)
    response = ask()
    if path:
        write_file(path, response.chunks())
    else:
        copying.write_all(response.chunks(), lambda size: None)
    cli.client.release(response)


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
