"""``context rm``."""

from __future__ import annotations

from firkin.cli import configfile, contextstore, errors, flags

TYPE_CHECKING = False
if TYPE_CHECKING:
    from firkin.cli import context

COMMAND = flags.Command(
    "CONTEXT [CONTEXT...]",
    "Remove one or more contexts",
    (flags.boolean("force", "f", "Remove a context that is in use too"),),
    flags.at_least(1),
)


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Remove each; the failures are told of after the rest."""
    force = values.flag("force")
    failures: list[str] = []
    for name in args:
        try:
            _remove(cli, name, force)
        except errors.CliError as error:
            failures.append(str(error))
        else:
            cli.print(name)
    if failures:
        raise errors.CliError("\n".join(failures))
    return 0


def _remove(cli: context.Cli, name: str, force: bool) -> None:
    if name == contextstore.DEFAULT:
        raise errors.CliError(f'context "{name}" cannot be removed')
    if not force and not cli.contexts.exists(name):
        raise errors.CliError(f'context "{name}" does not exist')
    if name == cli.context_name():
        if not force:
            raise errors.CliError(f'context "{name}" is in use, set -f flag to force remove')
        configfile.update(cli.config_dir, "currentContext", None)
    cli.contexts.remove(name)
