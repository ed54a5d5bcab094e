"""Volumes and their users in the database. Every function runs inside a transaction."""

from __future__ import annotations

import sqlite3

import msgspec


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A volume as the database knows it; ``created`` in seconds since the epoch.

    ``previous`` is the name that its files may still have, while it is being renamed.
    """

    name: str
    driver: str
    anonymous: bool
    created: float
    labels: dict[str, str]
    options: dict[str, str]
    previous: str = ""


def load(connection: sqlite3.Connection) -> tuple[list[Record], list[tuple[str, str]]]:
    """All volumes, and who uses them as (volume, container).

    Volumes whose container was being created or removed by an engine that was killed are dropped.
    """
    connection.execute(
        "DELETE FROM volumes WHERE NOT kept AND name NOT IN (SELECT volume FROM volume_users)"
    )
    rows = connection.execute(
        "SELECT name, driver, anonymous, created, labels, options, previous FROM volumes"
    )
    records = [
        Record(
            name=name,
            driver=driver,
            anonymous=bool(anonymous),
            created=created,
            labels=msgspec.json.decode(labels),
            options=msgspec.json.decode(options),
            previous=previous or "",
        )
        for name, driver, anonymous, created, labels, options, previous in rows
    ]
    return records, connection.execute("SELECT volume, container FROM volume_users").fetchall()


def insert(connection: sqlite3.Connection, record: Record, *, kept: bool) -> None:
    """Add a volume; one that is not ``kept`` is gone after a restart unless somebody uses it."""
    connection.execute(
        "INSERT INTO volumes (name, driver, anonymous, created, labels, options, kept)"
        " VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            record.name,
            record.driver,
            record.anonymous,
            record.created,
            msgspec.json.encode(record.labels),
            msgspec.json.encode(record.options),
            kept,
        ),
    )


def keep(connection: sqlite3.Connection, name: str) -> None:
    """The volume is complete and stays."""
    connection.execute("UPDATE volumes SET kept = 1 WHERE name = ?", (name,))


def delete(connection: sqlite3.Connection, name: str) -> None:
    """Drop a volume."""
    connection.execute("DELETE FROM volumes WHERE name = ?", (name,))


def rename(connection: sqlite3.Connection, old: str, new: str) -> None:
    """Give an unused volume another name; its files are said to be still under the old one."""
    connection.execute("UPDATE volumes SET name = ?, previous = ? WHERE name = ?", (new, old, old))


def settle(connection: sqlite3.Connection, name: str) -> None:
    """The files have the volume's name."""
    connection.execute("UPDATE volumes SET previous = NULL WHERE name = ?", (name,))
