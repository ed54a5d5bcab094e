"""The build cache: which results there are, and by which keys they are found.

Two kinds of key lead to a record:

* by *definition*: the operation and, down to the images and the files of contexts, the definitions
  of all it depends on. It is known before anything has run, so a whole build that did not change is
  found by the key of its last step;
* by *content*: the operation and the records of its inputs, and of files only their digests. It is
  known when the inputs are there; a step whose input was made anew but has the same files is found
  by it.

A record's snapshot is kept from collection (:meth:`roots`) as long as the record is there or a
build uses it. All is in memory; changes go to the database first. ``sizes`` measures the
directories that builds write to, by record.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import secrets
import time
from collections.abc import Iterable, Iterator
from typing import Any

import msgspec

from firkin.linux import sampler, treesize
from firkin.store import builds as rows
from firkin.store import db

log = logging.getLogger(__name__)

Record = rows.Record

REGULAR, LOCAL, MOUNT, GIT, HTTP = (
    "regular", "source.local", "exec.cachemount", "source.git.checkout", "source.http",
)  # fmt: skip


def key_of(value: Any) -> str:
    """The digest of anything that JSON can say, whatever the order of its members."""
    return hashlib.sha256(msgspec.json.encode(value, order="deterministic")).hexdigest()


class _Pin:
    """A snapshot that somebody holds, by its present name. Compared by identity."""

    def __init__(self, snapshot: str) -> None:
        self.snapshot = snapshot


class Cache:
    """See the module's description. Make one, then ``await load()``."""

    def __init__(self, database: db.Database) -> None:
        self._db = database
        self.records: dict[str, Record] = {}
        self._keys: dict[str, str] = {}
        self._pins: list[_Pin] = []
        self._touched: set[str] = set()
        self.naming = asyncio.Lock()
        self.sizes: sampler.Sampler[treesize.Usage] = sampler.Sampler()

    async def load(self) -> None:
        """Read everything, once. What lost its snapshot is forgotten: it would make builds fail."""
        if lost := await self._db.run(rows.sweep):
            log.warning("build cache: %d records without a snapshot are forgotten", lost)
        records, self._keys = await self._db.run(rows.every)
        self.records = {record.id: record for record in records}

    def roots(self) -> Iterator[str]:
        """Snapshots that must stay."""
        yield from [pin.snapshot for pin in self._pins]
        yield from [record.snapshot for record in self.records.values() if record.snapshot]

    @contextlib.contextmanager
    def pinned(self, snapshot: str) -> Iterator[None]:
        """Keep a snapshot that has no record (yet), such as a base image's."""
        pin = _Pin(snapshot)
        self._pins.append(pin)
        try:
            yield
        finally:
            self._pins.remove(pin)

    def in_use(self, record: Record) -> bool:
        """Whether a build that runs now holds the record's snapshot or its own id."""
        return any(pin.snapshot in (record.id, record.snapshot or "-") for pin in self._pins)

    def find(self, key: str) -> Record | None:
        """The record that a key leads to, noted as used."""
        record = self.records.get(self._keys.get(key, ""))
        if record is not None:
            self.touch(record)
        return record

    def touch(self, record: Record) -> None:
        record.used = time.time()
        record.uses += 1
        self._touched.add(record.id)

    async def add(self, record: Record, keys: Iterable[str]) -> Record:
        """Keep a new record under ``keys``, which may have led to others before."""
        wanted = list(keys)
        record.created = record.created or time.time()
        record.used = record.used or record.created
        await self._db.run(lambda c: rows.put(c, record, wanted))
        self.records[record.id] = record
        for key in wanted:
            self._keys[key] = record.id
        return record

    async def alias(self, key: str, record: Record) -> None:
        """Let one more key lead to a record."""
        if self._keys.get(key) != record.id:
            await self.add(record, [key])

    async def rename(self, old: str, new: str, diff_id: str) -> None:
        """Rename a committed snapshot everywhere. Hold ``naming``."""
        await self._db.run(lambda c: rows.rename(c, old, new, diff_id))
        for record in self.records.values():
            if record.snapshot == old:
                record.snapshot, record.diff_id = new, diff_id
        for pin in self._pins:
            if pin.snapshot == old:
                pin.snapshot = new

    async def remove(self, records: Iterable[Record]) -> None:
        """Forget records. Their snapshots are garbage then, unless others need them."""
        ids = [record.id for record in records]
        await self._db.run(lambda c: rows.remove(c, ids))
        for one in ids:
            self.records.pop(one, None)
        self._keys = {key: one for key, one in self._keys.items() if one in self.records}

    async def flush(self) -> None:
        """Write what was only noted: uses."""
        touched, self._touched = self._touched, set()
        changed = [self.records[one] for one in touched if one in self.records]

        def write(connection: Any) -> None:
            for record in changed:
                rows.touch(connection, record)

        if changed:
            await self._db.run(write)

    async def trace(self, place: str) -> dict[str, Any] | None:
        """What a step's key was made of the last time it was asked for."""
        found = await self._db.run(lambda c: rows.trace(c, place))
        return msgspec.json.decode(found) if found is not None else None

    async def put_traces(self, parts: dict[str, dict[str, Any]]) -> None:
        """Remember what the steps' keys were made of."""

        def write(connection: Any) -> None:
            for place, value in parts.items():
                rows.put_trace(connection, place, msgspec.json.encode(value))

        if parts:
            await self._db.run(write)


def new_id() -> str:
    """An id for a record."""
    return secrets.token_hex(16)
