"""Tags of a repository."""

from __future__ import annotations

import sqlite3
from typing import NamedTuple

from firkin.registry.index import manifests, repositories


class Tag(NamedTuple):
    """A tag and what it stands for."""

    name: str
    digest: str
    updated: float


def listing(c: sqlite3.Connection, name: str, last: str, limit: int) -> list[str]:
    """Tags after ``last``, in the order of their bytes; ``limit`` -1 for all."""
    repository = repositories.require(c, name)
    rows = c.execute(
        "SELECT name FROM tags WHERE repository = ? AND name > ? ORDER BY name LIMIT ?",
        (repository, last, limit),
    )
    return [row[0] for row in rows]


def details(c: sqlite3.Connection, repository: int, limit: int = -1, skip: int = 0) -> list[Tag]:
    """Tags with what they stand for, the newest first."""
    rows = c.execute(
        "SELECT name, digest, updated FROM tags WHERE repository = ? "
        "ORDER BY updated DESC, name LIMIT ? OFFSET ?",
        (repository, limit, skip),
    )
    return [Tag(*row) for row in rows]


def delete(c: sqlite3.Connection, name: str, tag: str) -> None:
    """Remove a tag; the manifest stays."""
    repository = repositories.require(c, name)
    done = c.execute("DELETE FROM tags WHERE repository = ? AND name = ?", (repository, tag))
    if not done.rowcount:
        raise manifests.unknown(name, tag)
