"""The database: one connection, owned by one thread, used through transactions.

All work on the database is a function ``f(connection)`` that runs inside one transaction on the
database's own thread: ``await db.run(f)``. It commits when ``f`` returns and rolls back when it
raises, so a caller never sees half a change, and a process killed in between leaves none (WAL).

Commits are not flushed to the disk one by one (``synchronous = NORMAL``): they survive the end of
any process, and a power cut loses the last ones at most, never the consistency. What those said
is rebuilt at start from what is really there.

A full disk must not keep anyone from stopping and removing what fills it. So the write-ahead log
has its blocks from the beginning, as many as it needs between two checkpoints, and while no engine
runs a file beside the database holds their place. The log's index is in memory, since the database
is this process's alone: as a file that is mapped it could end the process on a full disk (SIGBUS).
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import contextlib
import os
import sqlite3
from collections.abc import Callable
from typing import TypeVar

from firkin import errdefs
from firkin.store import schema

T = TypeVar("T")

_LOG_SIZE = 1000 * (4096 + 24) + 256 * 1024
"""Bytes: SQLite makes a checkpoint after 1000 pages; a frame of the log is a page and a header."""


class Database:
    """An open database. Make one with :meth:`open`."""

    def __init__(
        self, path: str, connection: sqlite3.Connection, thread: concurrent.futures.Executor
    ) -> None:
        self._path = path
        self._connection = connection
        self._thread = thread

    @classmethod
    def open(cls, path: str) -> Database:
        """Open, or create, the database at ``path`` and migrate it.

        Raises ``System`` when the file is not a usable database or belongs to a newer Firkin.
        """
        thread = concurrent.futures.ThreadPoolExecutor(1, thread_name_prefix="firkin-db")
        try:
            return cls(path, thread.submit(_connect, path).result(), thread)
        except sqlite3.Error as error:
            thread.shutdown()
            raise errdefs.System(f"cannot open the database {path}: {error}") from error
        except BaseException:
            thread.shutdown()
            raise

    def _transact(self, work: Callable[[sqlite3.Connection], T]) -> T:
        connection = self._connection
        try:
            connection.execute("BEGIN IMMEDIATE")
            try:
                result = work(connection)
            except BaseException:
                if connection.in_transaction:  # SQLite ends it itself when the disk is full
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")
        except sqlite3.Error as error:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
            if isinstance(error, sqlite3.IntegrityError):
                raise
            raise errdefs.System(f"the database failed: {error}") from error
        return result

    async def run(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """Run ``work(connection)`` in one transaction and return what it returns.

        The transaction completes even when the awaiting task is cancelled meanwhile. Raises what
        ``work`` raises; ``sqlite3.IntegrityError`` passes through, other database errors become
        ``System``.
        """
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._transact, work)

    def run_sync(self, work: Callable[[sqlite3.Connection], T]) -> T:
        """The same from a worker thread, or before the event loop runs."""
        return self._thread.submit(self._transact, work).result()

    def close(self) -> None:
        """Finish what is queued and close the file."""
        self._thread.submit(self._connection.close).result()
        self._thread.shutdown()
        _reserve(self._path + "-reserve")


def _connect(path: str) -> sqlite3.Connection:
    old = os.umask(0o077)
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=True)
    finally:
        os.umask(old)
    with contextlib.suppress(FileNotFoundError):
        os.unlink(path + "-reserve")
    connection.execute("PRAGMA locking_mode = EXCLUSIVE")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("PRAGMA busy_timeout = 5000")
    schema.migrate(connection)
    _reserve(path + "-wal")
    return connection


def _reserve(path: str) -> None:
    """Give a file the log's size in blocks, as far as there are any. What it holds stays.

    SQLite takes zeros behind the log's last frame for the end of the log.
    """
    with contextlib.suppress(OSError):
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        try:
            os.posix_fallocate(fd, 0, _LOG_SIZE)
        finally:
            os.close(fd)
