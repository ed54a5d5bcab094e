"""Rows of ``pending``, ``blob_sources`` and ``compressed``. Functions run inside a transaction."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable

_SOURCES = 20


def keep(connection: sqlite3.Connection, keys: Iterable[str], seconds: float) -> None:
    """Keep blobs and snapshots for a pull that is under way, or will be taken up again."""
    until = time.time() + seconds
    connection.executemany(
        "INSERT INTO pending (key, until) VALUES (?, ?) "
        "ON CONFLICT (key) DO UPDATE SET until = max(until, excluded.until)",
        [(key, until) for key in keys],
    )


def settle(connection: sqlite3.Connection, keys: Iterable[str]) -> None:
    """An image refers to them now."""
    connection.executemany("DELETE FROM pending WHERE key = ?", [(key,) for key in keys])


def pending(connection: sqlite3.Connection) -> set[str]:
    """What is kept; what was kept long enough is forgotten."""
    connection.execute("DELETE FROM pending WHERE until < ?", (time.time(),))
    return {row[0] for row in connection.execute("SELECT key FROM pending")}


def forget_pending(connection: sqlite3.Connection) -> None:
    """Keep nothing any more."""
    connection.execute("DELETE FROM pending")


def seen(connection: sqlite3.Connection, digests: Iterable[str], repository: str) -> None:
    """The repository ("domain/path") has these blobs."""
    now = time.time()
    connection.executemany(
        "INSERT OR REPLACE INTO blob_sources (digest, repository, seen) VALUES (?, ?, ?)",
        [(digest, repository, now) for digest in digests],
    )


def sources(connection: sqlite3.Connection, digest: str) -> list[str]:
    """Repositories that had the blob, the latest first."""
    rows = connection.execute(
        "SELECT repository FROM blob_sources WHERE digest = ? ORDER BY seen DESC LIMIT ?",
        (digest, _SOURCES),
    )
    return [row[0] for row in rows]


def forget_source(connection: sqlite3.Connection, digest: str, repository: str) -> None:
    """The repository does not have the blob any more."""
    connection.execute(
        "DELETE FROM blob_sources WHERE digest = ? AND repository = ?", (digest, repository)
    )


def compressed(connection: sqlite3.Connection, plain: str) -> tuple[str, int] | None:
    """Digest and size that the layer ``plain`` has compressed, when it was before."""
    row = connection.execute(
        "SELECT digest, size FROM compressed WHERE plain = ?", (plain,)
    ).fetchone()
    return (row[0], row[1]) if row is not None else None


def set_compressed(connection: sqlite3.Connection, plain: str, digest: str, size: int) -> None:
    connection.execute(
        "INSERT OR REPLACE INTO compressed (plain, digest, size) VALUES (?, ?, ?)",
        (plain, digest, size),
    )


def retain(connection: sqlite3.Connection, blobs: Iterable[str]) -> None:
    """Forget what is known of blobs that are gone here; ``blobs`` are those that are left."""
    connection.execute("CREATE TEMP TABLE IF NOT EXISTS left_blobs (digest TEXT PRIMARY KEY)")
    connection.execute("DELETE FROM left_blobs")
    connection.executemany("INSERT OR IGNORE INTO left_blobs VALUES (?)", [(b,) for b in blobs])
    connection.execute("DELETE FROM compressed WHERE plain NOT IN (SELECT digest FROM left_blobs)")
    connection.execute(
        "DELETE FROM blob_sources WHERE digest NOT IN (SELECT digest FROM left_blobs) "
        "AND digest NOT IN (SELECT digest FROM compressed)"
    )
    connection.execute("DELETE FROM left_blobs")
