"""Containers in the database: one row each, config and state as JSON documents."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from typing import NamedTuple

from firkin.store import db


class Row(NamedTuple):
    """A container's row; ``config`` and ``state`` are JSON text, ``created`` nanoseconds."""

    id: str
    name: str
    image: str
    created: int
    config: bytes
    state: bytes


class Containers:
    """The repository of container rows."""

    def __init__(self, database: db.Database) -> None:
        self._db = database

    async def all(self) -> list[Row]:
        """Every row."""

        def read(connection: sqlite3.Connection) -> list[Row]:
            rows = connection.execute(
                "SELECT id, name, image, created, config, state FROM containers"
            )
            return [Row(*row) for row in rows]

        return await self._db.run(read)

    async def insert(self, row: Row, volumes: Iterable[str]) -> None:
        """Add a container together with the volumes that it uses, which are kept from now on."""
        names = list(volumes)

        def work(connection: sqlite3.Connection) -> None:
            connection.execute("INSERT INTO containers VALUES (?, ?, ?, ?, ?, ?)", row)
            connection.executemany(
                "INSERT OR IGNORE INTO volume_users (volume, container) VALUES (?, ?)",
                [(name, row.id) for name in names],
            )
            connection.executemany(
                "UPDATE volumes SET kept = 1 WHERE name = ?", [(name,) for name in names]
            )

        await self._db.run(work)

    async def save_state(self, container_id: str, state: bytes) -> None:
        """Replace the state document."""
        await self._db.run(
            lambda c: c.execute(
                "UPDATE containers SET state = ? WHERE id = ?", (state, container_id)
            )
        )

    async def save_config(self, container_id: str, config: bytes) -> None:
        """Replace the config document."""
        await self._db.run(
            lambda c: c.execute(
                "UPDATE containers SET config = ? WHERE id = ?", (config, container_id)
            )
        )

    async def rename(self, container_id: str, name: str) -> None:
        """Change the name."""
        await self._db.run(
            lambda c: c.execute("UPDATE containers SET name = ? WHERE id = ?", (name, container_id))
        )

    async def delete(self, container_id: str, *, volumes: bool) -> None:
        """Drop the row, and with it the container's use of volumes.

        With ``volumes`` the anonymous ones that nobody else uses are not to be kept either.
        """

        def work(connection: sqlite3.Connection) -> None:
            if volumes:
                connection.execute(
                    "UPDATE volumes SET kept = 0 WHERE anonymous AND name IN ("
                    " SELECT volume FROM volume_users GROUP BY volume"
                    " HAVING COUNT(*) = 1 AND MAX(container) = ?)",
                    (container_id,),
                )
            connection.execute("DELETE FROM containers WHERE id = ?", (container_id,))

        await self._db.run(work)
