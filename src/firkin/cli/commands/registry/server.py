"""What the commands of ``registry`` share: each is a program of its own, started in our place.

The server needs libraries that the client does not have to have, and none of them may slow down
``firkin ps``. So the client knows its commands' options only.
"""

from __future__ import annotations

import os
import sys

from firkin.cli import context, errors, flags
from firkin.registry import options

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Run = Callable[[context.Cli, flags.Values, list[str]], int]


def command(verb: str) -> flags.Command:
    """The declaration of a command for this client."""
    declared = options.COMMANDS[verb]
    made = [
        flags.strings(option.name, option.short, option.help, type_name=option.value)
        if option.value
        else flags.boolean(option.name, option.short, option.help)
        for option in declared.options
    ]
    least, most = declared.arity
    return flags.Command(declared.arguments, declared.help, tuple(made), flags.between(least, most))


def run(verb: str) -> Run:
    """What runs a command: the server's program, in place of this one where that is possible."""

    def execute(cli: context.Cli, values: flags.Values, args: list[str]) -> int:
        import importlib.util

        if importlib.util.find_spec("aiohttp") is None:
            raise errors.CliError(
                "the registry server's libraries are not installed: pip install 'firkin[registry]'"
            )
        words = [sys.executable, "-m", "firkin.registry", verb]
        for option in options.COMMANDS[verb].options:
            if option.value:
                words += [f"--{option.name}={text}" for text in values.get(option.name)]
            elif values.flag(option.name):
                words.append(f"--{option.name}")
        words += ["--", *args] if args else []
        if os.name == "posix":
            sys.stdout.flush()
            os.execv(sys.executable, words)
        import subprocess

        return subprocess.run(words, check=False).returncode

    return execute
