"""``firkin rm``."""

from __future__ import annotations

from firkin.cli import errors, flags
from firkin.cli.commands.container import many
from firkin.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Remove containers",
    (
        flags.boolean("force", "f", "Remove even a running container (it gets SIGKILL)"),
        flags.boolean("link", "l", "Remove the link of this name"),
        flags.boolean("volumes", "v", "Remove the anonymous volumes of the container too"),
    ),
    flags.at_least(1),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    force = values.flag("force")

    def remove(name: str) -> None:
        name = name.strip("/")
        if not name:
            raise errors.CliError("container name cannot be empty")
        containers.remove(
            cli.client,
            name,
            force=force,
            volumes=values.flag("volumes"),
            link=values.flag("link"),
        )

    return many.each(args, remove, missing_is_fine=force)
