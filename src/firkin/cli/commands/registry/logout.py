"""``firkin logout``: forget a registry's credentials."""

from __future__ import annotations

from firkin.cli import credentials, flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "[SERVER]", "Log out from a registry, by default docker.io", (), flags.between(0, 1)
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """The engine is not asked: it keeps no credentials."""
    key = credentials.key_of(args[0] if args else "")
    cli.print(f"Removing login credentials for {key}")
    credentials.erase(cli, key)
    return 0
