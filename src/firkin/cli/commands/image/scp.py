"""``image scp``: copy an image between two engines, sending only the layers that are missing."""

from __future__ import annotations

import sys

from firkin.cli import errors, flags, progress
from firkin.client import api, images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] [ENGINE::]IMAGE [ENGINE::]",
    "Copy an image between two engines: addresses such as ssh://user@host, or contexts",
    (flags.boolean("quiet", "q", "Only print the image's name"),),
    flags.between(1, 2),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Through this client, so that the two engines need not reach each other."""
    source, separator, name = args[0].rpartition("::")
    if not name:
        raise errors.CliError(f"{args[0]!r} names no image: write ENGINE::IMAGE")
    target = args[1] if len(args) > 1 else ""
    if target and not target.endswith("::"):
        raise errors.CliError(f"{target!r} is not an engine: write ENGINE::")
    target = target.removesuffix("::")
    if source == target:
        raise errors.CliError("source and destination are the same engine: give one with ENGINE::")
    del separator
    there = cli.connect_to(source) if source else cli.client
    here = cli.connect_to(target) if target else cli.connect()
    known = _known(there, here, name)
    try:
        _copy(there, here, name, known, values.flag("quiet"))
    except (api.APIError, errors.CliError):
        if not known:
            raise
        # A layer that it had may just have been removed there.
        _copy(there, here, name, [], values.flag("quiet"))
    if values.flag("quiet"):
        cli.print(name)
    return 0


def _known(there: api.Client, here: api.Client, name: str) -> list[str]:
    """The image's layers that the destination has; none where an engine can't tell."""
    try:
        layers = images.layers(there, name)
        missing = set(images.missing(here, layers))
    except api.APIError as error:
        if error.status == 404 and "page not found" in error.message:
            return []
        raise
    return [digest for digest in layers if digest not in missing]


def _copy(there: api.Client, here: api.Client, name: str, known: list[str], quiet: bool) -> None:
    archive = images.save_without(there, [name], known) if known else images.save(there, [name])
    try:
        response = images.load(here, archive.chunks(), quiet=True)
        if quiet:
            response.read()
        else:
            progress.show(response.json_values(), sys.stdout)
        here.release(response)
    finally:
        there.release(archive)
