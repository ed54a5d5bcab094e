"""The database itself: pages, indexes, references between rows."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator

from firkin.engine import core as engine
from firkin.engine.check import difference


async def audit(core: engine.Core, deep: bool) -> AsyncIterator[difference.Difference]:
    """What SQLite finds wrong with its file."""

    def read(connection: sqlite3.Connection) -> tuple[list[str], list[tuple[str, int, str]]]:
        pages = [row[0] for row in connection.execute("PRAGMA integrity_check(20)")]
        rows = connection.execute("PRAGMA foreign_key_check").fetchall()
        return [text for text in pages if text != "ok"], [row[:3] for row in rows]

    pages, rows = await core.db.run(read)
    remedy = (
        f"stop the engine and restore {core.config.data_root}/firkin.db from a copy, or start with "
        "a new --data-root and load the images again"
    )
    for text in pages:
        yield difference.Difference("database", "firkin.db", text, remedy=remedy)
    for table, row, parent in rows:
        yield difference.Difference(
            "database", f"{table} row {row}", f"refers to a row of {parent} that is gone",
            remedy=remedy,
        )  # fmt: skip
