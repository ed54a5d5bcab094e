"""Rows of the table ``secrets``. Every function runs inside a transaction of the caller."""

from __future__ import annotations

import sqlite3

import msgspec

from firkin import errdefs


class Secret(msgspec.Struct, frozen=True, kw_only=True):
    """A secret as it is kept: ``sealed`` is encrypted. Times are seconds since the epoch."""

    id: str
    name: str
    labels: dict[str, str]
    created: float
    updated: float
    version: int
    sealed: bytes


def every(connection: sqlite3.Connection) -> list[Secret]:
    """All secrets, by name."""
    rows = connection.execute(
        "SELECT id, name, labels, created, updated, version, sealed FROM secrets ORDER BY name"
    )
    return [
        Secret(
            id=row[0],
            name=row[1],
            labels=msgspec.json.decode(row[2]),
            created=row[3],
            updated=row[4],
            version=row[5],
            sealed=row[6],
        )
        for row in rows
    ]


def add(connection: sqlite3.Connection, secret: Secret) -> None:
    """Add a secret. Raises ``Conflict`` when the name is taken."""
    try:
        connection.execute(
            "INSERT INTO secrets (id, name, labels, created, updated, version, sealed)"
            " VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                secret.id,
                secret.name,
                msgspec.json.encode(secret.labels),
                secret.created,
                secret.updated,
                secret.version,
                secret.sealed,
            ),
        )
    except sqlite3.IntegrityError:
        raise errdefs.Conflict(
            f"rpc error: code = AlreadyExists desc = secret {secret.name} already exists"
        ) from None


def update(connection: sqlite3.Connection, secret: Secret) -> None:
    """Write the labels, the version and the time of the change."""
    connection.execute(
        "UPDATE secrets SET labels = ?, updated = ?, version = ? WHERE id = ?",
        (msgspec.json.encode(secret.labels), secret.updated, secret.version, secret.id),
    )


def delete(connection: sqlite3.Connection, secret_id: str) -> None:
    """Drop a secret; SQLite overwrites its bytes (``secure_delete``)."""
    connection.execute("PRAGMA secure_delete = ON")
    connection.execute("DELETE FROM secrets WHERE id = ?", (secret_id,))
