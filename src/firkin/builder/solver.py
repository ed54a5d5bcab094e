"""Getting the results of a graph: from the cache, from a build that is making the same, or by work.

::

    solve(v):  the record of its definition key            -> done, nothing below is looked at
               else solve all inputs at the same time
               the record of its content key               -> done, the definition key is noted
               else join the job of that key, or begin it  -> a new record with both keys

A job belongs to all builds that wait for it and ends early only when none is left. The first
failure ends the build: what else runs for it is cancelled.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any, Protocol

from firkin import errdefs
from firkin.builder import cache, graph, progress, request, select, sources, steps, trees, why
from firkin.linux import tasks
from firkin.wire import ignorefile


class StepFailed(errdefs.InvalidParameter):
    """A vertex that could not be done; ``code`` is a command's exit status, else 0."""

    def __init__(self, vertex: graph.Vertex, message: str, code: int = 0) -> None:
        super().__init__(message)
        self.vertex = vertex
        self.code = code


class Imported(Protocol):
    """A cache from elsewhere (see ``cachefiles``)."""

    async def find(self, key: str) -> cache.Record | None:
        """The record of a definition key, brought here; None when there is none."""


class Job:
    """Work on one content key, for any number of builds.

    ``held`` keeps the snapshot that it makes from collection, from before it is committed until
    all who waited for it keep it themselves.
    """

    def __init__(self) -> None:
        self.held = contextlib.ExitStack()
        self.waiting = 0
        self.task: asyncio.Task[trees.Ref] | None = None
        self.listeners: list[Callable[[int, bytes], None]] = []
        self._said: list[tuple[int, bytes]] = []
        self._size = 0

    def output(self, stream: int, data: bytes) -> None:
        """Pass on what the step writes; the beginning is kept for those who come later."""
        if self._size < 1 << 18:
            self._said.append((stream, data))
            self._size += len(data)
        for listener in self.listeners:
            listener(stream, data)

    def listen(self, listener: Callable[[int, bytes], None]) -> None:
        for stream, data in self._said:
            listener(stream, data)
        self.listeners.append(listener)


class Jobs:
    """The jobs that run now, by content key."""

    def __init__(self) -> None:
        self._tasks = tasks.Tasks("builder")
        self._jobs: dict[str, Job] = {}
        self.slots = asyncio.Semaphore(max(8, 2 * (os.cpu_count() or 1)))

    async def run(
        self,
        key: str,
        work: Callable[[Job], Awaitable[trees.Ref]],
        listener: Callable[[int, bytes], None],
    ) -> trees.Ref:
        """The result of ``work``, done once for all who ask for ``key`` meanwhile."""
        job = self._jobs.get(key)
        if job is None:
            job = self._jobs[key] = Job()
            mine = job

            async def body() -> trees.Ref:
                try:
                    return await work(mine)
                finally:
                    if self._jobs.get(key) is mine:
                        del self._jobs[key]

            job.task = self._tasks.spawn_quiet(body(), key[:12])
        assert job.task is not None
        job.waiting += 1
        job.listen(listener)
        try:
            return await asyncio.shield(job.task)
        finally:
            job.waiting -= 1
            job.listeners.remove(listener)
            if not job.waiting and not job.task.done():
                if self._jobs.get(key) is job:
                    del self._jobs[key]
                job.task.cancel()
                with contextlib.suppress(asyncio.CancelledError, Exception):
                    await asyncio.wait([job.task])
            if not job.waiting:
                job.held.close()

    async def close(self) -> None:
        await self._tasks.close()


