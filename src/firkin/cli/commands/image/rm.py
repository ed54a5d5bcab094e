"""``image rm``: remove names, and images that have no name left."""

from __future__ import annotations

from firkin.cli import common, errors, flags
from firkin.client import api, images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] IMAGE [IMAGE...]",
    "Remove one or more images",
    (
        flags.boolean("force", "f", "Remove the image even if stopped containers use it"),
        flags.boolean("no-prune", "", "Keep untagged parents"),
        flags.strings(
            "platform", "", "Remove only this platform of the image", type_name="strings"
        ),
    ),
    flags.at_least(1),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Go on after an image that can't be removed; one that isn't there is no failure with -f."""
    force = values.flag("force")
    platforms = [
        found
        for text in common.comma_separated(values.items("platform"))
        if (found := common.platform(text))
    ]
    fatal = False
    failures: list[str] = []
    for reference in args:
        try:
            removed = images.remove(
                cli.client,
                reference,
                force=force,
                no_prune=values.flag("no-prune"),
                platforms=platforms,
            )
        except api.APIError as error:
            fatal = fatal or error.status != 404
            failures.append(f"Error response from daemon: {error}")
            continue
        for item in removed:
            if "Deleted" in item:
                cli.print(f"Deleted: {item['Deleted']}")
            else:
                cli.print(f"Untagged: {item.get('Untagged', '')}")
    if not failures:
        return 0
    message = "\n".join(failures)
    if not force or fatal:
        raise errors.CliError(message)
    cli.warn(message)
    return 0
