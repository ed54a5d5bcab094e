"""The builder: builds, what they may share, and the cache they leave.

::

    request ──> Dockerfile ──> plan (graph + config, for each platform) ──> solver ──> outputs

Layout of its directory::

    ROOT/build/mounts/     cache mounts
    ROOT/build/contexts/   contexts that clients keep in step with theirs (``contextstore``)
    ROOT/build/outputs/    results that wait for their clients
    EXEC/build/            mounts and files of running builds, emptied at start
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, TypeVar

import msgspec

from firkin import errdefs
from firkin.builder import (
    cache,
    cachefilter,
    cachist,
    contextstore,
    executor,
    exporters,
    gc,
    graph,
    imaging,
    plan,
    prepared,
    progress,
    prune,
    request,
    results,
    select,
    solver,
    stages,
    steps,
    trees,
)
from firkin.dockerfile import errors, instructions, lint, parser
from firkin.images import platforms
from firkin.images import service as images
from firkin.linux import regular, tasks
from firkin.remotes import failures
from firkin.wire import ignorefile

log = logging.getLogger(__name__)

_MAX_IGNORE = 1 << 20
ENTITLEMENTS = ("network.host", "security.insecure", "device")
T = TypeVar("T")


class Builder:
    """See the module's description. Make one, then ``await start()``."""

    def __init__(
        self, known: cache.Cache, store: images.ImageService, runner: executor.Executor,
        resolver: plan.Images, *, root: str, exec_root: str,
    ) -> None:  # fmt: skip
        self.cache = known
        self._images = store
        self._resolver = resolver
        self._root = os.path.join(root, "build")
        os.makedirs(self._root, mode=0o700, exist_ok=True)
        self.trees = trees.Trees(store.layers, known, os.path.join(exec_root, "build"))
        self.workshop = steps.Workshop(self._root, known, self.trees, runner)
        self.contexts = contextstore.ContextStore(
            os.path.join(self._root, "contexts"), known, store.layers.scratch
        )
        self.shelf = exporters.Shelf(os.path.join(self._root, "outputs"))
        self._jobs = solver.Jobs()
        imager = imaging.Imager(self.workshop, store.catalog, store.layers, store.press)
        self._cachist = cachist.Cachist(self.workshop, imager, store, self.shelf)
        self._results = results.Results(store, self.trees, imager, self._cachist, self.shelf)
        self._builds: dict[str, asyncio.Task[Any]] = {}
        self._tasks = tasks.Tasks("builds")
        self.rules: Callable[[], list[gc.Rule]] = list
        self._collections = gc.Collections(self._tasks, self._collect)

    async def start(self) -> None:
        """Remove what an earlier engine left half done."""

        def work() -> None:
            self.trees.clean()
            self.workshop.mounts.clean()
            self.contexts.clean()
            self.shelf.clean()

        await asyncio.to_thread(work)
        await self.cache.remove(await asyncio.to_thread(self.workshop.mounts.lost))
        self._collections.ask()

    async def close(self) -> None:
        """End all builds."""
        self._collections.close()
        await self._tasks.close()
        await self._jobs.close()
        await self.shelf.close()
        await self.cache.sizes.close()

    async def build(
        self, wanted: request.Request, watcher: progress.Watcher, *, build_id: str = ""
    ) -> results.Result:
        """Do a build. Raises ``DockerfileError``, ``StepFailed`` and what else went wrong.

        Cancelled, or with :meth:`cancel`, it leaves nothing but complete results in the cache.
        """

        async def work() -> results.Result:
            done = await self._prepare(wanted, watcher)
            try:
                return await self._results.export(done, wanted.outputs, wanted.annotations, watcher)
            finally:
                await done.close()

        return await self._owned(work(), build_id)

    async def prepare(
        self, wanted: request.Request, watcher: progress.Watcher
    ) -> prepared.Prepared:
        """Do a build but for its outputs. The caller closes what it gets; else as :meth:`build`."""
        return await self._owned(self._prepare(wanted, watcher), "")

    async def export(
        self, done: prepared.Prepared, outputs: Sequence[request.Output],
        annotations: dict[str, str], watcher: progress.Watcher,
    ) -> results.Result:  # fmt: skip
        """Bring the result of a build where it is wanted. Cancelled, it leaves nothing."""
        return await self._owned(self._results.export(done, outputs, annotations, watcher), "")

    async def _owned(self, work: Coroutine[Any, Any, T], build_id: str) -> T:
        """Work as a task that this builder ends when it ends."""
        task = self._tasks.spawn_quiet(self._housed(work), f"build {build_id}")
        if build_id:
            self._builds[build_id] = task
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise errdefs.Cancelled("the build was cancelled") from None
            task.cancel()
            await asyncio.wait([task])
            done = None if task.cancelled() or task.exception() else task.result()
            if isinstance(done, prepared.Prepared):
                await done.close()
            raise
        finally:
            if build_id and self._builds.get(build_id) is task:
                del self._builds[build_id]
            self._collections.ask()

    async def _housed(self, work: Coroutine[Any, Any, T]) -> T:
        """Work for which room is made first, and after which some is if there was not enough."""
        keeper = self._images.keeper
        try:
            if keeper is not None:
                await keeper.admit(None)
            return await work
        except errdefs.FirkinError as error:
            if (
                keeper is not None
                and (full := failures.caused(error, errdefs.InsufficientStorage)) is not None
            ):
                await keeper.refused(full)
            raise
        finally:
            work.close()

    async def _collect(self) -> None:
        """Hold to the rules that the cache has."""
        for rule in await asyncio.to_thread(self.rules):
            ids, freed = await self.prune(gc.options(rule))
            if ids:
                log.info("build cache: %d records, %d bytes collected", len(ids), freed)

    async def cancel(self, build_id: str) -> None:
        """End the build of that id. One that has ended, or never was, is fine."""
        task = self._builds.get(build_id)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _prepare(
        self, wanted: request.Request, watcher: progress.Watcher
    ) -> prepared.Prepared:
        warnings: list[lint.Warning] = []

        def warn(rule: str, message: str, line: int) -> None:
            one = lint.Warning(rule, message, line)
            if one not in warnings and (file is None or lint.wanted(file, rule)):
                warnings.append(one)
                watcher.warned(rule, message, line)

        file: instructions.Dockerfile | None = None
        text = ""
        async with contextlib.AsyncExitStack() as stack:
            wanted = await self._opened(wanted, stack)
            wanted = await self._nested(wanted, watcher, stack)
            text, ignored = await self._dockerfile(wanted)
            try:
                file = instructions.load(text)
                for found in lint.check(file, text, ignored, wanted.args):
                    warn(found.rule, found.message, found.line)
                begun = time.time()
                plans = self._plans(wanted, file, warn)
                built, solved = await self._solved(wanted, plans, watcher, stack)
            except errors.DockerfileError as error:
                raise error.shown(wanted.filename, text) from error
            return prepared.Prepared(wanted, plans, built, solved, warnings, begun, stack.pop_all())

    async def _nested(
        self, wanted: request.Request, watcher: progress.Watcher, stack: contextlib.AsyncExitStack
    ) -> request.Request:
        """The request with the builds that are its named contexts done."""
        inner = {n: c.request for n, c in wanted.contexts.items() if isinstance(c, request.Nested)}
        if not inner:
            return wanted
        work = {
            name: self._tasks.spawn_quiet(
                self._prepare(
                    msgspec.structs.replace(one, platforms=one.platforms or wanted.platforms),
                    watcher,
                ),
                f"context {name}",
            )
            for name, one in inner.items()
        }
        try:
            await asyncio.gather(*work.values())
        finally:
            for task in work.values():
                task.cancel()
            await asyncio.wait(work.values())
            for task in work.values():
                if not task.cancelled() and task.exception() is None:
                    stack.push_async_callback(task.result().close)
        done = {name: task.result() for name, task in work.items()}
        return msgspec.structs.replace(wanted, contexts={**wanted.contexts, **done})

    async def check(self, wanted: request.Request) -> dict[str, Any]:
        """The build checks alone (``--check``), and the file's stages and arguments."""
        found: list[lint.Warning] = []
        async with contextlib.AsyncExitStack() as stack:
            wanted = await self._opened(wanted, stack)
            text, ignored = await self._dockerfile(wanted)
            try:
                file = instructions.load(text)

                def warn(rule: str, message: str, line: int) -> None:
                    one = lint.Warning(rule, message, line)
                    if one not in found and lint.wanted(file, rule):
                        found.append(one)

                for one in lint.check(file, text, ignored, wanted.args):
                    warn(one.rule, one.message, one.line)
                with contextlib.suppress(errdefs.NotFound, errdefs.Unavailable):
                    await self._plans(wanted, file, warn)[0].build()
            except errors.DockerfileError as error:
                raise error.shown(wanted.filename, text) from error
        found.sort(key=lambda one: (one.line, one.rule))
        return lint.report(file, found, wanted.filename, text)

    async def _opened(
        self, wanted: request.Request, stack: contextlib.AsyncExitStack
    ) -> request.Request:
        """The request with its context open, so that the Dockerfile can be read from it."""
        if wanted.context is None or isinstance(wanted.context, request.ImageContext):
            return wanted
        context = _Opened(wanted.context)
        stack.push_async_callback(context.end)
        tree = await context.open()
        if wanted.ignore:
            tree = await asyncio.to_thread(_hide, tree, wanted.filename)
            context.tree = tree
        elif wanted.sent:
            context.tree = await asyncio.to_thread(_hide_sent, tree, wanted.filename)
        return msgspec.structs.replace(wanted, context=context)

    async def _dockerfile(self, wanted: request.Request) -> tuple[str, ignorefile.Ignore | None]:
        tree = wanted.context.tree if isinstance(wanted.context, _Opened) else None
        data = wanted.dockerfile
        if data is None:
            if tree is None:
                raise errdefs.InvalidParameter("there is neither a Dockerfile nor a context")
            data = tree.dockerfile
            if data is None:
                data = await asyncio.to_thread(_read_dockerfile, tree.root, wanted.filename)
        if not data:
            raise errdefs.InvalidParameter(f"the Dockerfile ({wanted.filename}) cannot be empty")
        ignored: ignorefile.Ignore | None = None
        if tree is not None:
            ignored = tree.ignore or await asyncio.to_thread(_rules, tree.root, wanted.filename)
        return parser.decode(data), ignored

    def _plans(
        self, wanted: request.Request, file: instructions.Dockerfile, warn: Any
    ) -> list[plan.Plan]:
        chosen = [platforms.parse(text) for text in wanted.platforms] or [platforms.host()]
        return [plan.Plan(file, wanted, self._resolver, one, warn) for one in chosen]

    async def _solved(
        self, wanted: request.Request, plans: list[plan.Plan], watcher: progress.Watcher,
        stack: contextlib.AsyncExitStack,
    ) -> tuple[list[stages.Built], solver.Solver]:  # fmt: skip
        for name in wanted.allow:
            if name not in ENTITLEMENTS and not name.startswith("device="):
                raise errdefs.InvalidParameter(f"unknown entitlement {name!r} in --allow")
        built = [await one.build() for one in plans]
        for name in plan.unconsumed(wanted, plans):
            watcher.message(f"[Warning] One or more build-args [{name}] were not consumed")
        limits = graph.Limits(
            host=wanted.host,
            devices=frozenset(one.removeprefix("device").removeprefix("=") for one in wanted.allow
                              if one.startswith("device")),
        )  # fmt: skip
        solved = solver.Solver(self.workshop, self._jobs, wanted, watcher, limits)
        stack.push_async_callback(solved.close)
        for other in wanted.contexts.values():
            if isinstance(other, prepared.Prepared):
                solved.adopt(other.solved)
        for source in wanted.cache_from:
            await self._cachist.open(wanted, source, solved, watcher)
        needed = graph.ancestors([b.vertex for b in built if b.vertex is not None])
        for vertex in needed:
            if isinstance(vertex.op, graph.Run) and vertex.op.devices:
                await self.workshop.executor.permit(vertex.op.devices, limits.devices)
        watcher.planned(needed, [line for one in plans for line in one.outline()])
        await asyncio.gather(*(solved.solve(b.vertex) for b in built if b.vertex is not None))
        return built, solved

    async def prune(self, options: prune.Options) -> tuple[list[str], int]:
        """Forget records; their ids and the bytes freed."""
        ids, freed = await prune.prune(
            self.cache, self.workshop.mounts, self.contexts, options, await self.sizes(),
            prune.shared(self._images.catalog),
        )  # fmt: skip
        await self._images.collector.collect()
        return ids, freed

    async def sizes(self) -> dict[str, int]:
        """What each record of the cache takes on the disk, by its id."""
        return await prune.weigh(
            self.cache, self.workshop.mounts, self.contexts, await self._images.snapshots.sizes()
        )

    async def usage(self, filters: Sequence[str] = ()) -> list[dict[str, Any]]:
        """The build cache as the Engine API shows it, what fits the filters of it (see
        ``cachefilter``)."""
        match = cachefilter.parse(filters)
        return prune.usage(self.cache, self._images.catalog, await self.sizes(), match)


