"""``volume create``."""

from __future__ import annotations

from firkin.cli import common, errors, flags
from firkin.cli.opts import environment
from firkin.client import volumes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] [VOLUME]",
    "Create a volume",
    (
        flags.string("driver", "d", "Volume driver", "local"),
        flags.strings("label", "", "Label of the volume", check=environment.label),
        flags.string("name", "", "Name of the volume", hidden=True),
        flags.strings(
            "opt",
            "o",
            "Option of the driver, as in key=value",
            type_name="map",
            default_text="map[]",
        ),
    ),
    flags.between(0, 1),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Print the volume's name, which the engine makes up if none is given."""
    name = values.text("name")
    if name and args:
        raise errors.CliError("conflicting options: give the name as a flag or as an argument")
    made = volumes.create(
        cli.client,
        args[0] if args else name,
        driver=values.text("driver"),
        options=common.pairs(values.items("opt")),
        labels=common.pairs(values.items("label")),
    )
    cli.print(str(made["Name"]))
    return 0
