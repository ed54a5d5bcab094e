"""``context use``: the context for every command from now on."""

from __future__ import annotations

import os

from firkin.cli import configfile, context, contextstore, flags

COMMAND = flags.Command("CONTEXT", "Set the current context", (), flags.exactly(1))


def run(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
    """Note the context in the configuration file."""
    name = args[0]
    if name == contextstore.DEFAULT:
        if cli.config.get("currentContext"):
            configfile.update(cli.config_dir, "currentContext", None)
    else:
        cli.contexts.load(name)
        configfile.update(cli.config_dir, "currentContext", name)
    cli.print(name)
    cli.warn(f'Current context is now "{name}"')
    variable = next((host for host in context.HOST_VARIABLES if os.environ.get(host)), "")
    if variable and name != contextstore.DEFAULT:
        cli.warn(
            f"Warning: {variable} environment variable overrides the active context. "
            f'To use "{name}", either set the global --context flag, '
            f"or unset {variable} environment variable."
        )
    return 0
