"""Volumes by name: creation, use counts, removal."""

from __future__ import annotations

import asyncio
import datetime
import os
import re
import secrets
import sqlite3
import time
from collections.abc import Iterable, Mapping

import msgspec

from firkin import errdefs
from firkin.linux import failures
from firkin.store import db
from firkin.types import volume
from firkin.volumes import driver as drivers

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,254}")


class Record(msgspec.Struct, frozen=True, kw_only=True):
    """A volume as the database knows it; ``created`` in seconds since the epoch."""

    name: str
    driver: str
    anonymous: bool
    created: float
    labels: dict[str, str]
    options: dict[str, str]


class Service:
    """All volumes of this engine."""

    def __init__(
        self,
        database: db.Database,
        installed: Iterable[drivers.Driver],
        broken: Mapping[str, str] | None = None,
    ) -> None:
        """``broken`` tells why drivers that are installed can't be used, by name."""
        self._db = database
        self._broken = dict(broken or {})
        self._drivers = {driver.name: driver for driver in installed}
        self._records: dict[str, Record] = {}
        self._users: dict[str, set[str]] = {}
        self._mounted: dict[str, set[str]] = {}
        self._lock = asyncio.Lock()
        self._mounting = asyncio.Lock()

    async def start(self) -> None:
        """Read the database and drop what is on the disk without being in it.

        Volumes whose container was being created or removed by an engine that was killed go too.
        """

        def read(
            connection: sqlite3.Connection,
        ) -> tuple[list[Record], list[tuple[str, str]]]:
            connection.execute(
                "DELETE FROM volumes WHERE NOT kept AND name NOT IN"
                " (SELECT volume FROM volume_users)"
            )
            rows = connection.execute(
                "SELECT name, driver, anonymous, created, labels, options FROM volumes"
            )
            records = [
                Record(
                    name=name,
                    driver=driver,
                    anonymous=bool(anonymous),
                    created=created,
                    labels=msgspec.json.decode(labels),
                    options=msgspec.json.decode(options),
                )
                for name, driver, anonymous, created, labels, options in rows
            ]
            users = connection.execute("SELECT volume, container FROM volume_users").fetchall()
            return records, users

        records, users = await self._db.run(read)
        self._records = {record.name: record for record in records}
        for name, container in users:
            self._users.setdefault(name, set()).add(container)
        for kind, driver in self._drivers.items():
            known = {r.name for r in records if r.driver == kind}
            if not driver.exclusive:
                continue
            for name in await asyncio.to_thread(driver.list):
                if name not in known:
                    await asyncio.to_thread(driver.remove, name)

    def names_of_drivers(self) -> list[str]:
        """The drivers there are."""
        return sorted(self._drivers)

    def _driver(self, name: str) -> drivers.Driver:
        try:
            return self._drivers[name or "local"]
        except KeyError:
            if name in self._broken:
                raise errdefs.Unavailable(f"volume driver {name}: {self._broken[name]}") from None
            have = ", ".join(sorted(self._drivers))
            raise errdefs.NotFound(
                f"no volume driver is named {name!r}; there are: {have}"
            ) from None

    def get(self, name: str) -> Record:
        """The volume ``name``. Raises ``NotFound``."""
        try:
            return self._records[name]
        except KeyError:
            raise errdefs.NotFound(f"get {name}: no such volume") from None

    def all(self) -> list[Record]:
        """Every volume, by name."""
        return [self._records[name] for name in sorted(self._records)]

    def users(self, name: str) -> set[str]:
        """Ids of the containers that use the volume, running or not."""
        return set(self._users.get(name, ()))

    def describe(self, record: Record) -> volume.Volume:
        """The volume as the Engine API shows it."""
        created = datetime.datetime.fromtimestamp(int(record.created), datetime.UTC)
        return volume.Volume(
            name=record.name,
            driver=record.driver,
            created_at=created.isoformat().replace("+00:00", "Z"),
            labels=record.labels or None,
            mountpoint=self._driver(record.driver).path(record.name),
            options=record.options or None,
        )

    async def create(
        self,
        name: str,
        driver: str = "",
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        *,
        user: str = "",
    ) -> tuple[Record, bool]:
        """Make a volume, or find the one of that name; tells whether it is new.

        ``user`` is the id of the container that is being made and uses the volume from now on; a
        new one is gone after a restart, unless that container's row is written by then.
        Without a name an anonymous one is made. Raises ``InvalidParameter`` for a bad name and
        ``Conflict`` when the name belongs to another driver.
        """
        anonymous = not name
        if name and not NAME.fullmatch(name):
            raise errdefs.InvalidParameter(
                f"create {name}: {name!r} includes invalid characters for a local volume name, "
                'only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed (at least 2 characters). If you '
                "intended to pass a host directory, use absolute path"
            )
        name = name or secrets.token_hex(32)
        async with self._lock:
            if (existing := self._records.get(name)) is not None:
                if driver and driver != existing.driver:
                    raise errdefs.Conflict(
                        f"a volume named {name} already exists with the {existing.driver} driver: "
                        "choose a new name"
                    )
                if user:
                    self._users.setdefault(name, set()).add(user)
                return existing, False
            chosen = self._driver(driver)
            record = Record(
                name=name,
                driver=chosen.name,
                anonymous=anonymous,
                created=time.time(),
                labels={
                    **(labels or {}),
                    **({"com.docker.volume.anonymous": ""} if anonymous else {}),
                },
                options=dict(options or {}),
            )
            with failures.told(f"create volume {name}"):
                await asyncio.to_thread(chosen.create, name, record.options)

            def insert(connection: sqlite3.Connection) -> None:
                connection.execute(
                    "INSERT INTO volumes (name, driver, anonymous, created, labels, options, kept)"
                    " VALUES (?, ?, ?, ?, ?, ?, ?)",
                    (
                        name,
                        record.driver,
                        anonymous,
                        record.created,
                        msgspec.json.encode(record.labels),
                        msgspec.json.encode(record.options),
                        not user,
                    ),
                )

            try:
                await self._db.run(insert)
            except BaseException:
                await asyncio.to_thread(chosen.remove, name)
                raise
            self._records[name] = record
            if user:
                self._users.setdefault(name, set()).add(user)
            return record, True

    def forget_user(self, container: str) -> list[str]:
        """``container`` is gone; returns the names of the volumes that it used."""
        used = []
        for name, users in list(self._users.items()):
            if container in users:
                users.discard(container)
                used.append(name)
                if not users:
                    del self._users[name]
        return used

    async def mount(self, name: str, user: str) -> str:
        """The volume's directory, ready for use until ``user`` has called :meth:`unmount`."""
        record = self.get(name)
        driver = self._driver(record.driver)
        async with self._mounting:
            users = self._mounted.setdefault(name, set())
            if not users:
                with failures.told(f"mount volume {name}"):
                    await asyncio.to_thread(driver.mount, name, record.options)
            users.add(user)
        return driver.path(name)

    async def unmount(self, name: str, user: str) -> None:
        """``user`` needs the volume no more. Idempotent."""
        record = self.get(name)
        async with self._mounting:
            users = self._mounted.get(name, set())
            users.discard(user)
            if name in self._mounted and not users:
                del self._mounted[name]
                with failures.told(f"unmount volume {name}"):
                    await asyncio.to_thread(self._driver(record.driver).unmount, name)

    def adopt(self, name: str, user: str) -> None:
        """``user`` has had the volume mounted since before this engine was started."""
        if name in self._records:
            self._mounted.setdefault(name, set()).add(user)

    def mountpoint(self, name: str) -> str:
        """The volume's directory on the host."""
        return self._driver(self.get(name).driver).path(name)

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Delete a volume.

        Raises ``NotFound`` (unless ``force``) and ``Conflict`` while a container uses it.
        """
        async with self._lock:
            record = self._records.get(name)
            if record is None:
                if force:
                    return
                raise errdefs.NotFound(f"get {name}: no such volume")
            if users := self._users.get(name):
                raise errdefs.Conflict(
                    f"remove {name}: volume is in use - [{', '.join(sorted(users))}]"
                )
            await self._db.run(
                lambda connection: connection.execute("DELETE FROM volumes WHERE name = ?", (name,))
            )
            del self._records[name]
            await asyncio.to_thread(self._driver(record.driver).remove, name)

    async def size(self, name: str) -> int:
        """Bytes on disk below the volume's directory."""
        return await asyncio.to_thread(_tree_size, self.mountpoint(name))


def _tree_size(root: str) -> int:
    total = 0
    seen: set[tuple[int, int]] = set()
    stack = [root]
    while stack:
        try:
            with os.scandir(stack.pop()) as entries:
                for entry in entries:
                    status = entry.stat(follow_symlinks=False)
                    if entry.is_dir(follow_symlinks=False):
                        stack.append(entry.path)
                    elif status.st_nlink > 1:
                        if (status.st_dev, status.st_ino) in seen:
                            continue
                        seen.add((status.st_dev, status.st_ino))
                    total += status.st_size
        except (FileNotFoundError, NotADirectoryError):
            continue
    return total
