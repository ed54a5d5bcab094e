"""Rows of the table ``snapshots``. Every function runs inside a transaction of the caller."""

from __future__ import annotations

import sqlite3
import time
from typing import NamedTuple

from firkin import errdefs

_COLUMNS = "dir, key, parent, kind, size, created, disk"


class Info(NamedTuple):
    """One snapshot. ``parent`` is "" for none; ``kind`` is "active" or "committed".

    ``size`` is the bytes of a layer's files, ``disk`` what du(1) says of the directory of a
    committed snapshot; -1 when it was not measured.
    """

    dir: int
    key: str
    parent: str
    kind: str
    size: int
    created: float
    disk: int = -1


def _info(row: tuple[int, str, str | None, str, int, float, int]) -> Info:
    return Info(row[0], row[1], row[2] or "", *row[3:])


def get(connection: sqlite3.Connection, key: str) -> Info:
    """The snapshot ``key``. Raises ``NotFound``."""
    row = connection.execute(f"SELECT {_COLUMNS} FROM snapshots WHERE key = ?", (key,)).fetchone()
    if row is None:
        raise errdefs.NotFound(f"no such snapshot: {key}")
    return _info(row)


def every(connection: sqlite3.Connection) -> list[Info]:
    """All snapshots, by directory number."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM snapshots ORDER BY dir")
    return [_info(row) for row in rows]


def lineage(connection: sqlite3.Connection, key: str) -> list[Info]:
    """The snapshot and its ancestors, itself first. Raises ``NotFound``."""
    found = [get(connection, key)]
    while found[-1].parent:
        found.append(get(connection, found[-1].parent))
    return found


def _check_parent(connection: sqlite3.Connection, parent: str) -> None:
    if parent and get(connection, parent).kind != "committed":
        raise errdefs.Conflict(f"the snapshot {parent} is active: it cannot be a parent")


def add(connection: sqlite3.Connection, key: str, parent: str) -> int:
    """Add an active snapshot; returns its directory number. Raises ``Conflict``, ``NotFound``."""
    _check_parent(connection, parent)
    try:
        cursor = connection.execute(
            "INSERT INTO snapshots (key, parent, kind, created) VALUES (?, ?, 'active', ?)",
            (key, parent or None, time.time()),
        )
    except sqlite3.IntegrityError:
        raise errdefs.Conflict(f"the snapshot {key} exists already") from None
    assert cursor.lastrowid is not None
    return cursor.lastrowid


def commit(
    connection: sqlite3.Connection, key: str, name: str, parent: str, size: int, disk: int
) -> None:
    """Turn the active ``key`` into the committed ``name`` on ``parent``."""
    if get(connection, key).kind != "active":
        raise errdefs.Conflict(f"the snapshot {key} is committed already")
    _check_parent(connection, parent)
    try:
        connection.execute(
            "UPDATE snapshots SET key = ?, parent = ?, kind = 'committed', size = ?, disk = ? "
            "WHERE key = ?",
            (name, parent or None, size, disk, key),
        )
    except sqlite3.IntegrityError:
        raise errdefs.Conflict(f"the snapshot {name} exists already") from None


def weigh(connection: sqlite3.Connection, disk: dict[int, int]) -> None:
    """Put down what committed snapshots take, by their directories."""
    connection.executemany(
        "UPDATE snapshots SET disk = ? WHERE dir = ? AND kind = 'committed'",
        [(size, directory) for directory, size in disk.items()],
    )


def remove(connection: sqlite3.Connection, key: str) -> Info:
    """Delete the row; returns what it was. Raises ``NotFound``, or ``Conflict`` for a parent."""
    info = get(connection, key)
    child = connection.execute(
        "SELECT key FROM snapshots WHERE parent = ? LIMIT 1", (key,)
    ).fetchone()
    if child is not None:
        raise errdefs.Conflict(f"the snapshot {key} is the parent of {child[0]}")
    connection.execute("DELETE FROM snapshots WHERE key = ?", (key,))
    return info