class _Opened:
    """A context that stays open for a whole build, however often it is asked for."""

    def __init__(self, inner: request.Context) -> None:
        self._inner = inner
        self.tree: trees.Tree | None = None

    async def open(self) -> trees.Tree:
        if self.tree is None:
            self.tree = await self._inner.open()
        return self.tree

    async def close(self) -> None:
        """The solver is done with it; the build is not yet."""

    async def end(self) -> None:
        await self._inner.close()


def _read_dockerfile(root: str, filename: str) -> bytes:
    if filename == "Dockerfile" and not os.path.lexists(os.path.join(root, filename)):
        with contextlib.suppress(errdefs.InvalidParameter):
            return _read(root, "dockerfile")
    return _read(root, filename)


def _read(root: str, filename: str, limit: int = parser.MAX_SIZE) -> bytes:
    try:
        return regular.read(root, select.clean(filename), limit + 1)
    except (FileNotFoundError, NotADirectoryError):
        raise errdefs.InvalidParameter(
            f"failed to read dockerfile: open {filename}: no such file or directory "
            "(Cannot locate specified Dockerfile)"
        ) from None
    except IsADirectoryError:
        raise errdefs.InvalidParameter(
            f"failed to read dockerfile: {filename} is a directory: name the file with -f"
        ) from None
    except OSError as error:
        raise errdefs.InvalidParameter(
            f"failed to read dockerfile: {filename}: {error.strerror}"
        ) from None


def _rules(root: str, filename: str) -> ignorefile.Ignore | None:
    for name in (f"{filename}.dockerignore", ".dockerignore"):
        try:
            text = _read(root, name, _MAX_IGNORE).decode("utf-8", "replace")
        except errdefs.InvalidParameter:
            continue
        try:
            return ignorefile.read(text)
        except ignorefile.BadPattern as error:
            raise errdefs.InvalidParameter(f"failed to parse {name}: {error}") from error
    return None


def _hide(tree: trees.Tree, filename: str) -> trees.Tree:
    rules = _rules(tree.root, filename)
    if rules is None or rules.empty:
        return tree
    return msgspec.structs.replace(tree, hidden=rules, ignore=rules)


def _hide_sent(tree: trees.Tree, filename: str) -> trees.Tree:
    """Hide what the client had to send although its ignore file leaves it out."""
    rules = _rules(tree.root, filename)
    names = {select.clean(filename), ".dockerignore"} if rules is not None else set()
    hidden = {name for name in names if rules is not None and rules(name)}
    return msgspec.structs.replace(tree, hidden=hidden.__contains__) if hidden else tree
