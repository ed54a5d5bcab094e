"""``python -m firkin.registry``: the commands of the registry server."""

from __future__ import annotations

import argparse
import logging
import os
import sys
from typing import Any

from firkin import errdefs
from firkin.registry import config, options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="firkin registry", allow_abbrev=False)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in options.COMMANDS.items():
        made = commands.add_parser(
            name, help=command.help, description=command.help, allow_abbrev=False
        )
        for option in command.options:
            flags = [f"--{option.name}", *([f"-{option.short}"] if option.short else [])]
            if option.value:
                made.add_argument(
                    *flags, metavar=option.value, help=option.help, action="append", default=[]
                )
            else:
                made.add_argument(*flags, action="store_true", help=option.help)
        if command.arity[1]:
            made.add_argument("words", nargs="*", metavar="ARGUMENT")
    return parser


def _last(given: argparse.Namespace, option: str) -> str:
    values = getattr(given, option, None)
    return str(values[-1]) if values else ""


def _number(given: argparse.Namespace, option: str, kind: type[int] | type[float]) -> float | None:
    text = _last(given, option)
    if not text:
        return None
    try:
        return kind(text)
    except ValueError:
        raise errdefs.InvalidParameter(f"--{option} {text!r} is not a number") from None


def _settings(given: argparse.Namespace) -> config.Config:
    """The configuration file, and the options over it."""
    file = _last(given, "config")
    tables: dict[str, Any] = config.load(file) if file else {}
    for option in ("data", "listen", "access_log"):
        if value := _last(given, option):
            tables[option] = value
    if (workers := _number(given, "workers", int)) is not None:
        tables["workers"] = workers
    for option, key in (("tls_certificate", "certificate"), ("tls_key", "key")):
        if value := _last(given, option):
            tables.setdefault("tls", {})[key] = value
    if file := _last(given, "htpasswd"):
        tables.setdefault("auth", {}).update(mode="htpasswd", htpasswd=file)
    for option in ("grace", "untagged_days"):
        if (amount := _number(given, option, float)) is not None:
            tables.setdefault("gc", {})[option] = amount
    return config.convert(tables, _last(given, "config") or "the options")


def _fresh_directory(path: str) -> None:
    """An empty directory for the workers' counters."""
    try:
        os.makedirs(path, mode=0o700, exist_ok=True)
        for name in os.listdir(path):
            os.unlink(os.path.join(path, name))
    except OSError as error:
        raise errdefs.System(f"cannot prepare {path}: {error.strerror}") from error


def _run(given: argparse.Namespace) -> int:
    settings = _settings(given)
    if given.command == "serve":
        # Where workers share their figures; read when the library is imported.
        shared = os.path.join(settings.data, "metrics")
        _fresh_directory(shared)
        os.environ["PROMETHEUS_MULTIPROC_DIR"] = shared
        from firkin.registry import serve

        return serve.serve(settings)
    from firkin.registry import commands

    if given.command == "gc":
        return commands.collect(settings, dry=given.dry_run)
    if given.command == "scrub":
        return commands.scrubbing(settings, repair=given.repair)
    match given.words:
        case ["ls"]:
            return commands.user_list(settings)
        case ["add", name]:
            return commands.user_add(
                settings, name, given.right, admin=given.admin, from_stdin=given.password_stdin
            )
        case ["rm", name]:
            return commands.user_remove(settings, name)
    raise errdefs.InvalidParameter("expected: add NAME, rm NAME or ls")


def main(argv: list[str] | None = None) -> int:
    """Run one command; returns the exit status."""
    given = _parser().parse_args(argv)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s %(name)s: %(message)s")
    try:
        return _run(given)
    except errdefs.FirkinError as error:
        print(f"firkin registry {given.command}: {error}", file=sys.stderr)
        return 1


if __name__ == "__main__":
    sys.exit(main())
