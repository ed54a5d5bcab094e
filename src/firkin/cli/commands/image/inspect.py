"""``image inspect``."""

from __future__ import annotations

from firkin.cli import common, flags, inspector
from firkin.client import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] IMAGE [IMAGE...]",
    "Show everything about images",
    (
        flags.string("format", "f", common.INSPECT_USAGE),
        flags.string("platform", "", "Platform of the image, as os[/arch[/variant]]"),
    ),
    flags.at_least(1),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Show every image that is there, then say which ones are not."""
    platform = common.platform(values.text("platform"))

    def fetch(reference: str) -> tuple[str, bytes]:
        return "image", images.inspect_raw(cli.client, reference, platform)

    return inspector.inspect(args, values.text("format"), fetch)
