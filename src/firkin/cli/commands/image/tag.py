"""``image tag``."""

from __future__ import annotations

from firkin.cli import errors, flags
from firkin.client import api, images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "SOURCE_IMAGE[:TAG] TARGET_IMAGE[:TAG]",
    "Give an image one more name",
    (),
    flags.exactly(2),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """The tag is "latest" if the new name has none."""
    repository, tag = images.split_tag(args[1])
    try:
        images.tag(cli.client, args[0], repository, tag)
    except api.APIError as error:
        if not str(error).startswith("invalid reference format"):
            raise
        raise errors.CliError(
            f'Error parsing reference: "{args[1]}" is not a valid repository/tag: {error}'
        ) from None
    return 0
