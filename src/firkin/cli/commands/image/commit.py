"""``container commit``: an image of a container's present files."""

from __future__ import annotations

from firkin.cli import flags
from firkin.client import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] CONTAINER [REPOSITORY[:TAG]]",
    "Make an image of a container's changes",
    (
        flags.string("author", "a", "Author of the image"),
        flags.strings("change", "c", "Apply this Dockerfile instruction to the image"),
        flags.string("message", "m", "Comment of the image"),
        flags.boolean("no-pause", "", "Let the container run on meanwhile"),
        flags.boolean("pause", "p", "Pause the container meanwhile", True, hidden=True),
    ),
    flags.between(1, 2),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Print the new image's ID."""
    repository, tag = images.split_tag(args[1]) if len(args) > 1 else ("", "")
    identity = images.commit(
        cli.client,
        args[0],
        repository=repository,
        tag=tag,
        message=values.text("message"),
        author=values.text("author"),
        changes=values.items("change"),
        pause=values.flag("pause") and not values.flag("no-pause"),
    )
    cli.print(identity)
    return 0
