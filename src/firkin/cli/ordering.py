"""The order in which names are listed."""

from __future__ import annotations

import itertools


def natural(text: str) -> list[tuple[str, int, str]]:
    """A sort key by which "net2" comes before "net10"."""
    parts = ["".join(group) for _, group in itertools.groupby(text, str.isdecimal)]
    return [("0", int(part), "") if part.isdecimal() else (part[0], 0, part) for part in parts]
