"""Rows of the tables ``images`` and ``image_refs``. Functions run inside a caller's transaction."""

from __future__ import annotations

import sqlite3
import time
from typing import NamedTuple


class Row(NamedTuple):
    """One image; ``config`` is the JSON text whose digest is the id."""

    id: str
    manifest: str
    top: str
    size: int
    parent: str
    config: bytes
    created: float


class Ref(NamedTuple):
    """A canonical name, the id of the image that has it, since when, and the digest of the index or
    manifest that the name means ("" when that is not known)."""

    name: str
    image: str
    tagged: float
    target: str = ""


def every(connection: sqlite3.Connection) -> tuple[list[Row], list[Ref]]:
    """All images, the oldest first, and all names."""
    rows = connection.execute(
        "SELECT id, manifest, top, size, parent, config, created FROM images ORDER BY created, id"
    )
    refs = connection.execute("SELECT name, image, tagged, target FROM image_refs ORDER BY name")
    return [Row(*row) for row in rows], [Ref(*ref) for ref in refs.fetchall()]


def put(connection: sqlite3.Connection, row: Row) -> None:
    """Insert an image, or replace what was stored of the same one."""
    connection.execute(
        "INSERT INTO images (id, manifest, top, size, parent, config, created) "
        "VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO UPDATE SET "
        "manifest = excluded.manifest, parent = CASE parent WHEN '' THEN excluded.parent "
        "ELSE parent END",
        row,
    )


def tag(connection: sqlite3.Connection, name: str, image: str, target: str = "") -> Ref:
    """Give ``name`` to ``image``, taking it from any other."""
    ref = Ref(name, image, time.time(), target)
    connection.execute(
        "INSERT INTO image_refs (name, image, tagged, target) VALUES (?, ?, ?, ?) "
        "ON CONFLICT (name) DO UPDATE SET image = excluded.image, tagged = excluded.tagged, "
        "target = excluded.target",
        ref,
    )
    return ref


def untag(connection: sqlite3.Connection, name: str) -> None:
    connection.execute("DELETE FROM image_refs WHERE name = ?", (name,))


def remove(connection: sqlite3.Connection, image: str) -> None:
    """Delete an image with all its names; children lose their parent's mention."""
    connection.execute("DELETE FROM image_refs WHERE image = ?", (image,))
    connection.execute("UPDATE images SET parent = '' WHERE parent = ?", (image,))
    connection.execute("DELETE FROM images WHERE id = ?", (image,))
