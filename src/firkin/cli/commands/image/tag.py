"""``image tag``."""

from __future__ import annotations

from firkin.cli import flags
from firkin.client import images

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
    images.tag(cli.client, args[0], repository, tag)
    return 0
