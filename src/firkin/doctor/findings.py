"""What a check says."""

from __future__ import annotations

import dataclasses
import enum


class Level(enum.StrEnum):
    """``FAIL`` keeps containers from running; ``WARN`` takes something away from them."""

    OK = "ok"
    WARN = "warn"
    FAIL = "fail"


@dataclasses.dataclass(frozen=True, slots=True)
class Finding:
    """One statement about the host.

    ``what`` is a sentence for people; ``remedy`` the exact command, or a sentence where no command
    can help. Only a finding that is ``OK`` has no remedy.
    """

    level: Level
    subject: str
    what: str
    remedy: str = ""


def ok(subject: str, what: str) -> Finding:
    """All is well with the subject."""
    return Finding(Level.OK, subject, what)


def warn(subject: str, what: str, remedy: str) -> Finding:
    """Containers run, but not with everything."""
    return Finding(Level.WARN, subject, what, remedy)


def fail(subject: str, what: str, remedy: str) -> Finding:
    """Containers can't run."""
    return Finding(Level.FAIL, subject, what, remedy)
