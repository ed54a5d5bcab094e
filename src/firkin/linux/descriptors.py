"""How many files the engine may have open, and how many those whom it starts.

Each client, container and stream takes descriptors, so the engine takes as many as it is allowed.
But what it starts must not inherit that: a program that uses select(2), or closes all descriptors
that there could be, suffers from a high soft limit. So containers get the limits that the engine
was given.
"""

from __future__ import annotations

import resource

_CEILING = 1 << 20  # fs.nr_open, unless somebody has raised that

_given = resource.getrlimit(resource.RLIMIT_NOFILE)


def given() -> tuple[int, int]:
    """The soft and hard limit that this process was started with."""
    return _given


def take_all() -> int:
    """Raise this process's soft limit to its hard one, and return it."""
    soft, hard = _given
    wanted = _CEILING if hard == resource.RLIM_INFINITY else hard
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
    return wanted
