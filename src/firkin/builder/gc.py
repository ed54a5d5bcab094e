"""The build cache's own limits: ``builder.gc`` of daemon.json.

A policy is a list of rules, applied in order after builds. A rule takes records that match its
filters, what was unused for longest first, until the cache is as small as it says; what its bounds
mean is what they mean to ``builder prune``. A rule without bounds takes all that match.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable

import msgspec

from firkin.builder import cachefilter, prune
from firkin.linux import tasks

_QUIET = 2.0  # seconds without a build, which would wait for the disk beside a collection
_LATEST = 30.0  # seconds that builds can put a collection off for


class Rule(msgspec.Struct, frozen=True, kw_only=True):
    """Bounds are in bytes, 0 for none; ``unused`` in seconds. Of ``filters`` one has to match."""

    all: bool = False
    unused: float = 0.0
    filters: tuple[str, ...] = ()
    reserved: int = 0
    max_used: int = 0
    min_free: int = 0


def options(rule: Rule) -> prune.Options:
    """What to prune for a rule, now."""
    return prune.Options(
        all=rule.all,
        reserved=rule.reserved,
        max_used=rule.max_used,
        min_free=rule.min_free,
        until=time.time() - rule.unused if rule.unused else None,
        match=cachefilter.parse(rule.filters),
    )


def default(keep: int) -> list[Rule]:
    """The rules of an engine that says nothing else: BuildKit's, for a cache of ``keep`` bytes.

    What is quick to get again goes first: contexts, cache mounts and checkouts that were unused
    for two days, down to half a gigabyte; then what was unused for 60 days; then the rest.
    """
    quick = ("source.local", "exec.cachemount", "source.git.checkout")
    return [
        Rule(filters=tuple(f"type=={kind}" for kind in quick), unused=48 * 3600.0,
             max_used=512 << 20),
        Rule(unused=60 * 86400.0, reserved=keep),
        Rule(reserved=keep),
        Rule(reserved=keep, all=True),
    ]  # fmt: skip


class Collections:
    """Collects one at a time, when builds have come to rest."""

    def __init__(self, owner: tasks.Tasks, collect: Callable[[], Awaitable[None]]) -> None:
        self._owner = owner
        self._collect = collect
        self._timer: asyncio.TimerHandle | None = None
        self._latest = 0.0
        self._busy = asyncio.Lock()

    def ask(self) -> None:
        """Have a collection done, soon."""
        now = time.monotonic()
        if self._timer is None:
            self._latest = now + _LATEST
        else:
            self._timer.cancel()
        rest = max(0.0, min(_QUIET, self._latest - now))
        self._timer = asyncio.get_running_loop().call_later(rest, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._owner.spawn(self._one(), "collection")

    async def _one(self) -> None:
        async with self._busy:
            await self._collect()

    def close(self) -> None:
        """Begin none any more."""
        if self._timer is not None:
            self._timer.cancel()
