"""Patterns of rights."""

from __future__ import annotations

import pytest

from firkin.registry import rights


@pytest.mark.parametrize(
    ("pattern", "name", "user", "right"),
    [
        ("{user}/*", "bob/app", "bob", True),
        ("{user}/*", "bob/app", "Bob", True),
        ("{user}/*", "bob/app", "eve", False),
        ("{user}/*", "bob/app", "", False),
        ("{user}/*", "bob/app", "*", False),
        ("{user}/*", "bob/app", ".*", False),
        ("*", "bob/app", "", True),
        ("a.b", "acb", "", False),
    ],
)
def test_matches(pattern: str, name: str, user: str, right: bool) -> None:
    assert rights.matches(pattern, name, user) is right
