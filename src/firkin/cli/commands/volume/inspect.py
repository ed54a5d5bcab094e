"""``volume inspect``."""

from __future__ import annotations

from firkin.cli import common, flags, inspector
from firkin.client import volumes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] VOLUME [VOLUME...]",
    "Show everything about volumes",
    (flags.string("format", "f", common.INSPECT_USAGE),),
    flags.at_least(1),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Show every volume that is there, then say which ones are not."""

    def fetch(name: str) -> tuple[str, bytes]:
        return "volume", volumes.inspect_raw(cli.client, name)

    return inspector.inspect(args, values.text("format"), fetch)
