"""``firkin stop``."""

from __future__ import annotations

from firkin.cli import flags
from firkin.cli.commands.container import many
from firkin.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[OPTIONS] CONTAINER [CONTAINER...]",
    "Stop running containers",
    (
        flags.string("signal", "s", "Signal to send to the container"),
        flags.integer("timeout", "t", "Seconds to wait before killing the container"),
        flags.integer("time", "", "Seconds to wait before killing the container", hidden=True),
    ),
    flags.at_least(1),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    timeout = next(
        (values.number(name) for name in ("timeout", "time") if values.changed(name)), None
    )
    signal = values.text("signal")

    def stop(name: str) -> None:
        if warning := containers.stop(cli.client, name, signal=signal, timeout=timeout):
            cli.warn(f"WARNING: {warning}")

    return many.each(args, stop)
