"""Blobs and links: what the storage has, and through which repository it may be read."""

from __future__ import annotations

import sqlite3
import time
from typing import NamedTuple

from firkin.registry import errors
from firkin.registry.index import repositories


class Link(NamedTuple):
    """A blob as a repository sees it."""

    digest: str
    size: int
    touched: float


def known(c: sqlite3.Connection, digest: str) -> int | None:
    """The size of a blob that the storage has, whoever may read it."""
    row = c.execute("SELECT size FROM blobs WHERE digest = ?", (digest,)).fetchone()
    return int(row[0]) if row else None


def find(c: sqlite3.Connection, name: str, digest: str) -> Link | None:
    """A blob that may be read through the repository."""
    row = c.execute(
        "SELECT b.size, l.touched FROM repositories r JOIN links l ON l.repository = r.id "
        "JOIN blobs b ON b.digest = l.digest WHERE r.name = ? AND l.digest = ?",
        (name, digest),
    ).fetchone()
    return Link(digest, int(row[0]), float(row[1])) if row else None


def unknown(name: str, digest: str) -> errors.Failure:
    """The error for a blob that is not there."""
    return errors.Failure(
        "BLOB_UNKNOWN", f"repository {name} has no blob {digest}", detail={"digest": digest}
    )


def add(c: sqlite3.Connection, digest: str, size: int) -> None:
    """The storage has this blob, verified."""
    c.execute(
        "INSERT INTO blobs (digest, size, created) VALUES (?, ?, ?) ON CONFLICT DO NOTHING",
        (digest, size, time.time()),
    )


def link(c: sqlite3.Connection, name: str, digest: str) -> None:
    """Let the repository read a known blob, and count its grace period from now."""
    c.execute(
        "INSERT INTO links (repository, digest, touched) VALUES (?, ?, ?) "
        "ON CONFLICT (repository, digest) DO UPDATE SET touched = excluded.touched",
        (repositories.ensure(c, name), digest, time.time()),
    )


def mount(c: sqlite3.Connection, name: str, digest: str, source: str) -> bool:
    """Link what another repository links; tells whether it did."""
    if find(c, source, digest) is None:
        return False
    link(c, name, digest)
    return True


def unlink(c: sqlite3.Connection, name: str, digest: str) -> None:
    """Take a blob from a repository. Refused while one of its manifests needs the blob."""
    if find(c, name, digest) is None:
        raise unknown(name, digest)
    repository = repositories.require(c, name)
    row = c.execute(
        "SELECT parent FROM refs WHERE repository = ? AND child = ? AND kind = 'blob' LIMIT 1",
        (repository, digest),
    ).fetchone()
    if row:
        raise errors.Failure(
            "DENIED",
            f"blob {digest} is part of manifest {row[0]} of {name}: delete that manifest first",
            status=405,
        )
    c.execute("DELETE FROM links WHERE repository = ? AND digest = ?", (repository, digest))


def forget(c: sqlite3.Connection, digest: str) -> bool:
    """Take a blob that no repository links out of the index; tells whether it did."""
    return bool(
        c.execute(
            "DELETE FROM blobs WHERE digest = ? AND NOT EXISTS "
            "(SELECT 1 FROM links WHERE digest = ?)",
            (digest, digest),
        ).rowcount
    )


def condemn(c: sqlite3.Connection, digest: str) -> None:
    """Take a damaged blob out of the index, whoever links it: it is as if never pushed."""
    c.execute("DELETE FROM links WHERE digest = ?", (digest,))
    c.execute("DELETE FROM blobs WHERE digest = ?", (digest,))


def page(c: sqlite3.Connection, last: str, limit: int) -> list[tuple[str, int]]:
    """Blobs with their sizes after the digest ``last``, in order."""
    return c.execute(
        "SELECT digest, size FROM blobs WHERE digest > ? ORDER BY digest LIMIT ?", (last, limit)
    ).fetchall()
