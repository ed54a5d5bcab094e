"""What a pull-through cache knows of its upstream: when a name was last compared with it."""

from __future__ import annotations

import sqlite3
import time

from firkin.registry.index import manifests, repositories


def checked(c: sqlite3.Connection, name: str, reference: str) -> float:
    """When this tag or digest was last compared; 0 for never."""
    row = c.execute(
        "SELECT checked FROM upstream WHERE repository = ? AND reference = ?", (name, reference)
    ).fetchone()
    return float(row[0]) if row else 0.0


def check(c: sqlite3.Connection, name: str, reference: str) -> None:
    """It was compared, and used, just now."""
    c.execute(
        "INSERT INTO upstream VALUES (?, ?, ?) ON CONFLICT (repository, reference) "
        "DO UPDATE SET checked = excluded.checked",
        (name, reference, time.time()),
    )


def forget(c: sqlite3.Connection, name: str, reference: str) -> None:
    """The upstream no longer has this tag, or nobody asked for it for long."""
    c.execute("DELETE FROM upstream WHERE repository = ? AND reference = ?", (name, reference))
    repository = repositories.find(c, name)
    if repository is None:
        return
    if ":" not in reference:
        c.execute("DELETE FROM tags WHERE repository = ? AND name = ?", (repository, reference))
        return
    held = c.execute(
        "SELECT 1 FROM tags WHERE repository = ? AND digest = ? UNION ALL "
        "SELECT 1 FROM refs WHERE repository = ? AND child = ? AND kind = 'manifest'",
        (repository, reference, repository, reference),
    ).fetchone()
    if not held:
        manifests.drop(c, repository, reference)


def expire(c: sqlite3.Connection, before: float, limit: int) -> list[str]:
    """Forget what was not used since ``before``, tags first; returns their names."""
    rows = c.execute(
        "SELECT repository, reference FROM upstream WHERE checked < ? "
        "ORDER BY instr(reference, ':') > 0, reference LIMIT ?",
        (before, limit),
    ).fetchall()
    for name, reference in rows:
        forget(c, name, reference)
    return [f"{name}{'@' if ':' in ref else ':'}{ref}" for name, ref in rows]
