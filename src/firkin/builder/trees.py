"""File trees of a build: results of steps, and directories that files are copied from.

A :class:`Ref` is the result of a step: a committed snapshot. Its name can change, once, when the
layer's digest becomes known (see ``imaging``); so the name is looked up when it is used, under the
cache's ``naming`` lock.

Mounts are made below a directory of the builder's own; what an engine that was killed left there is
unmounted by :meth:`Trees.clean`.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Callable

import msgspec

from firkin import errdefs
from firkin.builder import cache
from firkin.images import layers
from firkin.linux import mount as kernel
from firkin.linux import treesize
from firkin.snapshots import base, mounting
from firkin.types import mount
from firkin.wire import ignorefile

PREFIX = "build-"


class Ref:
    """The tree that a step made. ``record`` is None for a base image or the empty tree."""

    def __init__(
        self, identity: str, *, record: cache.Record | None = None, snapshot: str = "",
        created: float = 0.0,
    ) -> None:  # fmt: skip
        self.id = identity
        self.record = record
        self._snapshot = snapshot
        self._created = created

    @property
    def snapshot(self) -> str:
        """The snapshot's present key, "" for the empty tree."""
        return self.record.snapshot if self.record is not None else self._snapshot

    @property
    def created(self) -> float:
        """When it was made, in seconds since the epoch; 0 when not known."""
        return self.record.created if self.record is not None else self._created


SCRATCH = Ref("scratch")


class Tree(msgspec.Struct, kw_only=True):
    """A directory to copy from.

    ``owners``: files keep their owners (else they become root's); ``linkable``: files never change
    and are root's, so that copies may be hard links; ``hidden`` decides which paths can't be seen;
    ``digest`` gives the digest of a regular file by its path below the root, if it is known;
    ``dockerfile`` is what stands for a Dockerfile of any name.
    """

    root: str
    owners: bool = False
    linkable: bool = False
    hidden: Callable[[str], bool] | None = None
    ignore: ignorefile.Ignore | None = None
    digest: Callable[[str], str] | None = None
    commit: str = ""
    dockerfile: bytes | None = None


class Active(msgspec.Struct):
    """A writable tree on a parent: ``upper`` is where its own files lie."""

    key: str
    parent: Ref
    mounts: list[mount.Mount]
    upper: str


