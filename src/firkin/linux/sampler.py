"""Sizes of trees that change, without a walk for each question.

The theory: a tree can only change while somebody may write to it, and whoever lets somebody write
to it says so. So there are two kinds of tree.

* One that nobody may write to is measured once. It may have been changed when its ``version`` is
  another (its container has run) or when :meth:`Sampler.touch` was called (files were copied into
  it, a volume was mounted); the first question after that measures it again. No notification by
  the kernel is needed for it, and none would scale: inotify has a watch for each directory.
* One that is *live* is measured when somebody asks, but only after a pause of :data:`PATIENCE`
  times what its last measurement took. However often it is asked for, measuring it never takes more
  than that share of one CPU; a small tree is as good as exact. Where the last walk took longer than
  :data:`SLOW` nobody waits for the next one: the figure that is known is the answer, with the
  moment it is of, and the new one is made behind it.

Those who ask while a tree is being measured share that measurement, so a storm of questions costs
one. What is measured together is measured by one thread, one tree after the other.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from typing import Generic, NamedTuple, TypeVar

from firkin.linux import tasks

T = TypeVar("T")

PATIENCE = 20
SLOW = 0.5


class Tree(NamedTuple, Generic[T]):
    """What to measure: ``measure`` blocks; ``live`` says that somebody may be writing to it.

    A tree that is not live is the same as long as ``version`` is.
    """

    key: str
    measure: Callable[[], T]
    live: bool
    version: object = None


class Figure(NamedTuple, Generic[T]):
    """What was measured, and when (seconds since the epoch)."""

    value: T
    taken: float


class _Known(Generic[T]):
    __slots__ = ("after", "changes", "exact", "figure", "pending", "took", "version")

    def __init__(self) -> None:
        self.figure: Figure[T] | None = None
        self.exact = False
        self.after = 0.0
        self.took = 0.0
        self.changes = 0
        self.version: object = None
        self.pending: asyncio.Future[None] | None = None


class Sampler(Generic[T]):
    """Measures trees and remembers what came of it; see the module's description."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[str, _Known[T]] = {}
        self._tasks = tasks.Tasks("sizes")

    def touch(self, key: str) -> None:
        """The tree may have been changed: the next question measures it."""
        if (known := self._known.get(key)) is not None:
            known.exact = False
            known.after = 0.0
            known.changes += 1
            known.pending = None  # what is under way may have missed the change

    def forget(self, key: str) -> None:
        """The tree is gone."""
        self._known.pop(key, None)

    async def of(self, tree: Tree[T]) -> Figure[T]:
        """What one tree takes."""
        return (await self.all([tree]))[0]

    async def all(self, trees: Sequence[Tree[T]]) -> list[Figure[T]]:
        """What each of ``trees`` takes. Raises what measuring one of them raised."""
        jobs: list[_Job[T]] = []
        waits: list[asyncio.Future[None]] = []
        found = [self._known.setdefault(tree.key, _Known()) for tree in trees]
        for tree, known in zip(trees, found, strict=True):
            if known.version != tree.version:
                self.touch(tree.key)
                known.version = tree.version
            behind = tree.live and known.took > SLOW and known.after > 0
            if known.pending is None and not known.exact and self._clock() >= known.after:
                known.pending = asyncio.get_running_loop().create_future()
                jobs.append(_Job(tree, known, known.pending, known.changes))
            if known.pending is not None and not behind:
                waits.append(known.pending)
        if jobs:
            self._tasks.spawn(self._measure(jobs), "measuring")
        for wait in waits:
            await asyncio.shield(wait)
        figures = []
        for known in found:
            assert known.figure is not None
            figures.append(known.figure)
        return figures

    async def _measure(self, jobs: list[_Job[T]]) -> None:
        loop = asyncio.get_running_loop()

        def work() -> None:
            for job in jobs:
                begun, taken = self._clock(), time.time()
                try:
                    value = job.tree.measure()
                except Exception as error:  # it is for those who asked
                    loop.call_soon_threadsafe(_answer, job, error)
                else:
                    loop.call_soon_threadsafe(self._take, job, Figure(value, taken), begun)

        try:
            await asyncio.to_thread(work)
        finally:
            loop.call_soon(_give_up, jobs)

    def _take(self, job: _Job[T], figure: Figure[T], begun: float) -> None:
        ended = self._clock()
        known = job.known
        current = known.changes == job.changes
        if current or known.figure is None:
            known.figure, known.took = figure, ended - begun
        if current:
            known.exact = not job.tree.live
            known.after = ended + PATIENCE * known.took
        _answer(job)

    async def close(self) -> None:
        """Give up what is being measured."""
        await self._tasks.close()


class _Job(NamedTuple, Generic[T]):
    """A measurement under way; ``changes`` is how often the tree had been touched before it."""

    tree: Tree[T]
    known: _Known[T]
    future: asyncio.Future[None]
    changes: int


def _answer(job: _Job[T], error: Exception | None = None) -> None:
    if job.known.pending is job.future:
        job.known.pending = None
    if job.future.done():
        return
    if error is None:
        job.future.set_result(None)
    else:
        job.future.set_exception(error)
        job.future.exception()  # seen: there may be nobody who waits


def _give_up(jobs: list[_Job[T]]) -> None:
    """Let nobody wait for a measurement that will not end."""
    for job in jobs:
        if not job.future.done():
            job.future.cancel()
