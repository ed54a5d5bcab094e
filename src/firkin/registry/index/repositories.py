"""Repositories: they come into being with their first blob or manifest."""

from __future__ import annotations

import sqlite3
import time

from firkin.registry import errors


def find(c: sqlite3.Connection, name: str) -> int | None:
    """The id of a repository, if there is one of that name."""
    row = c.execute("SELECT id FROM repositories WHERE name = ?", (name,)).fetchone()
    return int(row[0]) if row else None


def require(c: sqlite3.Connection, name: str) -> int:
    """The same, or ``NAME_UNKNOWN``."""
    found = find(c, name)
    if found is None:
        raise errors.Failure("NAME_UNKNOWN", f"repository {name} is not known to this registry")
    return found


def ensure(c: sqlite3.Connection, name: str) -> int:
    """The id of a repository, made if need be."""
    found = find(c, name)
    if found is not None:
        return found
    c.execute("INSERT INTO repositories (name, created) VALUES (?, ?)", (name, time.time()))
    return require(c, name)


def listing(c: sqlite3.Connection, last: str, limit: int, part: str = "") -> list[str]:
    """Names after ``last`` that have ``part`` in them, of repositories that hold a manifest."""
    rows = c.execute(
        "SELECT name FROM repositories r WHERE name > ? AND instr(name, ?) > 0 AND EXISTS "
        "(SELECT 1 FROM manifests m WHERE m.repository = r.id) ORDER BY name LIMIT ?",
        (last, part, limit),
    )
    return [row[0] for row in rows]


def drop_empty(c: sqlite3.Connection) -> int:
    """Forget repositories in which nothing is left; returns how many."""
    return c.execute(
        "DELETE FROM repositories WHERE id NOT IN (SELECT repository FROM links) "
        "AND id NOT IN (SELECT repository FROM manifests)"
    ).rowcount
