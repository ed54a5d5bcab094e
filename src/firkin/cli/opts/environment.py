"""Environment variables and labels: ``-e``, ``--env-file``, ``-l``, ``--label-file``.

A variable without a value is taken from the client's own environment. When it is not there either,
``-e NAME`` is passed on as it is (the engine then removes NAME), while a file's line is dropped.
"""

from __future__ import annotations

import os

from firkin.cli.opts import text


def variable(value: str) -> str:
    """Check one ``-e`` and fill in the value of a bare name."""
    name, equals, _ = value.partition("=")
    if not name:
        raise ValueError(f"invalid environment variable: {value}")
    if not equals and name in os.environ:
        return f"{name}={os.environ[name]}"
    return value


def label(value: str) -> str:
    """Check one ``-l``."""
    if not value.partition("=")[0].strip():
        raise ValueError(f"invalid label '{value}': empty name")
    return value


def variables(files: list[str], given: list[str]) -> list[str]:
    """The environment: files first, so that ``-e`` wins."""
    found: list[str] = []
    for path in files:
        for name, item in _entries(path, "variable"):
            if "=" in item:
                found.append(item)
            elif name in os.environ:
                found.append(f"{name}={os.environ[name]}")
    return found + given


def labels(files: list[str], given: list[str]) -> dict[str, str]:
    """The labels: files first, so that ``-l`` wins. A file's line without ``=`` is dropped."""
    items = [item for path in files for _, item in _entries(path, "label") if "=" in item]
    return text.pairs(items + given)


def _entries(path: str, what: str) -> list[tuple[str, str]]:
    entries: list[tuple[str, str]] = []
    try:
        lines = text.lines_of(path)
    except IsADirectoryError:
        kind = "env" if what == "variable" else "label"
        raise ValueError(f"invalid {kind} file ({path}): read {path}: is a directory") from None
    for number, line in lines:
        name = line.partition("=")[0]
        if not name:
            raise ValueError(f"{path}:{number}: no {what} name on the line {line!r}")
        if any(character.isspace() for character in name):
            raise ValueError(f"{path}:{number}: the {what} name {name!r} contains whitespace")
        entries.append((name, line))
    return entries
