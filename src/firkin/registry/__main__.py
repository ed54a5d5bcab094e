"""``python -m firkin.registry``: the commands of the registry server."""

from __future__ import annotations

import argparse
import logging
import sys
from typing import Any

from firkin import errdefs
from firkin.registry import config, options, serve


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="firkin registry", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in options.COMMANDS.items():
        made = commands.add_parser(name, help=command.help, description=command.help)
        for option in command.options:
            flags = [f"--{option.name}", *([f"-{option.short}"] if option.short else [])]
            if option.value:
                made.add_argument(*flags, metavar=option.value, help=option.help)
            else:
                made.add_argument(*flags, action="store_true", help=option.help)
    return parser


def _settings(given: argparse.Namespace) -> config.Config:
    """The configuration file, and the options over it."""
    tables: dict[str, Any] = config.load(given.config) if given.config else {}
    if given.data:
        tables["data"] = given.data
    if getattr(given, "listen", None):
        tables["listen"] = given.listen
    if workers := getattr(given, "workers", None):
        if not workers.isdecimal():
            raise errdefs.InvalidParameter(f"--workers {workers!r} is not a number")
        tables["workers"] = int(workers)
    for option, key in (("tls_certificate", "certificate"), ("tls_key", "key")):
        if value := getattr(given, option, None):
            tables.setdefault("tls", {})[key] = value
    return config.convert(tables, given.config or "the options")


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    given = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        settings = _settings(given)
        return serve.serve(settings)
    except errdefs.FirkinError as error:
        print(f"firkin registry {given.command}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
