"""What ``stop`` and ``restart`` share: how long to wait, and for which signal."""

from __future__ import annotations

from firkin.cli import errors, flags
from firkin.cli.commands.container import many

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    from firkin.cli import context
    from firkin.client import api

    class Verb(Protocol):
        """Stops a container; what is returned is a warning, or ""."""

        def __call__(
            self, client: api.Client, name: str, /, *, signal: str, timeout: int | None
        ) -> str: ...


FLAGS = (
    flags.string("signal", "s", "Signal to send to the container"),
    flags.integer("timeout", "t", "Seconds to wait before killing the container"),
    flags.integer("time", "", "Seconds to wait before killing the container", hidden=True),
)


def each(cli: context.Cli, values: flags.Values, names: list[str], verb: Verb) -> int:
    """Stop each and print its name, and the engine's warnings; returns the exit code."""
    if values.changed("timeout") and values.changed("time"):
        raise errors.CliError("conflicting options: cannot specify both --timeout and --time")
    timeout = next(
        (values.number(name) for name in ("timeout", "time") if values.changed(name)), None
    )
    signal = values.text("signal")

    def one(name: str) -> None:
        if warning := verb(cli.client, name, signal=signal, timeout=timeout):
            cli.warn(f"WARNING: {warning}")

    return many.each(names, one)
