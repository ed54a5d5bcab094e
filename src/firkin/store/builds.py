"""Rows of the build cache. Functions run inside a caller's transaction."""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable

import msgspec

_COLUMNS = "id, kind, snapshot, parent, description, created, used, uses, size, diff_id"
_TRACES = 20_000


class Record(msgspec.Struct, kw_only=True):
    """A thing in the build cache. Times are seconds since the epoch, ``size`` is in bytes.

    ``kind`` is as in the Engine API: regular (a step's result), source.local, exec.cachemount...;
    ``parent`` the record below, ``diff_id`` that of its layer once that is known.
    """

    id: str
    kind: str
    snapshot: str = ""
    parent: str = ""
    description: str = ""
    created: float = 0.0
    used: float = 0.0
    uses: int = 0
    size: int = 0
    diff_id: str = ""


def every(connection: sqlite3.Connection) -> tuple[list[Record], dict[str, str]]:
    """All records, the oldest first, and the record of each key."""
    rows = connection.execute(f"SELECT {_COLUMNS} FROM build_records ORDER BY created, id")
    records = [Record(**dict(zip(_COLUMNS.split(", "), row, strict=True))) for row in rows]
    return records, dict(connection.execute("SELECT key, record FROM build_keys").fetchall())


def touch(connection: sqlite3.Connection, record: Record) -> None:
    """Note when a record was used, if it is there still."""
    connection.execute(
        "UPDATE build_records SET used = ?, uses = ? WHERE id = ?",
        (record.used, record.uses, record.id),
    )


def sweep(connection: sqlite3.Connection) -> int:
    """Delete records of snapshots that are not there; how many there were."""
    return connection.execute(
        "DELETE FROM build_records WHERE snapshot <> '' AND snapshot NOT IN "
        "(SELECT key FROM snapshots WHERE kind = 'committed')"
    ).rowcount


def put(connection: sqlite3.Connection, record: Record, keys: Iterable[str] = ()) -> None:
    """Insert or replace a record, and let ``keys`` lead to it."""
    values = msgspec.structs.astuple(record)
    marks = ", ".join("?" * len(values))
    updates = ", ".join(f"{c} = excluded.{c}" for c in _COLUMNS.split(", ")[1:])
    connection.execute(
        f"INSERT INTO build_records ({_COLUMNS}) VALUES ({marks}) "
        f"ON CONFLICT (id) DO UPDATE SET {updates}",
        values,
    )
    for key in keys:
        connection.execute(
            "INSERT OR REPLACE INTO build_keys (key, record) VALUES (?, ?)", (key, record.id)
        )


def remove(connection: sqlite3.Connection, ids: Iterable[str]) -> None:
    """Delete records with their keys."""
    connection.executemany("DELETE FROM build_records WHERE id = ?", [(one,) for one in ids])


def rename(connection: sqlite3.Connection, old: str, new: str, diff_id: str) -> None:
    """Give the committed snapshot ``old`` the key ``new``, wherever it is named."""
    connection.execute("PRAGMA defer_foreign_keys = ON")
    connection.execute("UPDATE snapshots SET key = ? WHERE key = ?", (new, old))
    connection.execute("UPDATE snapshots SET parent = ? WHERE parent = ?", (new, old))
    connection.execute(
        "UPDATE build_records SET snapshot = ?, diff_id = ? WHERE snapshot = ?", (new, diff_id, old)
    )


def trace(connection: sqlite3.Connection, place: str) -> bytes | None:
    """What was remembered of a step, if anything."""
    row = connection.execute("SELECT parts FROM build_traces WHERE place = ?", (place,)).fetchone()
    return row[0] if row is not None else None


def put_trace(connection: sqlite3.Connection, place: str, parts: bytes) -> None:
    """Remember what a step's key was made of; the oldest are forgotten."""
    connection.execute(
        "INSERT OR REPLACE INTO build_traces (place, used, parts) VALUES (?, ?, ?)",
        (place, time.time(), parts),
    )
    connection.execute(
        "DELETE FROM build_traces WHERE used < (SELECT used FROM build_traces "
        "ORDER BY used DESC LIMIT 1 OFFSET ?)", (_TRACES,),
    )  # fmt: skip
