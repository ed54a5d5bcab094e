"""Upload sessions. Their bytes are in files; how far they are is the files' length."""

from __future__ import annotations

import sqlite3
import time

from firkin.registry import errors


def begin(c: sqlite3.Connection, identity: str, name: str, algorithm: str) -> None:
    """Remember a new session."""
    c.execute(
        "INSERT INTO uploads (id, repository, algorithm, started) VALUES (?, ?, ?, ?)",
        (identity, name, algorithm, time.time()),
    )


def algorithm(c: sqlite3.Connection, identity: str, name: str) -> str:
    """The digest algorithm of a session of this repository, or ``BLOB_UPLOAD_UNKNOWN``."""
    row = c.execute(
        "SELECT algorithm FROM uploads WHERE id = ? AND repository = ?", (identity, name)
    ).fetchone()
    if row is None:
        raise errors.Failure(
            "BLOB_UPLOAD_UNKNOWN",
            f"repository {name} has no upload {identity[:100]}: it was finished, cancelled or took "
            "too long; begin a new one",
        )
    return str(row[0])


def end(c: sqlite3.Connection, identity: str) -> None:
    """Forget a session."""
    c.execute("DELETE FROM uploads WHERE id = ?", (identity,))


def all_ids(c: sqlite3.Connection) -> set[str]:
    """Every session."""
    return {row[0] for row in c.execute("SELECT id FROM uploads")}
