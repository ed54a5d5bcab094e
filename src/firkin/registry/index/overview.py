"""Figures for people: how much there is in a repository."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple


class Repository(NamedTuple):
    """A repository in a list. ``size`` counts each of its blobs once."""

    name: str
    tags: int
    size: int
    pushed: float


def listing(c: sqlite3.Connection, last: str, limit: int, part: str = "") -> list[Repository]:
    """Repositories that hold a manifest, after ``last``, with ``part`` in their names."""
    rows = c.execute(
        "SELECT r.name, (SELECT count(*) FROM tags t WHERE t.repository = r.id), "
        "(SELECT ifnull(sum(b.size), 0) FROM links l JOIN blobs b ON b.digest = l.digest "
        "WHERE l.repository = r.id), max(m.pushed) "
        "FROM repositories r JOIN manifests m ON m.repository = r.id "
        "WHERE r.name > ? AND instr(r.name, ?) > 0 GROUP BY r.id ORDER BY r.name LIMIT ?",
        (last, part, limit),
    )
    return [Repository(*row) for row in rows]