class Solver:
    """Solves the graphs of one build."""

    def __init__(
        self,
        workshop: steps.Workshop,
        jobs: Jobs,
        wanted: request.Request,
        watcher: progress.Watcher,
        limits: graph.Limits,
    ) -> None:
        self._workshop = workshop
        self._cache = workshop.cache
        self._jobs = jobs
        self._request = wanted
        self._watcher = watcher
        self._limits = limits
        self._results: dict[graph.Vertex, asyncio.Task[trees.Ref | trees.Tree]] = {}
        self._definitions: dict[tuple[graph.Vertex, bool], asyncio.Task[str]] = {}
        self._digests: dict[tuple[Any, ...], tuple[str, dict[str, str]]] = {}
        self._tasks = tasks.Tasks("build")
        self._stack = contextlib.AsyncExitStack()
        self._salt = cache.new_id()
        self._salted = wanted.no_cache or bool(wanted.no_cache_filter)
        self._traces: dict[str, dict[str, Any]] = {}
        self.imported: list[Imported] = []
        self._reasons: dict[graph.Vertex, str] = {}
        self.cached: set[graph.Vertex] = set()

    async def close(self) -> None:
        """End what still runs and let go of contexts, pins and mounts."""
        await self._tasks.close()
        await self._stack.aclose()
        await self._cache.flush()
        await self._cache.put_traces(self._traces)

    async def solve(self, vertex: graph.Vertex) -> trees.Ref:
        """The result of a step. Raises ``StepFailed`` and what sources raise."""
        result = await self._result(vertex)
        assert isinstance(result, trees.Ref)
        return result

    async def definition(self, vertex: graph.Vertex) -> str:
        """The key by which other builds may find the result of a step."""
        return await self._plain(vertex)

    async def peek(self, vertex: graph.Vertex) -> cache.Record | None:
        """The record of a step that is solved or in the cache; nothing is made."""
        task = self._results.get(vertex)
        if task is not None and task.done() and not task.cancelled() and not task.exception():
            result = task.result()
            return result.record if isinstance(result, trees.Ref) else None
        return self._cache.find(await self._definition(vertex))

    def pin(self, snapshot: str) -> None:
        """Keep a snapshot until the build ends."""
        if snapshot:
            self._stack.enter_context(self._cache.pinned(snapshot))

    def adopt(self, other: Solver) -> None:
        """Take over what another build has solved, which is about to let go of it."""
        for vertex, task in other._results.items():
            if task.done() and not task.cancelled() and task.exception() is None:
                result = task.result()
                if isinstance(result, trees.Ref):
                    self._results[vertex] = task
                    self.pin(result.snapshot)
        self._salted = self._salted or other._salted
        for (vertex, salted), key in other._definitions.items():
            if key.done() and not key.cancelled() and not key.exception():
                self._definitions[vertex, salted] = key
                if not other._salted:
                    self._definitions.setdefault((vertex, True), key)

    # Results

    async def _result(self, vertex: graph.Vertex) -> trees.Ref | trees.Tree:
        task = self._results.get(vertex)
        if task is None:
            task = self._results[vertex] = self._tasks.spawn_quiet(self._find(vertex), vertex.name)
        return await asyncio.shield(task)

    async def _find(self, vertex: graph.Vertex) -> trees.Ref | trees.Tree:
        op = vertex.op
        if isinstance(op, graph.Image):
            self.pin(op.top)
            self._watcher.done(vertex, cached=True)
            return trees.Ref(f"image:{op.top}", snapshot=op.top)
        if isinstance(op, graph.Local | graph.Download | graph.Checkout):
            return await self._source(vertex)
        definition = await self._definition(vertex)
        plain = await self._plain(vertex)
        if not vertex.no_cache and (record := await self._known_record(definition)) is not None:
            return await self._hit(vertex, record)
        inputs = await self._all([self._input(one) for one in vertex.inputs])
        content = await self._content_key(vertex, inputs)
        keys = [definition, plain, content]
        if vertex.no_cache:
            # Made anew; for the next build it is what there is in the cache.
            content = cache.new_id()
        else:
            if (record := self._cache.find(content)) is not None:
                self.pin(record.snapshot)
                for key in (definition, plain):
                    await self._cache.alias(key, record)
                return await self._hit(vertex, record)
        reason = await self._why(vertex)
        self._watcher.started(vertex)
        try:
            ref = await self._jobs.run(
                content,
                lambda job: self._make(vertex, inputs, keys, job),
                lambda stream, data: self._watcher.log(vertex, stream, data),
            )
        except asyncio.CancelledError:
            self._watcher.done(vertex, error="cancelled")
            raise
        except errdefs.FirkinError as error:
            self._watcher.done(vertex, error=str(error))
            if isinstance(error, StepFailed):
                raise
            code = getattr(error, "code", 0)
            raise StepFailed(vertex, str(error), code) from error
        self.pin(ref.snapshot)
        self._watcher.done(vertex, why=reason)
        return ref

    async def _known_record(self, definition: str) -> cache.Record | None:
        """The record of a definition key, here or in an imported cache."""
        record = self._cache.find(definition)
        for one in self.imported:
            if record is None:
                record = await one.find(definition)
        return record

    async def _hit(self, vertex: graph.Vertex, record: cache.Record) -> trees.Ref:
        self.pin(record.snapshot)
        self.cached.add(vertex)
        for one in graph.ancestors([vertex]):
            if one not in self.cached and one not in self._results:
                self.cached.add(one)
                self._watcher.done(one, cached=True)
        self._watcher.done(vertex, cached=True, why=await self._why(vertex, hit=True))
        return trees.Ref(record.id, record=record)

    async def _input(self, vertex: graph.Vertex | None) -> trees.Ref | trees.Tree:
        return trees.SCRATCH if vertex is None else await self._result(vertex)

    async def _all(self, work: list[Any]) -> list[Any]:
        """All of them; the first failure is raised at once."""
        if len(work) == 1:
            return [await work[0]]
        return list(await asyncio.gather(*work))

    async def _make(
        self, vertex: graph.Vertex, inputs: list[Any], keys: list[str], job: Job
    ) -> trees.Ref:
        parent = inputs[0]
        async with self._jobs.slots:
            begun = time.time()
            made = await self._workshop.run(
                vertex.op, inputs, self._request, self._limits, job.output,
                lambda key: job.held.enter_context(self._cache.pinned(key)),
            )  # fmt: skip
        if made is None:
            # Nothing changed: the parent itself is the result.
            if parent.record is not None:
                for key in keys:
                    await self._cache.alias(key, parent.record)
                return trees.Ref(parent.id, record=parent.record)
            snapshot, size = parent.snapshot, 0
        else:
            snapshot, size = made
        record = cache.Record(
            id=cache.new_id(), kind=cache.REGULAR, snapshot=snapshot, parent=parent.id,
            description=vertex.name, created=begun, used=begun, uses=1, size=size,
        )  # fmt: skip
        await self._cache.add(record, keys)
        return trees.Ref(record.id, record=record)

    # Sources

    async def _source(self, vertex: graph.Vertex) -> trees.Tree:
        op = vertex.op
        self._watcher.started(vertex)
        try:
            if isinstance(op, graph.Local):
                named = self._request.contexts.get(op.name) if op.name else self._request.context
                if named is None or not isinstance(named, request.Context):
                    raise errdefs.InvalidParameter(
                        f"there is no context {op.name!r} to copy from" if op.name else
                        "the Dockerfile copies files, but the build has no context"
                    )  # fmt: skip
                tree = await named.open()
                self._stack.push_async_callback(named.close)
            elif isinstance(op, graph.Download):
                tree = await self._stack.enter_async_context(
                    sources.download(self._workshop, op, self._request.secrets)
                )
            else:
                assert isinstance(op, graph.Checkout)
                tree = await self._stack.enter_async_context(
                    sources.checkout(self._workshop, op, self._request)
                )
        except errdefs.FirkinError as error:
            self._watcher.done(vertex, error=str(error))
            raise StepFailed(vertex, str(error)) from error
        self._watcher.done(vertex)
        return tree

    # Keys

    async def _plain(self, vertex: graph.Vertex) -> str:
        """The definition key without what keeps this build from using the cache."""
        return await self._definition(vertex, False)

    async def _definition(self, vertex: graph.Vertex, salted: bool = True) -> str:
        """The definition key; those of steps that are not to come from the cache, and of all that
        follow from them, are this build's own (``salted``)."""
        salted = salted and self._salted
        task = self._definitions.get((vertex, salted))
        if task is None:
            work = self._define(vertex, salted)
            task = self._definitions[vertex, salted] = self._tasks.spawn_quiet(
                work, f"key of {vertex.name}"
            )
        return await asyncio.shield(task)

    async def _define(self, vertex: graph.Vertex, salted: bool) -> str:
        op = vertex.op
        if isinstance(op, graph.Image):
            return f"image:{op.top}"
        if isinstance(op, graph.Local | graph.Download | graph.Checkout):
            return ""  # known by the files that are taken from it
        known = await self._all([self._known(one, salted) for one in vertex.inputs])
        parts = {
            "op": op.definition(),
            "inputs": known,
            "files": await self._files(vertex),
        }
        if vertex.no_cache and salted:
            parts["salt"] = self._salt
        if vertex.place and salted == self._salted:
            self._traces[vertex.place] = await self._trace(vertex, parts)
        return cache.key_of(parts)

    async def _known(self, vertex: graph.Vertex | None, salted: bool) -> str:
        return "scratch" if vertex is None else await self._definition(vertex, salted)

    async def _files(self, vertex: graph.Vertex) -> list[str]:
        """Digests of what the vertex takes from sources that are only known by their files."""
        found: list[str] = []
        for index, patterns, exclude in taken(vertex.op):
            source = vertex.inputs[index]
            if source is not None and isinstance(
                source.op, graph.Local | graph.Download | graph.Checkout
            ):
                tree = await self._result(source)
                assert isinstance(tree, trees.Tree)
                found.append((await self._digest(source, tree, patterns, exclude, vertex.op))[0])
        return found

    async def _digest(
        self, source: graph.Vertex, tree: trees.Tree, patterns: list[str], exclude: list[str],
        op: graph.Source | graph.Step,
    ) -> tuple[str, dict[str, str]]:  # fmt: skip
        key = (source, tuple(patterns), tuple(exclude))
        if key not in self._digests:
            what = "ADD" if isinstance(op, graph.Copy) and any(
                one.unpack for one in op.sources) else "COPY"  # fmt: skip

            def work() -> tuple[str, dict[str, str]]:
                rules = ignorefile.Ignore(exclude) if exclude else None
                files: dict[str, str] = {}
                chosen = [m for one in patterns for m in select.matches(tree, one, what=what)]
                return select.digest(tree, chosen, rules, files), files

            self._digests[key] = await asyncio.to_thread(work)
        return self._digests[key]

    async def _content_key(self, vertex: graph.Vertex, inputs: list[Any]) -> str:
        """The key by what the inputs are, whatever they were made by."""
        op = vertex.op
        assert not isinstance(op, graph.Source)
        found: list[str] = []
        selected = {index: (patterns, exclude) for index, patterns, exclude in taken(op)}
        for index, value in enumerate(inputs):
            source = vertex.inputs[index]
            if index in selected and source is not None:
                patterns, exclude = selected[index]
                async with self._tree(value) as tree:
                    digest, _ = await self._digest(source, tree, patterns, exclude, op)
                found.append(digest)
            elif isinstance(value, trees.Ref):
                found.append(value.id)
        return cache.key_of({"op": op.definition(), "content": found})

    @contextlib.asynccontextmanager
    async def _tree(self, value: trees.Ref | trees.Tree) -> AsyncIterator[trees.Tree]:
        if isinstance(value, trees.Tree):
            yield value
            return
        async with self._workshop.trees.view(value) as path:
            yield trees.Tree(root=path, owners=True)

    # Why

    async def _trace(self, vertex: graph.Vertex, parts: dict[str, Any]) -> dict[str, Any]:
        before = await self._cache.trace(vertex.place)
        files: dict[str, str] = {}
        for (source, _, _), (_, names) in self._digests.items():
            if source in vertex.inputs:
                files.update(names)
        now = why.parts(vertex, parts, files)
        self._reasons[vertex] = why.compare(before, now)
        return now

    async def _why(self, vertex: graph.Vertex, *, hit: bool = False) -> str:
        if hit:
            return "nothing that it depends on has changed"
        if vertex.no_cache:
            return "the cache is not to be used (--no-cache)"
        return self._reasons.get(vertex, "")


def taken(op: graph.Source | graph.Step) -> list[tuple[int, list[str], list[str]]]:
    """Which paths of which input an operation reads: index, patterns, exclusions."""
    if isinstance(op, graph.Copy):
        return [(one.input, one.patterns, op.exclude) for one in op.sources]
    if isinstance(op, graph.Run):
        return [(m.input, [m.source], []) for m in op.mounts if m.input > 0 and m.type == "bind"]
    return []
