"""How the long tables of names are written down: as words in a text."""

from __future__ import annotations


def words(text: str, prefix: str = "") -> tuple[str, ...]:
    """The words of ``text``, each with ``prefix``."""
    return tuple(prefix + word for word in text.split())