class Trees:
    """The builder's way to snapshots."""

    def __init__(self, owner: layers.Layers, known: cache.Cache, directory: str) -> None:
        self.owner = owner
        self.snapshots = owner.snapshots
        self._cache = known
        self.directory = directory
        os.makedirs(directory, mode=0o700, exist_ok=True)

    def clean(self) -> None:
        """Remove what an earlier engine left below the directory. Blocks."""
        for point in list(kernel.mounted_below(self.directory)):
            if point != self.directory:
                kernel.unmount(point)
        for name in os.listdir(self.directory):
            shutil.rmtree(os.path.join(self.directory, name), ignore_errors=True)

    async def begin(self, parent: Ref) -> Active:
        """A writable tree on ``parent``."""
        self.owner.room.check()
        key = PREFIX + secrets.token_hex(16)
        async with self._cache.naming:
            wanted = await self.snapshots.prepare(key, parent.snapshot)
        return Active(key, parent, wanted, await self.snapshots.directory(key))

    async def finish(self, active: Active, keep: Callable[[str], object]) -> tuple[str, int] | None:
        """Make the tree permanent; its key and size, or None when nothing changed (it is gone).

        ``keep`` is told its key before: from then on it is garbage unless somebody keeps it.
        """
        if self.snapshots.rebases:
            idle = await asyncio.to_thread(_candidates, active.upper)
            if idle and active.parent.snapshot:
                async with self.view(active.parent) as below:
                    await asyncio.to_thread(_drop_untouched, active.upper, below)
            usage = await self.snapshots.usage(active.key)
            if not usage.inodes and await self._same_root(active):
                await self.snapshots.remove(active.key)
                return None
            whole = usage.size + await asyncio.to_thread(treesize.alone, active.upper)
        else:
            usage, whole = await self.snapshots.usage(active.key), -1
        self.owner.room.keep(usage.size)
        keep(active.key)
        async with self._cache.naming:
            await self.snapshots.commit(active.key, active.key, size=usage.apparent, disk=whole)
        return active.key, usage.apparent

    async def _same_root(self, active: Active) -> bool:
        if not active.parent.snapshot:
            return True
        async with self._cache.naming:
            below = await self.snapshots.directory(active.parent.snapshot)
        a, b = os.stat(active.upper), os.stat(below)
        return (a.st_mode, a.st_uid, a.st_gid) == (b.st_mode, b.st_uid, b.st_gid)

    async def drop(self, active: Active) -> None:
        """Throw the tree away; no error when it is gone."""
        with contextlib.suppress(errdefs.NotFound, errdefs.Conflict):
            if (await self.snapshots.stat(active.key)).kind == "active":
                await self.snapshots.remove(active.key)

    @contextlib.asynccontextmanager
    async def place(self) -> AsyncIterator[str]:
        """An empty directory for the time of the block; unmounted and removed after it."""
        path = os.path.join(self.directory, secrets.token_hex(8))
        os.mkdir(path, 0o700)
        try:
            yield path
        finally:
            await asyncio.shield(asyncio.to_thread(_clear, path))

    @contextlib.asynccontextmanager
    async def view(self, ref: Ref) -> AsyncIterator[str]:
        """The path of a tree, mounted read-only for the time of the block."""
        async with self.place() as path:
            if ref.snapshot:
                async with self._cache.naming:
                    wanted = await self.snapshots.mounts(ref.snapshot)
                await asyncio.to_thread(mounting.mount_rootfs, wanted, path)
            yield path

    @contextlib.asynccontextmanager
    async def writable(self, active: Active) -> AsyncIterator[str]:
        """The path of a writable tree, mounted for the time of the block."""
        async with self.place() as path:
            await asyncio.to_thread(mounting.mount_rootfs, active.mounts, path)
            yield path


def _candidates(upper: str) -> list[str]:
    """Directories at the top of a changed tree in which nothing seems to have changed. Blocks."""
    found: list[str] = []
    for entry in os.scandir(upper):
        if entry.is_dir(follow_symlinks=False):
            with os.scandir(entry.path) as inner:
                if all(one.is_dir(follow_symlinks=False) for one in itertools.islice(inner, 8)):
                    found.append(entry.name)
    return found


def _drop_untouched(upper: str, below: str) -> None:
    """Remove directories that only are there because a file in them was, for a time. Blocks.

    A step's mount points are such files (/etc/hosts); the copied-up directory would be a layer.
    """
    for name in _candidates(upper):
        _untouched(os.path.join(upper, name), os.path.join(below, name), 0)


def _untouched(path: str, below: str, depth: int) -> bool:
    try:
        mine, theirs = os.lstat(path), os.lstat(below)
    except FileNotFoundError:
        return False
    same = (mine.st_mode, mine.st_uid, mine.st_gid, mine.st_mtime_ns) == (
        theirs.st_mode, theirs.st_uid, theirs.st_gid, theirs.st_mtime_ns,
    )  # fmt: skip
    if not same or depth > 8 or "trusted.overlay.opaque" in os.listxattr(path):
        return False
    names = os.listdir(path)
    if len(names) > 8:
        return False
    for name in names:
        inner = os.path.join(path, name)
        if os.path.islink(inner) or not os.path.isdir(inner):
            return False
        if not _untouched(inner, os.path.join(below, name), depth + 1):
            return False
    os.rmdir(path)
    return True


def _clear(path: str) -> None:
    for point in list(kernel.mounted_below(path)):
        kernel.unmount(point)
    try:
        os.rmdir(path)
    except FileNotFoundError:
        return
    except OSError:
        base.remove_tree(path)
