"""The index's schema, and how it came about.

::

    repositories     id, name, created
    blobs            digest, size, created                 what the storage has, verified
    links            repository, digest, touched           which repository may read which blob
    bodies           digest, content                       manifests, byte for byte
    manifests        repository, digest, media_type, size, subject, artifact_type, pushed
    refs             repository, parent, child, kind       what a manifest names: "blob", "manifest"
    tags             repository, name, digest, updated
    uploads          id, repository, algorithm, started    the bytes are in the file of this id
    users            name, password, admin, created        a bcrypt hash
    rights           user, pattern, actions                of a user: "team/*", "pull,push"
    grants           id, user, created, used               refresh tokens that were given out
    failures         key, count, until                     wrong passwords; slows down guessing
    deliveries       id, endpoint, payload, due, tries     webhooks on their way
    upstream         repository, reference, checked        when a cached name was last compared

Times are seconds since the epoch. ``links.touched`` is when a client was last told that the blob is
there: from then on it has the grace period to push a manifest that names it.

``STEPS`` is append-only. Step N brings a database of version N to N + 1, in one transaction.
"""

from __future__ import annotations

import sqlite3

from firkin import errdefs

STEPS: tuple[str, ...] = (
    """
    CREATE TABLE repositories (
        id INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, created REAL NOT NULL
    );
    CREATE TABLE blobs (
        digest TEXT PRIMARY KEY, size INTEGER NOT NULL, created REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE links (
        repository INTEGER NOT NULL REFERENCES repositories (id),
        digest TEXT NOT NULL REFERENCES blobs (digest),
        touched REAL NOT NULL,
        PRIMARY KEY (repository, digest)
    ) WITHOUT ROWID;
    CREATE INDEX links_digest ON links (digest);
    CREATE TABLE bodies (digest TEXT PRIMARY KEY, content BLOB NOT NULL);
    CREATE TABLE manifests (
        repository INTEGER NOT NULL REFERENCES repositories (id),
        digest TEXT NOT NULL REFERENCES bodies (digest),
        media_type TEXT NOT NULL, size INTEGER NOT NULL,
        subject TEXT NOT NULL, artifact_type TEXT NOT NULL, pushed REAL NOT NULL,
        PRIMARY KEY (repository, digest)
    ) WITHOUT ROWID;
    CREATE INDEX manifests_digest ON manifests (digest);
    CREATE INDEX manifests_subject ON manifests (repository, subject) WHERE subject <> '';
    CREATE TABLE refs (
        repository INTEGER NOT NULL, parent TEXT NOT NULL, child TEXT NOT NULL, kind TEXT NOT NULL,
        PRIMARY KEY (repository, parent, child, kind),
        FOREIGN KEY (repository, parent) REFERENCES manifests (repository, digest)
            ON DELETE CASCADE
    ) WITHOUT ROWID;
    CREATE INDEX refs_child ON refs (repository, child, kind);
    CREATE TABLE tags (
        repository INTEGER NOT NULL, name TEXT NOT NULL, digest TEXT NOT NULL,
        updated REAL NOT NULL,
        PRIMARY KEY (repository, name),
        FOREIGN KEY (repository, digest) REFERENCES manifests (repository, digest)
            ON DELETE CASCADE
    ) WITHOUT ROWID;
    CREATE INDEX tags_digest ON tags (repository, digest);
    CREATE TABLE uploads (
        id TEXT PRIMARY KEY, repository TEXT NOT NULL, algorithm TEXT NOT NULL,
        started REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE users (
        name TEXT PRIMARY KEY, password TEXT NOT NULL, admin INTEGER NOT NULL, created REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE rights (
        user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
        pattern TEXT NOT NULL, actions TEXT NOT NULL,
        PRIMARY KEY (user, pattern)
    ) WITHOUT ROWID;
    CREATE TABLE grants (
        id TEXT PRIMARY KEY,
        user TEXT NOT NULL REFERENCES users (name) ON DELETE CASCADE,
        created REAL NOT NULL, used REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE failures (
        key TEXT PRIMARY KEY, count INTEGER NOT NULL, until REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE deliveries (
        id INTEGER PRIMARY KEY AUTOINCREMENT, endpoint TEXT NOT NULL, payload BLOB NOT NULL,
        due REAL NOT NULL, tries INTEGER NOT NULL
    );
    CREATE INDEX deliveries_due ON deliveries (due);
    CREATE TABLE upstream (
        repository TEXT NOT NULL, reference TEXT NOT NULL, checked REAL NOT NULL,
        PRIMARY KEY (repository, reference)
    ) WITHOUT ROWID;
    """,
)


def migrate(connection: sqlite3.Connection) -> None:
    """Bring a database to the newest version; refuses one of a newer Firkin with ``System``."""
    if connection.execute("PRAGMA user_version").fetchone()[0] == len(STEPS):
        return  # without a write, for which a full disk may have no room
    connection.execute("BEGIN IMMEDIATE")
    try:
        (version,) = connection.execute("PRAGMA user_version").fetchone()
        if version > len(STEPS):
            raise errdefs.System(
                f"the registry's index has version {version}, this Firkin knows {len(STEPS)}: "
                "start a newer Firkin"
            )
        for step in STEPS[version:]:
            for statement in step.split(";"):
                connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(STEPS)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # SQLite ends it itself when the disk is full
            connection.execute("ROLLBACK")
        raise
