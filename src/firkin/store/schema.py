"""The database's schema, whole, and how it moves from one version to the next.

::

    snapshots       chain or container key → directory of a snapshot, its parent and kind; of a
                    committed one the bytes of its files, and those that it takes on the disk (-1:
                    not measured yet)
    images          id (config digest) → manifest digest, chain id of the top layer, size
    image_refs      name ("docker.io/library/busybox:latest") → image id; target: digest of the
                    index or manifest that the name means, "" when not known
    pending         blob digest or chain id of a pull → until when it is kept without an image
    blob_sources    (blob digest, repository): where a registry has a blob, to mount it from there
    compressed      digest of a plain layer → digest and size of what it was compressed to in a push
    containers      id → name and the container's JSON documents (config, state)
    volumes         name → driver, labels, options, whether anonymous, whether to be kept: one that
                    is being made for a container, or removed with it, goes at the next start;
                    the name that its files still have while it is renamed
    secrets         id → name, labels and the encrypted value
    volume_users    (volume, container): who uses a volume; a volume in use is not removed
    networks        id → name, driver and the network's JSON document
    build_records   id → a result of a build step: its snapshot; or a context, or a cache mount
    build_keys      key of a build step → the record that is its result
    build_traces    place of a step in a Dockerfile → what its key was made of the last time
    endpoints       (network, container) → address, MAC, interface, netns, published ports

    The version is SQLite's user_version. Events are not stored.

Rows that count on each other change in one transaction. ``STEPS[n]`` takes version n to n + 1;
all steps that are missing run in one transaction at start. A database written by a newer Firkin
is refused untouched.
"""

from __future__ import annotations

import sqlite3

from firkin import errdefs

STEPS: list[str] = [
    """
    CREATE TABLE snapshots (
        dir INTEGER PRIMARY KEY AUTOINCREMENT,
        key TEXT NOT NULL UNIQUE,
        parent TEXT REFERENCES snapshots (key),
        kind TEXT NOT NULL CHECK (kind IN ('active', 'committed')),
        size INTEGER NOT NULL DEFAULT 0,
        created REAL NOT NULL
    );
    CREATE INDEX snapshots_parent ON snapshots (parent);
    CREATE TABLE images (
        id TEXT PRIMARY KEY,
        manifest TEXT NOT NULL,
        top TEXT NOT NULL,
        size INTEGER NOT NULL,
        parent TEXT NOT NULL DEFAULT '',
        config BLOB NOT NULL,
        created REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE image_refs (
        name TEXT PRIMARY KEY,
        image TEXT NOT NULL REFERENCES images (id),
        tagged REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX image_refs_image ON image_refs (image);
    CREATE TABLE containers (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        image TEXT NOT NULL,
        created INTEGER NOT NULL,
        config BLOB NOT NULL,
        state BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE INDEX containers_image ON containers (image);
    CREATE TABLE volumes (
        name TEXT PRIMARY KEY,
        driver TEXT NOT NULL,
        anonymous INTEGER NOT NULL,
        created REAL NOT NULL,
        labels BLOB NOT NULL,
        options BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE volume_users (
        volume TEXT NOT NULL REFERENCES volumes (name),
        container TEXT NOT NULL REFERENCES containers (id) ON DELETE CASCADE,
        PRIMARY KEY (volume, container)
    ) WITHOUT ROWID;
    CREATE INDEX volume_users_container ON volume_users (container);
    CREATE TABLE networks (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        driver TEXT NOT NULL,
        created REAL NOT NULL,
        config BLOB NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE endpoints (
        network TEXT NOT NULL REFERENCES networks (id) ON DELETE CASCADE,
        container TEXT NOT NULL,
        config BLOB NOT NULL,
        PRIMARY KEY (network, container)
    ) WITHOUT ROWID;
    """,
    "ALTER TABLE volumes ADD COLUMN kept INTEGER NOT NULL DEFAULT 1",
    """
    CREATE TABLE pending (
        key TEXT PRIMARY KEY,
        until REAL NOT NULL
    ) WITHOUT ROWID;
    CREATE TABLE blob_sources (
        digest TEXT NOT NULL,
        repository TEXT NOT NULL,
        seen REAL NOT NULL,
        PRIMARY KEY (digest, repository)
    ) WITHOUT ROWID;
    CREATE TABLE compressed (
        plain TEXT PRIMARY KEY,
        digest TEXT NOT NULL,
        size INTEGER NOT NULL
    ) WITHOUT ROWID;
    """,
    """
    CREATE TABLE build_records (
        id TEXT PRIMARY KEY,
        kind TEXT NOT NULL,
        snapshot TEXT NOT NULL,
        parent TEXT NOT NULL,
        description TEXT NOT NULL,
        created REAL NOT NULL,
        used REAL NOT NULL,
        uses INTEGER NOT NULL,
        size INTEGER NOT NULL,
        diff_id TEXT NOT NULL DEFAULT ''
    ) WITHOUT ROWID;
    CREATE TABLE build_keys (
        key TEXT PRIMARY KEY,
        record TEXT NOT NULL REFERENCES build_records (id) ON DELETE CASCADE
    ) WITHOUT ROWID;
    CREATE INDEX build_keys_record ON build_keys (record);
    CREATE TABLE build_traces (
        place TEXT PRIMARY KEY,
        used REAL NOT NULL,
        parts BLOB NOT NULL
    ) WITHOUT ROWID;
    """,
    "ALTER TABLE volumes ADD COLUMN previous TEXT",
    """
    CREATE TABLE secrets (
        id TEXT PRIMARY KEY,
        name TEXT NOT NULL UNIQUE,
        labels BLOB NOT NULL,
        created REAL NOT NULL,
        updated REAL NOT NULL,
        version INTEGER NOT NULL,
        sealed BLOB NOT NULL
    ) WITHOUT ROWID;
    """,
    "ALTER TABLE snapshots ADD COLUMN disk INTEGER NOT NULL DEFAULT -1",
    "ALTER TABLE image_refs ADD COLUMN target TEXT NOT NULL DEFAULT ''",
]


def migrate(connection: sqlite3.Connection) -> None:
    """Bring the database to the newest version, in one transaction.

    Raises ``System`` when the database was written by a newer Firkin.
    """
    if connection.execute("PRAGMA user_version").fetchone()[0] == len(STEPS):
        return
    connection.execute("BEGIN IMMEDIATE")
    try:
        version = connection.execute("PRAGMA user_version").fetchone()[0]
        if version > len(STEPS):
            raise errdefs.System(
                f"the database has schema version {version}, this Firkin knows up to {len(STEPS)}: "
                "run the newer Firkin again, or use another --data-root"
            )
        for step in STEPS[version:]:
            for statement in step.split(";"):
                if statement.strip():
                    connection.execute(statement)
        connection.execute(f"PRAGMA user_version = {len(STEPS)}")
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:  # a full disk has ended it already
            connection.execute("ROLLBACK")
        raise
