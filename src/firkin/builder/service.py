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
import os
import time
from typing import Any

import msgspec

from firkin import errdefs, reference
from firkin.builder import (
    attest,
    cache,
    cachefiles,
    cachist,
    contextstore,
    executor,
    exporters,
    graph,
    imaging,
    plan,
    progress,
    prune,
    request,
    select,
    solver,
    stages,
    steps,
    trees,
)
from firkin.builder.dockerfile import errors, instructions, lint, parser
from firkin.images import platforms
from firkin.images import service as images
from firkin.linux import regular, tasks
from firkin.types import image as types
from firkin.wire import ignorefile

_MAX_IGNORE = 1 << 20


class Result(msgspec.Struct):
    """What a build made: the image (None for outputs without one) and metadata about it."""

    image: types.Image | None
    metadata: dict[str, Any]
    warnings: list[lint.Warning]


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
        self._imager = imaging.Imager(self.workshop, store.catalog, store.layers)
        self._cachist = cachist.Cachist(self.workshop, self._imager, store, self.shelf)
        self._builds: dict[str, asyncio.Task[Any]] = {}
        self._tasks = tasks.Tasks("builds")

    async def start(self) -> None:
        """Remove what an earlier engine left half done."""

        def work() -> None:
            self.trees.clean()
            self.workshop.mounts.clean()
            self.contexts.clean()
            self.shelf.clean()

        await asyncio.to_thread(work)

    async def close(self) -> None:
        """End all builds."""
        await self._tasks.close()
        await self._jobs.close()
        await self.shelf.close()
        await self.cache.sizes.close()

    async def build(
        self, wanted: request.Request, watcher: progress.Watcher, *, build_id: str = ""
    ) -> Result:
        """Do a build. Raises ``DockerfileError``, ``StepFailed`` and what else went wrong.

        Cancelled, or with :meth:`cancel`, it leaves nothing but complete results in the cache.
        """
        task = self._tasks.spawn_quiet(self._build(wanted, watcher), f"build {build_id}")
        if build_id:
            self._builds[build_id] = task
        try:
            return await asyncio.shield(task)
        except asyncio.CancelledError:
            if task.cancelled():
                raise errdefs.Cancelled("the build was cancelled") from None
            task.cancel()
            await asyncio.wait([task])
            raise
        finally:
            if build_id and self._builds.get(build_id) is task:
                del self._builds[build_id]

    async def cancel(self, build_id: str) -> None:
        """End the build of that id. One that has ended, or never was, is fine."""
        task = self._builds.get(build_id)
        if task is not None:
            task.cancel()
            await asyncio.wait([task])

    async def _build(self, wanted: request.Request, watcher: progress.Watcher) -> Result:
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
            text, ignored = await self._dockerfile(wanted)
            try:
                file = instructions.load(text)
                for found in lint.check(file, text, ignored, wanted.args):
                    warn(found.rule, found.message, found.line)
                done = await self._planned(wanted, file, watcher, warn, stack)
            except errors.DockerfileError as error:
                raise error.shown(wanted.filename, text) from error
            done.warnings = warnings
            return done

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
        return msgspec.structs.replace(wanted, context=context)

    async def _dockerfile(self, wanted: request.Request) -> tuple[str, ignorefile.Ignore | None]:
        tree = wanted.context.tree if isinstance(wanted.context, _Opened) else None
        data = wanted.dockerfile
        if data is None:
            if tree is None:
                raise errdefs.InvalidParameter("there is neither a Dockerfile nor a context")
            data = await asyncio.to_thread(_read, tree.root, wanted.filename)
        if not data.strip():
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

    async def _planned(
        self, wanted: request.Request, file: instructions.Dockerfile, watcher: progress.Watcher,
        warn: Any, stack: contextlib.AsyncExitStack,
    ) -> Result:  # fmt: skip
        for name in wanted.allow:
            if name not in ("network.host", "security.insecure"):
                raise errdefs.InvalidParameter(f"unknown entitlement {name!r} in --allow")
        begun = time.time()
        plans = self._plans(wanted, file, warn)
        built = [await one.build() for one in plans]
        for name in plan.unconsumed(wanted, plans):
            watcher.message(f"[Warning] One or more build-args [{name}] were not consumed")
        limits = graph.Limits(host=wanted.host, insecure="security.insecure" in wanted.allow)
        solved = solver.Solver(self.workshop, self._jobs, wanted, watcher, limits)
        stack.push_async_callback(solved.close)
        for source in wanted.cache_from:
            await self._cachist.open(wanted, source, solved, watcher)
        watcher.planned(
            graph.ancestors([b.vertex for b in built if b.vertex is not None]),
            [line for one in plans for line in one.outline()],
        )
        await asyncio.gather(*(solved.solve(b.vertex) for b in built if b.vertex is not None))
        return await self._export(wanted, plans, built, solved, watcher, begun)

    async def _export(
        self, wanted: request.Request, plans: list[plan.Plan], built: list[stages.Built],
        solved: solver.Solver, watcher: progress.Watcher, begun: float,
    ) -> Result:  # fmt: skip
        names = list(dict.fromkeys(
            str(reference.combine(name)) for out in wanted.outputs for name in out.names
        ))  # fmt: skip
        stored = [str(reference.combine(n)) for out in wanted.outputs if out.stored
                  for n in out.names]  # fmt: skip
        needs_image = any(out.type not in ("tar", "local", "cacheonly") for out in wanted.outputs)
        metadata: dict[str, Any] = {}
        outputs: list[dict[str, str]] = []
        parts: list[exporters.Part] = []
        async with self._images.collector.lease():
            if needs_image:
                here = _native(plans)
                for one, planned in zip(built, plans, strict=True):
                    mine = stored if planned is here else []
                    adorn = await self._cachist.inline(wanted, one, solved)
                    image = await self._imager.image(one, solved, mine, wanted.epoch, adorn)
                    ref = trees.SCRATCH
                    if one.vertex is not None:
                        ref = await solved.solve(one.vertex)
                    part = exporters.Part(image, ref, planned.platform)
                    if wanted.attests:
                        await self._attest(wanted, part, one, names, begun)
                    parts.append(part)
                metadata = await self._describe(wanted, parts, names)
            else:
                for one, planned in zip(built, plans, strict=True):
                    ref = trees.SCRATCH
                    if one.vertex is not None:
                        ref = await solved.solve(one.vertex)
                    parts.append(exporters.Part(_NO_IMAGE, ref, planned.platform))
            outputs += await self._cachist.keep(wanted, built, solved)
            for out in wanted.outputs:
                if out.fetched:
                    outputs.append(await self._shelve(wanted, out, parts, names))
            for out in wanted.outputs:
                if out.pushed:
                    await self._push(wanted, out, parts, watcher)
        if outputs:
            metadata["firkin.outputs"] = outputs
        native = next((p for p, one in zip(parts, plans, strict=True) if one is _native(plans)),
                      parts[0] if parts else None)  # fmt: skip
        return Result(native.image if needs_image and native is not None else None, metadata, [])

    async def _describe(
        self, wanted: request.Request, parts: list[exporters.Part], names: list[str]
    ) -> dict[str, Any]:
        image = parts[0].image
        digest, media = image.manifest, types.MEDIA_OCI_MANIFEST
        if len(parts) > 1 or any(part.attached for part in parts) or wanted.annotations:
            top = await asyncio.to_thread(
                exporters.index_of, self._images.content, self._images.catalog, parts,
                wanted.annotations,
            )  # fmt: skip
            digest, media = top.digest, top.media_type
        found: dict[str, Any] = {
            "containerimage.config.digest": image.id,
            "containerimage.descriptor": {"mediaType": media, "digest": digest},
            "containerimage.digest": digest,
        }
        if names:
            found["image.name"] = ",".join(names)
        return found

    async def _attest(
        self, wanted: request.Request, part: exporters.Part, built: stages.Built, names: list[str],
        begun: float,
    ) -> None:  # fmt: skip
        platform = stages.shown(part.platform)
        statements: list[dict[str, Any]] = []
        moment = float(wanted.epoch) if wanted.epoch is not None else time.time()
        if mode := wanted.attests.get("provenance"):
            vertices = graph.ancestors([built.vertex] if built.vertex is not None else [])
            statements.append(attest.provenance(
                wanted, part.image, names, platform, vertices, built.base, full=mode == "max",
                begun=begun, ended=time.time(),
            ))  # fmt: skip
        if wanted.attests.get("sbom"):
            async with self.trees.view(part.ref) as root:
                statements.append(await asyncio.to_thread(
                    attest.sbom, root, part.image, names, platform, moment))  # fmt: skip
        if statements:
            part.attached.append(await asyncio.to_thread(
                exporters.attach, self._images.content, part.image, statements, part.platform
            ))  # fmt: skip

    async def _shelve(
        self, wanted: request.Request, out: request.Output, parts: list[exporters.Part],
        names: list[str],
    ) -> dict[str, str]:  # fmt: skip
        """Write an output for the client to fetch."""
        async with self.shelf.place() as (token, path):
            if out.type in ("tar", "local"):
                await exporters.write_rootfs(self.trees, parts, path, wanted.epoch)
            else:
                wanted_names = names
                if name := out.options.get("name"):
                    wanted_names = [str(reference.combine(one)) for one in name.split(",")]
                await exporters.write_archive(
                    self._images, parts, wanted_names, path, docker=out.type == "docker",
                    annotations=wanted.annotations,
                )  # fmt: skip
        return {"type": out.type, "dest": out.options.get("dest", "-"), "token": token}

    async def _push(
        self, wanted: request.Request, out: request.Output, parts: list[exporters.Part],
        watcher: progress.Watcher,
    ) -> None:  # fmt: skip
        names = out.names or [one for one in out.options.get("name", "").split(",") if one]
        if not names:
            raise errdefs.InvalidParameter("cannot push an image without a name: give it one (-t)")
        index: types.Descriptor | None = None
        if len(parts) > 1 or any(part.attached for part in parts) or wanted.annotations:
            index = await asyncio.to_thread(
                exporters.index_of, self._images.content, self._images.catalog, parts,
                wanted.annotations,
            )  # fmt: skip
        for name in names:
            target = reference.combine(name)
            who = await wanted.keys.get(target.domain)
            if index is not None:
                await cachefiles.push(
                    self._images.carrier, self._images.content, index, str(target), who
                )
                watcher.message(f"pushed {target.familiar}: digest: {index.digest}")
                continue

            def say(message: dict[str, Any]) -> None:
                if text := message.get("status"):
                    identity = f"{message['id']}: " if message.get("id") else ""
                    if not message.get("progressDetail"):
                        watcher.message(f"{identity}{text}")

            await self._images.push(str(target), credentials=who, progress=say)

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

    async def usage(self) -> list[dict[str, Any]]:
        """The build cache as the Engine API shows it."""
        return prune.usage(self.cache, self._images.catalog, await self.sizes())


_NO_IMAGE = types.Image(id="", manifest="", config=types.ImageConfig(), top="", size=0)


def _native(plans: list[plan.Plan]) -> plan.Plan:
    """The plan whose image gets the names in the store: the host's platform, else the first."""
    here = platforms.host()
    for one in plans:
        if (one.platform.os, one.platform.architecture) == (here.os, here.architecture):
            return one
    return plans[0]


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
