"""The index's database: one thread that writes and one that reads, in each worker process.

All work is a function ``f(connection, ...)``, run in one transaction by ``await db.write(f, ...)``
or ``await db.read(f, ...)``. SQLite's write-ahead log lets readers see the last committed state
while a write is under way, in this process or in another one.

A commit is flushed to the disk before its caller goes on: what a client was told to exist survives
a power cut. Since a flush costs milliseconds, writes that wait together share one: each has its
savepoint, so that one that fails takes back only its own changes.
"""

from __future__ import annotations

import asyncio
import concurrent.futures
import functools
import os
import queue
import sqlite3
import threading
from collections.abc import Callable
from typing import Any, Concatenate, ParamSpec, TypeVar

from firkin import errdefs
from firkin.registry import schema, walindex

T = TypeVar("T")
P = ParamSpec("P")
Connection = sqlite3.Connection
Work = Callable[Concatenate[sqlite3.Connection, P], T]
_Item = tuple[bool, Callable[[sqlite3.Connection], Any], "concurrent.futures.Future[Any]"]

_BATCH = 64
_BUSY = 60_000  # milliseconds that a write waits for another process's


class Database:
    """The open index. Make one with :meth:`open`, in the process that uses it."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._queue: queue.SimpleQueue[_Item | None] = queue.SimpleQueue()
        self._reader = concurrent.futures.ThreadPoolExecutor(1, "firkin-index-read")
        self._read_connection = self._reader.submit(_connect, path).result()
        first = functools.partial(self._read_connection.execute, "PRAGMA user_version")
        self._reader.submit(lambda: first().fetchall()).result()
        walindex.allocate(path)
        self._writer = threading.Thread(target=self._run, name="firkin-index-write", daemon=True)
        self._writer.start()

    @classmethod
    def open(cls, path: str) -> Database:
        """Open, or create, the index at ``path`` and migrate it; ``System`` when it can't be."""
        try:
            os.makedirs(os.path.dirname(path), mode=0o700, exist_ok=True)
            connection = _connect(path)
            try:
                schema.migrate(connection)
            finally:
                connection.close()
            return cls(path)
        except (sqlite3.Error, OSError) as error:
            raise errdefs.System(f"cannot open the registry's index {path}: {error}") from error

    async def write(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work(connection, ...)`` in a transaction; it is on the disk when this returns.

        It completes even when the awaiting task is cancelled. Raises what ``work`` raises; errors
        of SQLite become ``System``.
        """
        bound = functools.partial(_call, work, args, kwargs)
        return await asyncio.wrap_future(self._submit(bound, durable=True))

    async def note(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """The same for what a power cut may undo: it survives the end of any process only."""
        bound = functools.partial(_call, work, args, kwargs)
        return await asyncio.wrap_future(self._submit(bound, durable=False))

    async def read(self, work: Work[P, T], *args: P.args, **kwargs: P.kwargs) -> T:
        """Run ``work(connection, ...)`` on the last committed state."""
        bound = functools.partial(work, self._read_connection, *args, **kwargs)
        return await asyncio.get_running_loop().run_in_executor(self._reader, self._read, bound)

    def close(self) -> None:
        """Finish what is queued and close the files."""
        self._queue.put(None)
        self._writer.join()
        self._reader.submit(self._read_connection.close).result()
        self._reader.shutdown()

    def _submit(
        self, work: Callable[[sqlite3.Connection], T], *, durable: bool
    ) -> concurrent.futures.Future[T]:
        future: concurrent.futures.Future[T] = concurrent.futures.Future()
        future.set_running_or_notify_cancel()  # from now on a cancelled waiter changes nothing
        self._queue.put((durable, work, future))
        return future

    def _read(self, work: Callable[[], T]) -> T:
        connection = self._read_connection
        try:
            connection.execute("BEGIN")
            try:
                return work()
            finally:
                connection.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise errdefs.System(f"the registry's index failed: {error}") from error

    def _run(self) -> None:
        connection = _connect(self._path)
        while (first := self._queue.get()) is not None:
            batch = [first]
            ended = False
            while len(batch) < _BATCH and not self._queue.empty():
                item = self._queue.get()
                if item is None:
                    ended = True
                    break
                batch.append(item)
            _commit(connection, batch)
            if ended:
                break
        connection.close()


def _call(work: Callable[..., T], args: Any, kwargs: Any, connection: sqlite3.Connection) -> T:
    return work(connection, *args, **kwargs)


def _commit(connection: sqlite3.Connection, batch: list[_Item]) -> None:
    outcomes: list[tuple[concurrent.futures.Future[Any], Any, BaseException | None]] = []
    try:
        durable = any(item[0] for item in batch)
        connection.execute(f"PRAGMA synchronous = {'FULL' if durable else 'NORMAL'}")
        connection.execute("BEGIN IMMEDIATE")
        for _, work, future in batch:
            connection.execute("SAVEPOINT one")
            try:
                outcomes.append((future, work(connection), None))
                connection.execute("RELEASE one")
            except sqlite3.OperationalError:  # the disk is full, or worse: nothing of it holds
                raise
            except Exception as error:
                connection.execute("ROLLBACK TO one")
                connection.execute("RELEASE one")
                outcomes.append((future, None, _told(error)))
        connection.execute("COMMIT")
    except Exception as error:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        outcomes = [(future, None, _told(error)) for _, _, future in batch]
    for future, result, failure in outcomes:
        if failure is not None:
            future.set_exception(failure)
        else:
            future.set_result(result)


def _told(error: Exception) -> Exception:
    if not isinstance(error, sqlite3.Error):
        return error
    told: errdefs.FirkinError
    if getattr(error, "sqlite_errorcode", 0) == sqlite3.SQLITE_FULL:
        told = errdefs.Unavailable("the registry's disk is full: free some space and try again")
    else:
        told = errdefs.System(f"the registry's index failed: {error}")
    told.__cause__ = error
    return told


def _connect(path: str) -> sqlite3.Connection:
    old = os.umask(0o077)
    try:
        connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    finally:
        os.umask(old)
    connection.execute(f"PRAGMA busy_timeout = {_BUSY}")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute("PRAGMA foreign_keys = ON")
    return connection
