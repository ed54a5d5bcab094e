"""``container cp``: files between a container and here."""

from __future__ import annotations

import os
import stat
import sys

from firkin.cli import common, copying, errors, flags, units
from firkin.client import archives

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n"
    "\tfirkin cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    "Copy files between a container and here; - is a tar stream",
    (
        flags.boolean("archive", "a", "Keep the owners of all files"),
        flags.boolean("follow-link", "L", "Copy what a symbolic link SRC_PATH leads to"),
        flags.boolean("quiet", "q", "Don't say how much was copied"),
    ),
    flags.exactly(2),
)

_DIRECTORY, _LINK = 1 << 31, 1 << 27
_KINDS = 0x8F280000
_INTERVAL = 0.1


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """One of the two paths names a container."""
    (origin, from_path), (target, to_path) = (_split(arg) for arg in args)
    if origin and target:
        raise errors.CliError("copying between containers is not supported")
    if not origin and not target:
        raise errors.CliError("must specify at least one container source")
    if not from_path or not to_path:
        raise errors.CliError("destination and source must not be empty")
    if origin:
        _from(cli, values, origin, from_path, to_path)
    else:
        _to(cli, values, target, from_path, to_path)
    return 0


def _split(arg: str) -> tuple[str, str]:
    """Container and path; no container in what begins like a path."""
    if os.path.isabs(arg):
        return "", arg
    container, colon, path = arg.partition(":")
    if not colon or container.startswith("."):
        return "", arg
    return container, path


class _Meter:
    """Counts the bytes of an archive, and shows it on a terminal."""

    def __init__(self, what: str, quiet: bool) -> None:
        self._what = what
        self._live = not quiet and sys.stderr.isatty()
        self._shown = 0.0
        self.size = 0

    def count(self, size: int) -> None:
        self.size += size
        if self._live:
            import time

            now = time.monotonic()
            if now - self._shown >= _INTERVAL:
                self._shown = now
                sys.stderr.write(f"\r\x1b[2K{self._what} - {units.human_size(self.size, 3)}")
                sys.stderr.flush()

    def wrap(self, chunks: Iterable[bytes]) -> Iterator[bytes]:
        for chunk in chunks:
            self.count(len(chunk))
            yield chunk

    def end(self, where: str) -> None:
        if self._live:
            size = units.human_size(self.size, 3)
            sys.stderr.write(f"\r\x1b[2KSuccessfully copied {size} to {where}\n")


def _from(cli: context.Cli, values: flags.Values, container: str, path: str, target: str) -> None:
    if target != "-":
        target = copying.keep_end(copying.local(os.path.abspath(target)), copying.local(target))
        _check_output(target)
    rebase = ""
    if values.flag("follow-link"):
        found = archives.stat(cli.client, container, path)
        if found and found["mode"] & _LINK:
            path, rebase = copying.renamed(path, copying.join_link(path, found["linkTarget"]))
    found, response = archives.get(cli.client, container, path)
    meter = _Meter("Copying from container", values.flag("quiet") or target == "-")
    if target == "-":
        copying.write_all(response.chunks(), meter.count)
        cli.client.release(response)
        return
    is_dir = bool(found["mode"] & _DIRECTORY)
    where = copying.destination(target)
    origin = copying.Info(path, exists=True, is_dir=is_dir, rebase=rebase)
    directory, name = copying.place(origin, where)
    unpacker = copying.Unpacker(
        directory, copying.split(path)[1], name or rebase, owners=values.flag("archive")
    )
    unpacker.run(response.chunks(), meter.count)
    for chunk in response.chunks():  # the padding after the archive's end
        meter.count(len(chunk))
    cli.client.release(response)
    meter.end(target)


def _check_output(path: str) -> None:
    directory = os.path.dirname(os.path.normpath(path))
    if not os.path.exists(directory):
        raise errors.CliError(f'invalid output path: directory "{directory}" does not exist')
    if os.path.exists(path):
        mode = os.stat(path).st_mode
        if not stat.S_ISDIR(mode) and not stat.S_ISREG(mode):
            raise errors.CliError(
                f'invalid output path: "{path}" must be a directory or a regular file'
            )


def _to(cli: context.Cli, values: flags.Values, container: str, path: str, target: str) -> None:
    where = copying.Info(target)
    found = archives.stat(cli.client, container, target)
    if found and found["mode"] & _LINK:
        where.path = copying.join_link(target, found["linkTarget"])
        found = archives.stat(cli.client, container, where.path)
    if found:
        mode = found["mode"]
        if mode & _KINDS & ~_DIRECTORY:
            raise errors.CliError(
                f'destination "{container}:{target}" must be a directory or a regular file'
            )
        where.exists, where.is_dir = True, bool(mode & _DIRECTORY)
    chunks: Iterable[bytes]
    if path == "-":
        if not where.is_dir:
            raise errors.CliError(f'destination "{container}:{target}" must be a directory')
        directory, chunks = where.path, common.read_chunks(sys.stdin.buffer)
    else:
        try:
            origin = copying.source(path, follow=values.flag("follow-link"))
        except OSError as error:
            reason = (error.strerror or str(error)).lower()
            raise errors.CliError(f"lstat {error.filename}: {reason}") from None
        directory, name = copying.place(origin, where)
        chunks = copying.pack(origin.path, name or origin.rebase or copying.split(origin.path)[1])
    meter = _Meter("Copying to container", values.flag("quiet") or path == "-")
    archives.put(
        cli.client,
        container,
        directory,
        meter.wrap(chunks),
        copy_owner=values.flag("archive"),
    )
    meter.end(f"{container}:{where.path}")
