"""``firkin container inspect``."""

from __future__ import annotations

from firkin.cli import flags, inspector
from firkin.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Show all that is known of containers",
    (
        flags.string("format", "f", "'json', or a Go template to show the object with"),
        flags.boolean("size", "s", "Show total file sizes too"),
    ),
    flags.at_least(1),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    size = values.flag("size")

    def fetch(name: str) -> tuple[str, bytes]:
        return "container", containers.inspect_raw(cli.client, name, size=size)

    return inspector.inspect(args, values.text("format"), fetch)
