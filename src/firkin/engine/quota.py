"""The data root's quota: a limit of what the engine takes, and what goes when it is reached.

Two keys of daemon.json set the limit: ``data-root-quota``, for all that lies in the data root, and
``data-root-reserve``, for what is to stay free on its file system, whoever else uses that. When
something is to be stored that would cross one of them, or every :data:`PERIOD` seconds, what can be
made again goes, in this order and only as far as needed:

1. build cache that no build uses and no image shares, what was unused for longest first;
2. images without a name that no container was made from, with what cut pulls have left, and the
   build cache that was shared with them alone;
3. with ``data-root-collect`` "all", images with names that no container was made from, those that
   were named for longest first.

Never touched: containers, running or not; volumes, anonymous ones too, since what is in them exists
nowhere else; images of containers; without "all" every image with a name. With "none" nothing goes.

What then still does not fit is refused before it begins, where its size is known (a pull), else
while its bytes arrive (``firkin.images.room``): it leaves nothing. Containers write to their layers
and volumes as they please: a limit of those is the volumes' ``size``, or a file system of its own.
If they take more than the quota, nothing new is stored, and ``info`` warns.

Each collection is an event, ``daemon`` ``collect``, beside those of the images that went.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, NamedTuple

from firkin import errdefs
from firkin.builder import prune
from firkin.engine import core as engine
from firkin.engine import diskusage, images, quantities

log = logging.getLogger(__name__)

PERIOD = 30.0
POLICIES = ("dangling", "all", "none")
_SLACK = 10
"""A collection begins when less than 1/10 of the quota is left to something of unknown size, and
goes on until that is free, so that the next one is not due at once."""
_UNPACKED = 4
"""Room for a pull: its blobs, and three times that for what they unpack to."""


class Limits(NamedTuple):
    """In bytes; 0 for none."""

    quota: int
    reserve: int


class State(NamedTuple):
    """How much room there is: ``left`` until the nearer limit, negative beyond it."""

    limits: Limits
    used: int
    free: int
    left: int


def limits(core: engine.Core) -> Limits:
    """What the configuration says. Blocks."""
    config, root = core.config, core.config.data_root
    return Limits(
        quantities.parse(config.data_root_quota, root),
        quantities.parse(config.data_root_reserve, root),
    )


def _limited(core: engine.Core) -> bool:
    return bool(core.config.data_root_quota or core.config.data_root_reserve)


async def state(core: engine.Core, used: int | None = None) -> State | None:
    """How much room there is, with ``used`` bytes taken; ``None`` when nothing is limited."""
    if not _limited(core):
        return None
    wanted = await asyncio.to_thread(limits, core)
    free = await asyncio.to_thread(quantities.free, core.config.data_root)
    if used is None:
        used = (await diskusage.measure(core)).total
    left = min(
        wanted.quota - used if wanted.quota else free,
        free - wanted.reserve,
    )
    return State(wanted, used, free, left)


def rows(core: engine.Core, now: State) -> list[list[str]]:
    """The state as ``info`` shows it: names and values."""
    config, show = core.config, quantities.show
    found = [["Data Root Used", show(now.used)]]
    if now.limits.quota:
        share = now.used * 100 // now.limits.quota
        found.append(["Data Root Quota", f"{show(now.limits.quota)} ({share}% used)"])
    if now.limits.reserve:
        reserve = f"{show(now.limits.reserve)} ({show(now.free)} free)"
        found.append(["Data Root Reserve", reserve])
    return [*found, ["Data Root Collects", config.data_root_collect]]


def describe(now: State) -> dict[str, Any]:
    """The state as ``system df`` shows it, in bytes."""
    return {
        "Quota": now.limits.quota,
        "Reserve": now.limits.reserve,
        "Free": now.free,
        "Left": now.left,
    }


def warning(core: engine.Core, now: State) -> str:
    """What to say of a limit that is crossed; "" when none is."""
    if now.left >= 0:
        return ""
    return f"WARNING: {_reason(core, now)}"


def _reason(core: engine.Core, now: State) -> str:
    config, show = core.config, quantities.show
    remedy = (
        "see what takes how much (firkin system df -v) and remove what is not needed (firkin rm, "
        "rmi, volume rm, system prune)"
    )
    if now.limits.quota and now.left == now.limits.quota - now.used:
        return (
            f"no space left in the data root {config.data_root}: of its quota of "
            f"{config.data_root_quota} (data-root-quota) {show(now.used)} are in use: {remedy}, or "
            "raise the quota"
        )
    return (
        f"no space left for the data root {config.data_root}: of the {show(now.free)} that its "
        f"file system has free, {config.data_root_reserve} are to stay (data-root-reserve): "
        f"{remedy}, or lower the reserve"
    )


class Keeper:
    """A :class:`firkin.images.room.Keeper` that holds to the quota."""

    def __init__(self, core: engine.Core) -> None:
        self._core = core
        self._lock = asyncio.Lock()

    @property
    def limited(self) -> bool:
        """See ``Keeper.limited``."""
        return _limited(self._core)

    async def admit(self, need: int | None, expected: int = 0) -> None:
        """See ``Keeper.admit``."""
        core, room = self._core, self._core.images.layers.room
        async with self._lock:
            now = await state(core)
            if now is None:
                room.grant(None)
                return
            wanted = max((need or 0) * _UNPACKED, expected) + now.limits.quota // _SLACK
            if need != 0 and now.left < wanted:
                now = await self._collect(now, wanted)
            room.grant(max(0, now.left), _reason(core, now))
        if need is not None and need > max(0, now.left):
            raise errdefs.InsufficientStorage(
                f"{quantities.show(need)} are to be stored: {_reason(core, now)}"
            )

    async def refused(self, error: errdefs.InsufficientStorage) -> errdefs.InsufficientStorage:
        """See ``Keeper.refused``."""
        async with self._lock:
            now = await state(self._core)
            if now is None:
                return error
            after = await self._collect(now, None)
        if after.left <= now.left:
            return error
        freed = quantities.show(after.left - now.left)
        return errdefs.InsufficientStorage(f"{error}; {freed} were collected now: try it again")

    async def watch(self) -> None:
        """Hold to the limits while containers write. Runs until it is cancelled."""
        while True:
            await asyncio.sleep(PERIOD)
            try:
                async with self._lock:
                    now = await state(self._core)
                    if now is not None and now.left < 0:
                        now = await self._collect(now, now.limits.quota // _SLACK)
                        if now.left < 0:
                            log.warning("%s", _reason(self._core, now))
            except (errdefs.FirkinError, OSError) as error:
                log.error("the quota of the data root is not looked after: %s", error)

    async def _collect(self, now: State, wanted: int | None) -> State:
        """Remove what may go until ``wanted`` bytes are left, or all of it."""
        core = self._core
        policy = core.config.data_root_collect
        steps = {
            "none": (),
            "dangling": (self._cache, self._dangling, self._cache),
            "all": (self._cache, self._dangling, self._cache, self._named, self._cache),
        }[policy]
        before, gone = now, {"build-cache": 0, "images": 0}
        for step in steps:
            if wanted is not None and now.left >= wanted:
                break
            what, count = await step(None if wanted is None else wanted - now.left)
            gone[what] += count
            now = await state(core) or now
        if any(gone.values()):
            attributes = {name: str(count) for name, count in gone.items()}
            attributes["reclaimed"] = str(max(0, before.used - now.used))
            core.events.publish("daemon", "collect", core.engine_id, attributes)
            log.info("collected for the quota of the data root: %s", attributes)
        return now

    async def _cache(self, need: int | None) -> tuple[str, int]:
        builder = self._core.builder
        total = sum(one["Size"] for one in await builder.usage() if not one["Shared"])
        if not total:
            return "build-cache", 0
        keep = 0 if need is None else max(0, total - need)
        ids, _ = await builder.prune(prune.Options(reserved=keep))
        return "build-cache", len(ids)

    async def _dangling(self, need: int | None) -> tuple[str, int]:
        core = self._core
        items, _ = await core.images.prune({"dangling": ["true"]}, images.in_use(core))
        return "images", sum(1 for item in items if item.deleted)

    async def _named(self, need: int | None) -> tuple[str, int]:
        core = self._core
        known, users = core.images.catalog, images.in_use(core)
        count, freed = 0, 0
        for image in sorted(
            known.images.values(),
            key=lambda one: max((known.tagged.get(ref, 0.0) for ref in one.refs), default=0.0),
        ):
            if need is not None and freed >= need:
                break
            if image.id not in known.images or users(image.id):
                continue
            before = (await core.images.disk()).total
            try:
                items = await core.images.remove(image.id, users, force=True)
            except (errdefs.Conflict, errdefs.NotFound):
                continue
            freed += before - (await core.images.disk()).total
            count += sum(1 for item in items if item.deleted)
        return "images", count
