"""Volumes by name: creation, use counts, removal.

Two things keep a volume: containers that were created with it (``users``, kept in the database
together with the container's row) and whoever has it mounted at the moment (``mount`` and
``unmount``, one call of the driver for all of them). A volume without users and mounts can go.
"""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import functools
import logging
import re
import secrets
import time
from collections.abc import AsyncIterator, Iterable, Mapping

import msgspec

from firkin import errdefs
from firkin.linux import failures, sampler, treesize
from firkin.plugins import plugin as plugins
from firkin.store import db
from firkin.types import volume
from firkin.volumes import driver as drivers
from firkin.volumes import plugin, records
from firkin.volumes.records import Record

__all__ = ["NAME", "Record", "Service"]

log = logging.getLogger(__name__)

NAME = re.compile(r"[a-zA-Z0-9][a-zA-Z0-9_.-]{1,254}")
ANONYMOUS = "com.docker.volume.anonymous"


def check_name(name: str) -> str:
    """A name that a user chose. Raises ``InvalidParameter``."""
    if not NAME.fullmatch(name):
        raise errdefs.InvalidParameter(
            f"create {name}: {name!r} includes invalid characters for a local volume name, "
            'only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed (at least 2 characters). If you '
            "intended to pass a host directory, use absolute path"
        )
    return name


