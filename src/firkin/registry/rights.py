"""Rights: which actions a pattern of repositories allows.

A pattern is a repository's name in which ``*`` stands for any characters, slashes too, and
``{user}`` for the name of who asks: ``{user}/*`` gives everyone a place of their own.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from firkin import errdefs

ACTIONS = ("pull", "push", "delete")
ALL = frozenset(ACTIONS)
NONE: frozenset[str] = frozenset()


class Right(NamedTuple):
    """One rule."""

    pattern: str
    actions: frozenset[str]


class Identity(NamedTuple):
    """Who asks: a user's name, or "" for nobody in particular; and all of their rights."""

    user: str
    rights: tuple[Right, ...]
    admin: bool = False

    def allowed(self, name: str) -> frozenset[str]:
        """The actions on this repository."""
        if self.admin:
            return ALL
        found = NONE
        for right in self.rights:
            if matches(right.pattern, name, self.user):
                found |= right.actions
        return found


def actions(text: str) -> frozenset[str]:
    """``pull,push`` or ``*``; ``InvalidParameter`` names what is none of the actions."""
    found = set()
    for word in text.split(","):
        word = word.strip()
        if word == "*":
            return ALL
        if word not in ALL:
            known = ", ".join(ACTIONS)
            raise errdefs.InvalidParameter(f"{word!r} is not an action: use {known} or *")
        found.add(word)
    return frozenset(found)


def parse(text: str) -> Right:
    """``PATTERN:ACTIONS``, as in ``team/*:pull,push``."""
    pattern, colon, words = text.rpartition(":")
    if not colon or not re.fullmatch(r"[a-z0-9._/*{}-]+", pattern):
        raise errdefs.InvalidParameter(
            f"{text!r} is not PATTERN:ACTIONS, as in 'team/*:pull,push' or '{{user}}/*:*'"
        )
    return Right(pattern, actions(words))


def text(granted: Iterable[str]) -> str:
    """Actions in their usual order."""
    chosen = set(granted)
    return ",".join(action for action in ACTIONS if action in chosen)


def matches(pattern: str, name: str, user: str = "") -> bool:
    """Whether ``pattern`` means the repository ``name`` when ``user`` asks."""
    if "{user}" in pattern and not user:
        return False
    parts = (re.escape(part) for part in pattern.split("*"))
    # The name goes in last: one with a "*" in it is no pattern.
    expression = ".*".join(parts).replace(re.escape("{user}"), re.escape(user.lower()))
    return re.fullmatch(expression, name) is not None
