"""``image save``: images as one archive."""

from __future__ import annotations

from firkin.cli import common, flags, outfile
from firkin.client import images

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] IMAGE [IMAGE...]",
    "Save images to an archive on standard output",
    (
        flags.string("output", "o", "Write to this file instead"),
        flags.string("platform", "", "Save only this platform, as os[/arch[/variant]]"),
    ),
    flags.at_least(1),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Nothing is written before the engine has found all images."""
    platform = common.platform(values.text("platform"))
    outfile.save(cli, values.text("output"), lambda: images.save(cli.client, args, platform))
    return 0
