"""``--filter key=value`` of the listing commands, as the Engine API takes filters."""

from __future__ import annotations


def check(value: str) -> str:
    """Refuse a filter without ``=``, but for an empty one; for use as a flag's check."""
    if value and "=" not in value:
        raise ValueError("bad format of filter (expected name=value)")
    return value


def parse(values: list[str]) -> dict[str, dict[str, bool]]:
    """All filters as ``{key: {value: true}}``."""
    found: dict[str, dict[str, bool]] = {}
    for value in filter(None, values):
        key, _, wanted = value.partition("=")
        found.setdefault(key.strip().lower(), {})[wanted.strip()] = True
    return found
