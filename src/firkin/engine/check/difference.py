"""One difference between what the engine believes and what is there."""

from __future__ import annotations

import os
import time
from collections.abc import Awaitable, Callable

Mend = Callable[[], Awaitable[object]]

SETTLED = 60.0
"""Seconds after which something that nothing refers to is left over, not in the making."""


class Difference:
    """What is not as it should be.

    ``area`` is a noun ("container", "image", ...), ``subject`` the object's name, ``problem`` a
    sentence, ``remedy`` what a person can do where ``mend`` is ``None``.
    """

    def __init__(
        self, area: str, subject: str, problem: str, *, remedy: str = "", mend: Mend | None = None
    ) -> None:
        self.area = area
        self.subject = subject
        self.problem = problem
        self.remedy = remedy
        self.mend = mend
        self.repaired = False

    def describe(self) -> dict[str, object]:
        """The difference as JSON values."""
        return {
            "Area": self.area,
            "Subject": self.subject,
            "Problem": self.problem,
            "Remedy": self.remedy or ("firkin system check --repair" if self.mend else ""),
            "Repairable": self.mend is not None,
            "Repaired": self.repaired,
        }


def settled(path: str) -> bool:
    """Whether ``path`` is there and old enough to be left over."""
    try:
        return time.time() - os.lstat(path).st_mtime > SETTLED
    except OSError:
        return False
