"""From a Dockerfile to a graph and an image config: what the instructions mean.

A :class:`Plan` is for one target platform. Stages are planned when something needs them, so what
the target does not reach is never looked at; images are resolved on the way, because their
environment and their ONBUILD triggers decide what later instructions mean. Nothing is run or
copied here.

Variables: ARGs of a stage (build arguments win over defaults; a bare ``ARG X`` takes the global
one), then the ENV of the image and the stage over them.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Protocol

import msgspec

from firkin import errdefs, reference
from firkin.builder import dispatch, graph, progress, request
from firkin.builder.stages import Built, Line, State, copied, shown
from firkin.dockerfile import errors, instructions
from firkin.images import platforms
from firkin.linux import tasks
from firkin.types import image as types
from firkin.types import shell

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_OWN = ("BUILDKIT_",)
COMMENT = "buildkit.dockerfile.v0"


class Images(Protocol):
    """Base images by name."""

    async def resolve(
        self, name: str, platform: types.Platform, wanted: request.Request
    ) -> types.Image:
        """The image, from the store or a registry as the request says. Raises ``NotFound``."""
        ...


class Plan(dispatch.Dispatch):
    """Plans the stages of a Dockerfile for one platform."""

    def __init__(
        self,
        file: instructions.Dockerfile,
        wanted: request.Request,
        images: Images,
        platform: types.Platform,
        warn: Callable[[str, str, int], None],
    ) -> None:
        super().__init__(wanted, platform, file.parsed.escape, warn)
        self._file = file
        self._images = images
        self._stages: dict[int, asyncio.Task[State]] = {}
        self._contexts: dict[str, graph.Vertex] = {}
        self._resolved: dict[tuple[str, str], asyncio.Task[types.Image]] = {}
        self._tasks = tasks.Tasks("plan")
        self._outline: dict[int, list[progress.Outlined]] = {}
        self.target = self._target()
        here = platforms.host()
        self._platform_args = {
            **_platform_args("TARGET", platform), **_platform_args("BUILD", here),
            "TARGETSTAGE": wanted.target or "default",
        }  # fmt: skip
        self._global = self._globals()

    def _target(self) -> int:
        name = self._wanted.target
        if not name:
            return len(self._file.stages) - 1
        for stage in reversed(self._file.stages):
            if stage.head.name == name.lower():
                return stage.index
        if name.isdigit() and int(name) < len(self._file.stages):
            return int(name)
        known = [stage.head.name for stage in self._file.stages if stage.head.name]
        raise errdefs.InvalidParameter(
            f"target stage {name!r} could not be found{errors.nearest(name, known)}: "
            f"failed to reach build target {name} in Dockerfile"
        )

    def _globals(self) -> dict[str, str]:
        known = dict(self._platform_args)
        for one in self._file.args:
            for name, default in one.pairs:
                if name in self._wanted.args:
                    known[name] = self._wanted.args[name]
                    self.consumed.add(name)
                elif default is not None:
                    known[name] = self._word(default, known, one)
        return known

    async def build(self) -> Built:
        """The target stage. Raises ``DockerfileError`` and what resolving images raises."""
        try:
            state = await self._stage(self.target)
        finally:
            await self._tasks.close()
        run = state.run
        if self._wanted.labels:
            run.labels = {**(run.labels or {}), **self._wanted.labels}
        return Built(state.vertex, state.image, state.lines, state.base)

    def outline(self) -> list[progress.Outlined]:
        """The instructions of the stages that were planned, in the file's order."""
        return [one for index in sorted(self._outline) for one in self._outline[index]]

    # Stages

    async def _stage(self, index: int) -> State:
        task = self._stages.get(index)
        if task is None:
            task = self._stages[index] = self._tasks.spawn_quiet(self._go(index), f"stage {index}")
        return await asyncio.shield(task)

    def _label(self, stage: instructions.Stage, number: int, total: int) -> str:
        name = stage.head.name or (f"stage-{stage.index}" if len(self._file.stages) > 1 else "")
        parts = [name] if name else []
        if len(self._wanted.platforms) > 1:
            parts.insert(0, shown(self.platform))
        return " ".join(["[" + " ".join([*parts, f"{number}/{total}"]) + "]"])

    async def _go(self, index: int) -> State:
        stage = self._file.stages[index]
        state = await self._from(stage)
        outline = [progress.Outlined(stage.head.text, None)]
        self._outline[index] = outline
        body: list[instructions.Instruction] = []
        for trigger in state.run.on_build or []:
            try:
                body += instructions.triggers(trigger, self._escape)
            except errors.DockerfileError as error:
                raise self._failed(
                    stage.head, f"the ONBUILD trigger {trigger[:200]!r} of the base image: {error}"
                ) from error
        for one in body:
            one.node = msgspec.structs.replace(
                one.node, first=stage.head.node.first, last=stage.head.node.last
            )
        state.run.on_build = None
        body += stage.body
        working = (instructions.Run, instructions.Copy)
        total = 1 + sum(isinstance(one, working) or one.node.keyword == "WORKDIR" for one in body)
        number = 1
        for one in body:
            if isinstance(one, working) or one.node.keyword == "WORKDIR":
                number += 1
            name = f"{self._label(stage, number, total)} {dispatch.title(one)}"
            before = state.vertex
            await self._do(state, stage, one, name, number)
            made = state.vertex if state.vertex is not before else None
            outline.append(progress.Outlined(dispatch.title(one), made))
        return state

    async def _from(self, stage: instructions.Stage) -> State:
        head = stage.head
        platform = self.platform
        if head.platform:
            text = self._word(head.platform, self._global, head)
            if not text:
                raise self._failed(head, f"empty platform value from {head.platform!r}")
            try:
                platform = platforms.parse(text)
            except errdefs.InvalidParameter as error:
                raise self._failed(head, f"failed to parse platform: {error}") from error
        name = self._word(head.base, self._global, head)
        if not name:
            raise self._failed(head, f"base name ({head.base}) should not be blank")
        named = self._named(name)
        if named is not None:
            return await self._from_context(stage, name, named, platform)
        if (earlier := self._earlier(name, stage.index)) is not None and not name.isdigit():
            base = await self._stage(earlier)
            built = Built(base.vertex, copied(base.image), base.lines, base.base)
            state = State(built, base.args, base.platform)
            state.shown_args = list(base.shown_args)
            return state
        if name == "scratch":
            config = types.ImageConfig(
                os=platform.os, architecture=platform.architecture, variant=platform.variant,
                config=types.RunConfig(env=[f"PATH={DEFAULT_PATH}"], working_dir="/"),
            )  # fmt: skip
            return State(Built(None, config, [], None), {}, platform)
        return await self._from_image(stage, name, platform)

    async def _from_image(
        self, stage: instructions.Stage, name: str, platform: types.Platform,
        named: request.ImageContext | request.Layout | None = None,
    ) -> State:  # fmt: skip
        if isinstance(named, request.ImageContext):
            name = named.reference
        found = await self._resolve(name, platform, stage.head, named)
        label = self._label(stage, 1, 1 + sum(
            isinstance(one, instructions.Run | instructions.Copy)
            or one.node.keyword == "WORKDIR" for one in stage.body))  # fmt: skip
        vertex = self._image_vertex(found, name, label)
        config = copied(found.config)
        config.config.env = config.config.env or []
        if "PATH" not in shell.as_dict(config.config.env):
            config.config.env.append(f"PATH={DEFAULT_PATH}")
        config.rootfs, config.history = types.RootFS(), []
        return State(Built(vertex, config, [], found), {}, platform)

    def _image_vertex(self, found: types.Image, name: str, label: str) -> graph.Vertex | None:
        if not found.top:
            return None
        return graph.Vertex(
            graph.Image(name=name, top=found.top), name=f"{label} FROM {name}".strip()
        )

    async def _from_context(
        self, stage: instructions.Stage, name: str, named: request.Named,
        platform: types.Platform,
    ) -> State:  # fmt: skip
        if isinstance(named, request.ImageContext | request.Layout):
            return await self._from_image(stage, name, platform, named)
        if isinstance(named, request.Finished):
            base = named.result(platform)
            return State(
                Built(base.vertex, copied(base.config), base.lines, base.base), {}, platform
            )
        source = self._context(name)
        vertex = graph.Vertex(
            graph.Copy(sources=[graph.Paths(input=1, patterns=["/"])], inline=[], target="/"),
            (None, source), name=f"{self._label(stage, 1, 1)} FROM {name}",
        )  # fmt: skip
        config = types.ImageConfig(
            os=platform.os, architecture=platform.architecture, variant=platform.variant,
            config=types.RunConfig(env=[f"PATH={DEFAULT_PATH}"], working_dir="/"),
        )  # fmt: skip
        built = Built(vertex, config, [Line(f"FROM {name}", vertex)], None)
        return State(built, {}, platform)

    def _earlier(self, name: str, before: int) -> int | None:
        for stage in reversed(self._file.stages[:before]):
            if stage.head.name and stage.head.name == name.lower():
                return stage.index
        if name.isdigit() and int(name) < before:
            return int(name)
        return None

    def _named(self, name: str) -> request.Named | None:
        found = self._wanted.contexts.get(name)
        if found is not None:
            return found
        try:
            canonical = str(reference.parse(name).tagged())
        except errdefs.InvalidParameter:
            return None
        for key, value in self._wanted.contexts.items():
            try:
                if "/" in key and str(reference.parse(key).tagged()) == canonical:
                    return value
            except errdefs.InvalidParameter:
                continue
        return None

    async def _resolve(
        self, name: str, platform: types.Platform, owner: instructions.Instruction,
        named: request.ImageContext | request.Layout | None = None,
    ) -> types.Image:  # fmt: skip
        layout = named if isinstance(named, request.Layout) else None
        key = (f"layout {name}" if layout is not None else name, shown(platform))
        task = self._resolved.get(key)
        if task is None:
            if layout is not None:
                work = layout.image(platform)
            else:
                work = self._images.resolve(name, platform, self._wanted)
            task = self._resolved[key] = self._tasks.spawn_quiet(work, f"resolve {name}")
        try:
            return await asyncio.shield(task)
        except errdefs.InvalidParameter as error:
            raise self._failed(owner, str(error)) from error

    def _context(self, name: str) -> graph.Vertex:
        if name not in self._contexts:
            title = f"[context {name}] load" if name else "[internal] load build context"
            self._contexts[name] = graph.Vertex(graph.Local(name=name), name=title)
        return self._contexts[name]

    async def _source(
        self, name: str, stage: instructions.Stage, state: State, owner: instructions.Instruction
    ) -> graph.Vertex | None:
        """What ``from=`` names: a named context, a stage, its number, or an image."""
        named = self._named(name)
        if isinstance(named, request.ImageContext):
            found = await self._resolve(named.reference, state.platform, owner)
            return self._image_vertex(found, named.reference, "")
        if isinstance(named, request.Layout):
            found = await self._resolve(name, state.platform, owner, named)
            return self._image_vertex(found, name, "")
        if isinstance(named, request.Finished):
            return named.result(state.platform).vertex
        if named is not None:
            return self._context(name)
        earlier = self._earlier(name, stage.index)
        if earlier is not None:
            return (await self._stage(earlier)).vertex
        if name == "scratch":
            return None
        if name.lower() == stage.head.name or (name.isdigit() and int(name) <= stage.index):
            raise self._failed(owner, f"invalid from flag value {name}: refers to current build "
                                      "stage")  # fmt: skip
        later = [one.head.name for one in self._file.stages if one.head.name == name.lower()]
        if later or name.isdigit():
            raise self._failed(
                owner, f"invalid from flag value {name}: the stage is not before this one"
            )
        found = await self._resolve(name, state.platform, owner)
        return self._image_vertex(found, name, "")


def _platform_args(prefix: str, platform: types.Platform) -> dict[str, str]:
    return {
        f"{prefix}PLATFORM": shown(platform), f"{prefix}OS": platform.os,
        f"{prefix}ARCH": platform.architecture, f"{prefix}VARIANT": platform.variant,
    }  # fmt: skip


def unconsumed(wanted: request.Request, plans: list[Plan]) -> list[str]:
    """Build arguments that no ARG has asked for."""
    used = set().union(*(plan.consumed for plan in plans)) if plans else set()
    return sorted(
        name for name in wanted.args
        if name not in used and name not in dispatch.PROXIES and not name.startswith(_OWN)
        and name != "SOURCE_DATE_EPOCH"
    )  # fmt: skip
