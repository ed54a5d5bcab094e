"""Manifests of repositories, what they refer to, and what refers to them."""

from __future__ import annotations

import sqlite3
import time
from typing import NamedTuple

from firkin.registry import errors, manifest
from firkin.registry.index import blobs, repositories


class Stored(NamedTuple):
    """A manifest as it was pushed."""

    digest: str
    media_type: str
    size: int
    subject: str
    artifact_type: str
    pushed: float
    content: bytes


_SELECT = (
    "SELECT m.digest, m.media_type, m.size, m.subject, m.artifact_type, m.pushed, b.content "
    "FROM manifests m JOIN bodies b ON b.digest = m.digest "
)


def unknown(name: str, reference: str) -> errors.Failure:
    """The error for a manifest that is not there."""
    return errors.Failure(
        "MANIFEST_UNKNOWN",
        f"repository {name} has no manifest {reference}",
        detail={"name": name, "reference": reference},
    )


def resolve(c: sqlite3.Connection, repository: int, reference: str) -> str | None:
    """The digest that a tag or a digest stands for, if the repository has it."""
    if ":" in reference:
        row = c.execute(
            "SELECT digest FROM manifests WHERE repository = ? AND digest = ?",
            (repository, reference),
        ).fetchone()
    else:
        row = c.execute(
            "SELECT digest FROM tags WHERE repository = ? AND name = ?", (repository, reference)
        ).fetchone()
    return row[0] if row else None


def find(c: sqlite3.Connection, name: str, reference: str) -> Stored | None:
    """A manifest by tag or digest."""
    repository = repositories.find(c, name)
    if repository is None:
        return None
    digest = resolve(c, repository, reference)
    if digest is None:
        return None
    row = c.execute(
        _SELECT + "WHERE m.repository = ? AND m.digest = ?", (repository, digest)
    ).fetchone()
    return Stored(*row)


def get(c: sqlite3.Connection, name: str, reference: str) -> Stored:
    """The same, or ``NAME_UNKNOWN`` or ``MANIFEST_UNKNOWN``."""
    repositories.require(c, name)
    found = find(c, name, reference)
    if found is None:
        raise unknown(name, reference)
    return found


def put(
    c: sqlite3.Connection, name: str, digest: str, parsed: manifest.Manifest, content: bytes,
    tags: tuple[str, ...], *, complete: bool = True,
) -> bool:  # fmt: skip
    """Store a manifest and let ``tags`` stand for it; tells whether the repository had it not.

    Everything it refers to has to be in the repository, with the size that it says, if it is to be
    ``complete``: in a cache it comes later.
    """
    repository = repositories.ensure(c, name)
    if complete:
        _check_refs(c, name, repository, parsed)
    now = time.time()
    fresh = resolve(c, repository, digest) is None
    if fresh:
        c.execute(
            "INSERT INTO bodies (digest, content) VALUES (?, ?) ON CONFLICT DO NOTHING",
            (digest, content),
        )
        c.execute(
            "INSERT INTO manifests VALUES (?, ?, ?, ?, ?, ?, ?)",
            (
                repository, digest, parsed.media_type, len(content), parsed.subject,
                parsed.artifact_type, now,
            ),
        )  # fmt: skip
        children = [(repository, digest, d.digest, "blob") for d in parsed.blobs]
        children += [(repository, digest, d.digest, "manifest") for d in parsed.manifests]
        c.executemany("INSERT INTO refs VALUES (?, ?, ?, ?) ON CONFLICT DO NOTHING", children)
    else:
        c.execute(
            "UPDATE manifests SET media_type = ?, pushed = ? WHERE repository = ? AND digest = ?",
            (parsed.media_type, now, repository, digest),
        )
    for tag in tags:
        c.execute(
            "INSERT INTO tags VALUES (?, ?, ?, ?) ON CONFLICT (repository, name) "
            "DO UPDATE SET digest = excluded.digest, updated = excluded.updated",
            (repository, tag, digest, now),
        )
    return fresh


def _check_refs(
    c: sqlite3.Connection, name: str, repository: int, parsed: manifest.Manifest
) -> None:
    for descriptor in parsed.blobs:
        link = blobs.find(c, name, descriptor.digest)
        if link is None and descriptor.urls:
            continue  # a layer that may not be distributed: clients fetch it from elsewhere
        if link is None:
            raise errors.Failure(
                "MANIFEST_BLOB_UNKNOWN",
                f"the manifest names blob {descriptor.digest}, which repository {name} does not "
                "have: push it first",
                detail={"digest": descriptor.digest},
            )
        _check_size(descriptor, link.size)
    for descriptor in parsed.manifests:
        row = c.execute(
            "SELECT size FROM manifests WHERE repository = ? AND digest = ?",
            (repository, descriptor.digest),
        ).fetchone()
        if row is None:
            raise errors.Failure(
                "MANIFEST_BLOB_UNKNOWN",
                f"the index names manifest {descriptor.digest}, which repository {name} does not "
                "have: push it first",
                detail={"digest": descriptor.digest},
            )
        _check_size(descriptor, int(row[0]))


def _check_size(descriptor: manifest.Descriptor, size: int) -> None:
    if descriptor.size != size:
        raise errors.Failure(
            "MANIFEST_INVALID",
            f"the manifest gives {descriptor.digest} {descriptor.size} bytes, it has {size}",
            detail={"digest": descriptor.digest, "size": size},
        )


def delete(c: sqlite3.Connection, name: str, digest: str) -> None:
    """Delete a manifest and the tags that stand for it. Refused while an index needs it."""
    repository = repositories.require(c, name)
    if resolve(c, repository, digest) is None:
        raise unknown(name, digest)
    row = c.execute(
        "SELECT parent FROM refs WHERE repository = ? AND child = ? AND kind = 'manifest' LIMIT 1",
        (repository, digest),
    ).fetchone()
    if row:
        raise errors.Failure(
            "DENIED",
            f"manifest {digest} is part of index {row[0]} of {name}: delete that index first",
            status=405,
        )
    drop(c, repository, digest)


def drop(c: sqlite3.Connection, repository: int, digest: str) -> None:
    """Delete a manifest that nothing refers to, with its tags, and its bytes if nobody has them."""
    c.execute("DELETE FROM manifests WHERE repository = ? AND digest = ?", (repository, digest))
    c.execute(
        "DELETE FROM bodies WHERE digest = ? AND NOT EXISTS "
        "(SELECT 1 FROM manifests WHERE digest = ?)",
        (digest, digest),
    )


def referrers(
    c: sqlite3.Connection, name: str, subject: str, artifact_type: str, last: str, limit: int
) -> list[Stored]:
    """Manifests after the digest ``last`` whose subject is this digest, known or not."""
    repository = repositories.find(c, name)
    rows = c.execute(
        _SELECT + "WHERE m.repository = ? AND m.subject = ? AND m.digest > ? "
        "AND (? = '' OR m.artifact_type = ?) ORDER BY m.digest LIMIT ?",
        (repository, subject, last, artifact_type, artifact_type, limit),
    )
    return [Stored(*row) for row in rows]