class Service:
    """All volumes of this engine."""

    def __init__(
        self,
        database: db.Database,
        installed: Iterable[drivers.Driver],
        broken: Mapping[str, str] | None = None,
        found: plugins.Registry | None = None,
    ) -> None:
        """``broken`` tells why drivers that are installed can't be used, by name; ``found`` has the
        plug-ins that speak the volume plug-in protocol."""
        self._db = database
        self._broken = dict(broken or {})
        self._drivers = {driver.name: driver for driver in installed}
        self._plugins = found
        self._records: dict[str, Record] = {}
        self._users: dict[str, set[str]] = {}
        self._mounted: dict[str, set[str]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self.sizes: sampler.Sampler[int] = sampler.Sampler()

    def _lock(self, name: str) -> asyncio.Lock:
        """Held by whoever changes the volume; a slow driver delays nobody but its own users."""
        return self._locks.setdefault(name, asyncio.Lock())

    async def start(self) -> None:
        """Read the database and drop what is on the disk without being in it."""
        found, users = await self._db.run(records.load)
        self._records = {record.name: record for record in found}
        for name, container in users:
            self._users.setdefault(name, set()).add(container)
        for record in found:
            if record.previous:
                await self._move(record.driver, record.previous, record.name)
        for kind, driver in self._drivers.items():
            if not driver.exclusive:
                continue
            known = {r.name for r in found if r.driver == kind}
            for name in await asyncio.to_thread(driver.list):
                if name not in known:
                    try:
                        await asyncio.to_thread(driver.remove, name)
                    except (errdefs.FirkinError, OSError) as error:
                        log.warning("left over from volume %s: %s", name, error)

    def names_of_drivers(self) -> list[str]:
        """The drivers there are, plug-ins that have been used among them."""
        return sorted(self._drivers)

    async def _driver(self, name: str) -> drivers.Driver:
        """Raises ``NotFound``, ``Unavailable`` or what the plug-in's handshake says."""
        name = name or "local"
        if (known := self._drivers.get(name)) is not None:
            if isinstance(known, plugin.PluginDriver) and self._plugins is not None:
                await known.refresh(self._plugins)
            return known
        if name in self._broken:
            raise errdefs.Unavailable(f"volume driver {name}: {self._broken[name]}")
        if self._plugins is not None:
            with contextlib.suppress(errdefs.NotFound):
                made = await plugin.PluginDriver.connect(self._plugins, name)
                self._drivers[name] = made
                return made
        have = ", ".join(sorted(self._drivers))
        raise errdefs.NotFound(
            f'error looking up volume plugin {name}: plugin "{name}" not found: there are {have}'
        )

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
        driver = self._drivers.get(record.driver)
        return volume.Volume(
            name=record.name,
            driver=record.driver,
            created_at=created.isoformat().replace("+00:00", "Z"),
            labels=record.labels or None,
            mountpoint=driver.path(record.name) if driver is not None else "",
            options=record.options or None,
            scope=driver.scope if driver is not None else "local",
        )

    async def inspect(self, name: str) -> volume.Volume:
        """The same, with what a plug-in itself tells about the volume."""
        record = self.get(name)
        driver = await self._driver(record.driver)
        if not isinstance(driver, plugin.PluginDriver):
            return self.describe(record)
        found = await asyncio.to_thread(driver.get, name)
        shown = self.describe(record)
        shown.mountpoint = found.mountpoint
        shown.status = found.status or msgspec.UNSET
        return shown

    async def create(
        self,
        name: str,
        driver: str = "",
        options: Mapping[str, str] | None = None,
        labels: Mapping[str, str] | None = None,
        *,
        user: str = "",
        kept: bool = True,
    ) -> tuple[Record, bool]:
        """Make a volume, or find the one of that name; tells whether it is new.

        ``user`` is the id of the container that is being made and uses the volume from now on; a
        new one is gone after a restart, unless that container's row is written by then, and so is
        one that is not ``kept``.
        Without a name an anonymous one is made. Raises ``InvalidParameter`` for a bad name and
        ``Conflict`` when the name belongs to another driver.
        """
        anonymous = not name
        name = check_name(name) if name else secrets.token_hex(32)
        async with self._lock(name):
            if (existing := self._records.get(name)) is not None:
                if driver and driver != existing.driver:
                    raise errdefs.Conflict(
                        f"a volume named {name} already exists with the {existing.driver} driver: "
                        "choose a new name"
                    )
                if user:
                    self._users.setdefault(name, set()).add(user)
                return existing, False
            chosen = await self._driver(driver)
            record = Record(
                name=name,
                driver=chosen.name,
                anonymous=anonymous,
                created=time.time(),
                labels={**(labels or {}), **({ANONYMOUS: ""} if anonymous else {})},
                options=dict(options or {}),
            )
            with failures.told(f"create volume {name}"):
                await asyncio.to_thread(chosen.create, name, record.options)
            try:
                await self._db.run(lambda c: records.insert(c, record, kept=kept and not user))
            except BaseException:
                await asyncio.to_thread(chosen.remove, name)
                raise
            self._records[name] = record
            if user:
                self._users.setdefault(name, set()).add(user)
            return record, True

    async def keep(self, name: str) -> None:
        """A volume that was made with ``kept=False`` is complete."""
        await self._db.run(lambda c: records.keep(c, name))

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
        """The volume's directory, ready for use until ``user`` has called :meth:`unmount`.

        Raises ``NotFound``, and what the driver says.
        """
        record = self.get(name)
        driver = await self._driver(record.driver)
        async with self._lock(name):
            self.get(name)
            users = self._mounted.setdefault(name, set())
            if not users:
                try:
                    with failures.told(f"mount volume {name}"):
                        await asyncio.to_thread(driver.mount, name, record.options)
                except BaseException:
                    del self._mounted[name]
                    raise
            users.add(user)
        self.sizes.touch(name)
        return driver.path(name)

    async def unmount(self, name: str, user: str) -> None:
        """``user`` needs the volume no more. Idempotent."""
        record = self.get(name)
        async with self._lock(name):
            users = self._mounted.get(name)
            if users is None or user not in users:
                return
            users.discard(user)
            self.sizes.touch(name)
            if not users:
                del self._mounted[name]
                driver = await self._driver(record.driver)
                with failures.told(f"unmount volume {name}"):
                    await asyncio.to_thread(driver.unmount, name)

    @contextlib.asynccontextmanager
    async def mounted(self, name: str, user: str) -> AsyncIterator[str]:
        """:meth:`mount` and, at the end, :meth:`unmount`."""
        place = await self.mount(name, user)
        try:
            yield place
        finally:
            await asyncio.shield(self.unmount(name, user))

    def adopt(self, name: str, user: str) -> None:
        """``user`` has had the volume mounted since before this engine was started."""
        if name in self._records:
            self._mounted.setdefault(name, set()).add(user)

    def mountpoint(self, name: str) -> str:
        """The volume's directory on the host; "" where its driver has not said."""
        driver = self._drivers.get(self.get(name).driver)
        return driver.path(name) if driver is not None else ""

    async def repair(self, name: str) -> None:
        """Make what a volume has lost of itself (its directory); its files are lost."""
        record = self.get(name)
        driver = await self._driver(record.driver)
        with failures.told(f"create volume {name}"):
            await asyncio.to_thread(driver.create, name, record.options)

    def _check_unused(self, verb: str, name: str) -> Record:
        record = self.get(name)
        if users := self._users.get(name):
            raise errdefs.Conflict(
                f"{verb} {name}: volume is in use - [{', '.join(sorted(users))}]"
            )
        if self._mounted.get(name):
            raise errdefs.Conflict(f"{verb} {name}: volume is in use - its files are being copied")
        return record

    async def remove(self, name: str, *, force: bool = False) -> None:
        """Delete a volume. The lock of a name stays: somebody may be waiting for it.

        Raises ``NotFound`` (unless ``force``) and ``Conflict`` while a container uses it. With
        ``force`` the volume is forgotten even when its driver is gone or fails.
        """
        async with self._lock(name):
            try:
                record = self._check_unused("remove", name)
            except errdefs.NotFound:
                if force:
                    return
                raise
            driver: drivers.Driver | None = None
            try:
                driver = await self._driver(record.driver)
                if not driver.exclusive:
                    await asyncio.to_thread(driver.remove, name)
            except errdefs.FirkinError:
                if not force:
                    raise
                driver = None
            await self._db.run(lambda c: records.delete(c, name))
            del self._records[name]
            self.sizes.forget(name)
            if driver is not None and driver.exclusive:
                with failures.told(f"remove volume {name}"):
                    await asyncio.to_thread(driver.remove, name)

    async def rename(self, old: str, new: str) -> Record:
        """Give an unused volume another name.

        Raises ``NotFound``, ``Conflict`` (in use, or the name is), ``InvalidParameter`` for a bad
        name, and ``NotImplemented`` for drivers that can't.
        """
        check_name(new)
        first, second = sorted((old, new))
        if first == second:
            raise errdefs.Conflict(f"rename {old}: a volume named {new} already exists")
        async with self._lock(first), self._lock(second):
            record = self._check_unused("rename", old)
            if new in self._records:
                raise errdefs.Conflict(f"rename {old}: a volume named {new} already exists")
            await self._driver(record.driver)
            if not isinstance(self._drivers[record.driver], drivers.Renaming):
                raise errdefs.NotImplemented(
                    f"rename {old}: its driver {record.driver} can't rename volumes"
                )
            await self._db.run(lambda c: records.rename(c, old, new))
            renamed = Record(
                name=new,
                driver=record.driver,
                anonymous=record.anonymous,
                created=record.created,
                labels=record.labels,
                options=record.options,
            )
            del self._records[old]
            self._records[new] = renamed
            self.sizes.forget(old)
            await self._move(record.driver, old, new)
            return renamed

    async def _move(self, kind: str, old: str, new: str) -> None:
        driver = await self._driver(kind)
        if isinstance(driver, drivers.Renaming):
            with failures.told(f"rename volume {old}"):
                await asyncio.to_thread(driver.rename, old, new)
        await self._db.run(lambda c: records.settle(c, new))

    async def discover(self) -> list[str]:
        """Take volumes that drivers have made by themselves as ours; returns warnings.

        Only of drivers that are in use: others are asked when they are named.
        """
        warnings = []
        for kind, driver in list(self._drivers.items()):
            if driver.exclusive:
                continue
            try:
                names = await asyncio.to_thread(driver.list)
            except (errdefs.FirkinError, OSError) as error:
                warnings.append(f"error while listing volumes from driver {kind!r}: {error}")
                continue
            for name in names:
                if NAME.fullmatch(name):
                    await self._take(name, kind)
        return warnings

    async def _take(self, name: str, kind: str) -> None:
        async with self._lock(name):
            if name in self._records:
                return
            record = Record(
                name=name, driver=kind, anonymous=False, created=time.time(), labels={}, options={}
            )
            await self._db.run(lambda c: records.insert(c, record, kept=True))
            self._records[name] = record

    async def size(self, name: str) -> int:
        """Bytes on disk of the volume; -1 where the driver keeps no files here."""
        found = await self.disk([self.get(name)])
        return found[name].value if name in found else -1

    async def disk(self, of: Iterable[Record]) -> dict[str, sampler.Figure[int]]:
        """What volumes take on the disk, by name; without those that keep no files here."""
        trees = []
        for record in of:
            driver = self._drivers.get(record.driver)
            mounted = record.options.get("type") or record.options.get("device")
            if driver is None or not driver.exclusive or mounted:
                continue
            live = bool(self._mounted.get(record.name))
            work = functools.partial(_measure, driver, record.name)
            trees.append(sampler.Tree(record.name, work, live))
        figures = await self.sizes.all(trees)
        return {tree.key: figure for tree, figure in zip(trees, figures, strict=True)}


def _measure(driver: drivers.Driver, name: str) -> int:
    if isinstance(driver, drivers.Measuring):
        return driver.usage(name)
    return treesize.measure(driver.path(name)).size
