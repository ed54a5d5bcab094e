"""Removing what no image and no container needs.

Roots are the images of the catalogue (their manifest, config and layers, and the documents that
their digest names mean), the active snapshots of containers, what pulls that were cut have left for
the next one (``pending``, for a day), and the snapshots that *keepers* name (the build cache).
Everything else is garbage, except while somebody is about to make an image of it: who stores blobs
or layers holds a *lease*, and no garbage is collected while there is any; the last one to give its
lease back starts a collection that was wanted meanwhile.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Callable, Iterable

from firkin import errdefs
from firkin.content import store as contents
from firkin.images import catalog, layers
from firkin.snapshots import snapshotter
from firkin.store import db
from firkin.store import distribution as rows
from firkin.types import image as types

log = logging.getLogger(__name__)


class Collector:
    """Leases and collections of one image store."""

    def __init__(
        self,
        store: contents.Store,
        snapshots: snapshotter.Snapshotter,
        known: catalog.Catalog,
        database: db.Database,
        blobs: Callable[[types.Image], set[str]],
    ) -> None:
        """``blobs`` gives the digests of all blobs that an image needs; it may block."""
        self._blobs = blobs
        self._db = database
        self._store = store
        self._snapshots = snapshots
        self._known = known
        self._lock = asyncio.Lock()
        self._leases = 0
        self._wanted = False
        self.keepers: list[Callable[[], Iterable[str]]] = []

    @contextlib.asynccontextmanager
    async def lease(self) -> AsyncIterator[None]:
        """Nothing is collected inside of this."""
        async with self._lock:
            self._leases += 1
        try:
            yield
        except BaseException:
            self._wanted = True
            raise
        finally:
            self._leases -= 1
            if self._wanted and not self._leases:
                await asyncio.shield(self.collect())

    def want(self) -> None:
        """Ask for a collection when the last lease ends."""
        self._wanted = True

    async def collect(self) -> int:
        """Remove all garbage now, or when the last lease ends. Returns the bytes of blobs freed."""
        self._wanted = True
        async with self._lock:
            if self._leases:
                return 0
            self._wanted = False
            pending = await self._db.run(rows.pending)
            await self._drop_snapshots(pending)
            return await self._drop_blobs(pending)

    async def forget_pending(self) -> int:
        """Give up what cut pulls have left, whole or begun. Returns the bytes of begun blobs."""
        await self._db.run(rows.forget_pending)
        return await asyncio.to_thread(self._store.drop_partials)

    async def garbage(self) -> tuple[list[str], list[str]]:
        """Snapshots by key, and blobs by digest, that nobody needs and that are still here.

        None while somebody holds a lease: then there may be some, and they go after it.
        """
        async with self._lock:
            if self._leases:
                return [], []
            pending = await self._db.run(rows.pending)
            layers_left = await self._unneeded(pending)
            found = await asyncio.to_thread(self._sort_blobs, pending)
            return layers_left, [info.digest for info in found[0]]

    async def _unneeded(self, pending: set[str]) -> list[str]:
        """Snapshots that nobody needs, children first."""
        infos = await self._snapshots.walk()
        parents = {info.key: info.parent for info in infos}
        needed: set[str] = set()
        roots = [image.top for image in self._known.images.values()]
        roots += [key for key in pending if key in parents]
        roots += [
            info.key
            for info in infos
            if info.kind == "active" and not info.key.startswith(layers.EXTRACT_PREFIX)
        ]
        roots += [key for keeper in self.keepers for key in keeper()]
        for root in roots:
            while root and root not in needed:
                needed.add(root)
                root = parents.get(root, "")
        return [info.key for info in reversed(infos) if info.key not in needed]

    async def _drop_snapshots(self, pending: set[str]) -> None:
        for key in await self._unneeded(pending):
            try:
                await self._snapshots.remove(key)
            except (errdefs.Conflict, errdefs.NotFound) as error:
                log.debug("the snapshot %s stays: %s", key, error)

    def _sort_blobs(self, pending: set[str]) -> tuple[list[contents.Info], list[contents.Info]]:
        """Blobs that nobody needs, and the others. Blocks."""
        needed: set[str] = set(pending)
        for image in list(self._known.images.values()):
            needed |= self._blobs(image)
        sorted_out: tuple[list[contents.Info], list[contents.Info]] = ([], [])
        for info in self._store.walk():
            sorted_out[info.digest in needed].append(info)
        return sorted_out

    async def _drop_blobs(self, pending: set[str]) -> int:
        def work() -> int:
            unneeded, needed = self._sort_blobs(pending)
            for info in unneeded:
                self._store.delete(info.digest)
            left = [info.digest for info in needed]
            self._db.run_sync(lambda c: rows.retain(c, left))
            return sum(info.size for info in unneeded)

        try:
            return await asyncio.to_thread(work)
        except errdefs.FirkinError as error:
            # Which blobs a damaged manifest needs cannot be known: keep all.
            log.warning("no blobs are removed while an image is damaged: %s", error)
            return 0
