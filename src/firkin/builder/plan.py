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
import os
import posixpath
import urllib.parse
from collections.abc import Callable
from typing import Protocol

import msgspec

from firkin import errdefs, reference
from firkin.builder import graph, progress, request, sources
from firkin.builder.dockerfile import errors, instructions, mounts, shell
from firkin.builder.dockerfile.words import exposed, stop_signal
from firkin.images import platforms
from firkin.linux import tasks
from firkin.types import image as types

DEFAULT_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
PROXIES = tuple(
    name for upper in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (upper, upper.lower())
)  # fmt: skip
_NO_WARNING = frozenset({"PATH", "HOME", "HOSTNAME", "SOURCE_DATE_EPOCH", *PROXIES})
_OWN = ("BUILDKIT_",)
COMMENT = "buildkit.dockerfile.v0"
SCRIPT = "/dev/pipes/script"


class Images(Protocol):
    """Base images by name."""

    async def resolve(
        self, name: str, platform: types.Platform, wanted: request.Request
    ) -> types.Image:
        """The image, from the store or a registry as the request says. Raises ``NotFound``."""
        ...


class Line(msgspec.Struct):
    """A line of the history to be: what made it, and the step whose layer it is, if any."""

    created_by: str
    vertex: graph.Vertex | None = None
    author: str = ""


class Built(msgspec.Struct):
    """What a stage is: its last step, its config (without layers and history), its own lines.

    ``base`` is the image that its lowest step is from, None for scratch.
    """

    vertex: graph.Vertex | None
    config: types.ImageConfig
    lines: list[Line]
    base: types.Image | None


class _State:
    """A stage while its instructions are gone through."""

    def __init__(self, built: Built, args: dict[str, str], platform: types.Platform) -> None:
        self.vertex = built.vertex
        self.image = built.config
        self.lines = list(built.lines)
        self.base = built.base
        self.args = dict(args)
        self.platform = platform
        self.shown_args: list[str] = []
        self.command_set = False

    @property
    def run(self) -> types.RunConfig:
        return self.image.config

    @property
    def env(self) -> dict[str, str]:
        return shell.as_dict(self.run.env or [])

    def variables(self) -> dict[str, str]:
        return {**self.args, **self.env}


def _copy(config: types.ImageConfig) -> types.ImageConfig:
    return msgspec.json.decode(msgspec.json.encode(config), type=types.ImageConfig)


def shown(platform: types.Platform) -> str:
    """``os/arch[/variant]``."""
    return "/".join(part for part in (platform.os, platform.architecture, platform.variant) if part)


class Plan:
    """Plans the stages of a Dockerfile for one platform."""

    def __init__(
        self,
        file: instructions.Dockerfile,
        wanted: request.Request,
        images: Images,
        platform: types.Platform,
        warn: Callable[[str, str, int], None],
    ) -> None:
        self._file = file
        self._wanted = wanted
        self._images = images
        self.platform = platform
        self._warn = warn
        self._escape = file.parsed.escape
        self._stages: dict[int, asyncio.Task[_State]] = {}
        self._contexts: dict[str, graph.Vertex] = {}
        self._resolved: dict[tuple[str, str], asyncio.Task[types.Image]] = {}
        self._tasks = tasks.Tasks("plan")
        self._outline: dict[int, list[progress.Outlined]] = {}
        self.consumed: set[str] = set()
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

    # Words

    def _word(self, text: str, variables: dict[str, str], owner: instructions.Instruction) -> str:
        expander = shell.Expander(variables, self._escape)
        try:
            value = expander.word(text)
        except ValueError as error:
            raise self._failed(owner, f"failed to process {text!r}: {error}") from error
        self._missing(expander, variables, owner)
        return value

    def _many(
        self, text: str, variables: dict[str, str], owner: instructions.Instruction
    ) -> list[str]:
        expander = shell.Expander(variables, self._escape)
        try:
            value = expander.words(text)
        except ValueError as error:
            raise self._failed(owner, f"failed to process {text!r}: {error}") from error
        self._missing(expander, variables, owner)
        return value

    def _missing(
        self, expander: shell.Expander, variables: dict[str, str],
        owner: instructions.Instruction,
    ) -> None:  # fmt: skip
        for name in expander.missing:
            if name in _NO_WARNING or not owner.node.first:
                continue
            if isinstance(owner, instructions.From):
                self._warn(
                    "UndefinedArgInFrom",
                    f"FROM argument '{name}' is not declared"
                    f"{errors.nearest(name, self._global)}", owner.node.first,
                )  # fmt: skip
            else:
                self._warn(
                    "UndefinedVar",
                    f"Usage of undefined variable '${name}'{errors.nearest(name, variables)}",
                    owner.node.first,
                )

    def _failed(self, owner: instructions.Instruction, reason: str) -> errors.DockerfileError:
        return errors.DockerfileError(reason, owner.node.first, owner.node.last)

    # Stages

    async def _stage(self, index: int) -> _State:
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

    async def _go(self, index: int) -> _State:
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
            name = f"{self._label(stage, number, total)} {_title(one)}"
            before = state.vertex
            await self._do(state, stage, one, name, number)
            made = state.vertex if state.vertex is not before else None
            outline.append(progress.Outlined(_title(one), made))
        return state

    async def _from(self, stage: instructions.Stage) -> _State:
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
            built = Built(base.vertex, _copy(base.image), base.lines, base.base)
            state = _State(built, base.args, base.platform)
            state.shown_args = list(base.shown_args)
            return state
        if name == "scratch":
            config = types.ImageConfig(
                os=platform.os, architecture=platform.architecture, variant=platform.variant,
                config=types.RunConfig(env=[f"PATH={DEFAULT_PATH}"], working_dir="/"),
            )  # fmt: skip
            return _State(Built(None, config, [], None), {}, platform)
        return await self._from_image(stage, name, platform)

    async def _from_image(
        self, stage: instructions.Stage, name: str, platform: types.Platform
    ) -> _State:
        found = await self._resolve(name, platform, stage.head)
        label = self._label(stage, 1, 1 + sum(
            isinstance(one, instructions.Run | instructions.Copy)
            or one.node.keyword == "WORKDIR" for one in stage.body))  # fmt: skip
        vertex = self._image_vertex(found, name, label)
        config = _copy(found.config)
        config.config.env = config.config.env or []
        if "PATH" not in shell.as_dict(config.config.env):
            config.config.env.append(f"PATH={DEFAULT_PATH}")
        config.rootfs, config.history = types.RootFS(), []
        return _State(Built(vertex, config, [], found), {}, platform)

    def _image_vertex(self, found: types.Image, name: str, label: str) -> graph.Vertex | None:
        if not found.top:
            return None
        return graph.Vertex(
            graph.Image(name=name, top=found.top), name=f"{label} FROM {name}".strip()
        )

    async def _from_context(
        self, stage: instructions.Stage, name: str, named: request.Context | request.ImageContext,
        platform: types.Platform,
    ) -> _State:  # fmt: skip
        if isinstance(named, request.ImageContext):
            return await self._from_image(stage, named.reference, platform)
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
        return _State(built, {}, platform)

    def _earlier(self, name: str, before: int) -> int | None:
        for stage in reversed(self._file.stages[:before]):
            if stage.head.name and stage.head.name == name.lower():
                return stage.index
        if name.isdigit() and int(name) < before:
            return int(name)
        return None

    def _named(self, name: str) -> request.Context | request.ImageContext | None:
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
        self, name: str, platform: types.Platform, owner: instructions.Instruction
    ) -> types.Image:
        key = (name, shown(platform))
        task = self._resolved.get(key)
        if task is None:
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
        self, name: str, stage: instructions.Stage, state: _State, owner: instructions.Instruction
    ) -> graph.Vertex | None:
        """What ``from=`` names: a named context, a stage, its number, or an image."""
        named = self._named(name)
        if isinstance(named, request.ImageContext):
            found = await self._resolve(named.reference, state.platform, owner)
            return self._image_vertex(found, named.reference, "")
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

    # Instructions

    async def _do(
        self, state: _State, stage: instructions.Stage, one: instructions.Instruction, name: str,
        number: int,
    ) -> None:  # fmt: skip
        if isinstance(one, instructions.Run):
            await self._run(state, stage, one, name, number)
        elif isinstance(one, instructions.Copy):
            await self._copying(state, stage, one, name, number)
        elif isinstance(one, instructions.Arg):
            self._arg(state, one)
        elif isinstance(one, instructions.Pairs):
            self._pairs(state, one)
        elif isinstance(one, instructions.Command):
            self._command(state, one)
        elif isinstance(one, instructions.Words):
            self._words(state, one)
        elif isinstance(one, instructions.Healthcheck):
            state.run.healthcheck = one.check
            state.lines.append(Line(f"HEALTHCHECK {' '.join(one.check.test)}"))
        elif isinstance(one, instructions.OnBuild):
            state.run.on_build = [*(state.run.on_build or []), one.trigger]
            state.lines.append(Line(f"ONBUILD {one.trigger}"))
        elif isinstance(one, instructions.Text):
            self._text(state, stage, one, name, number)

    def _vertex(
        self, op: graph.Step, inputs: tuple[graph.Vertex | None, ...], name: str,
        stage: instructions.Stage, one: instructions.Instruction, number: int,
    ) -> graph.Vertex:  # fmt: skip
        skipped = [item.lower() for item in self._wanted.no_cache_filter]
        no_cache = self._wanted.no_cache or stage.name.lower() in skipped
        return graph.Vertex(
            op, inputs, name=name, no_cache=no_cache, line=one.node.first,
            last_line=one.node.last,
            place=f"{self._wanted.filename}\0{shown(self.platform)}\0{stage.name}\0{number}",
        )  # fmt: skip

    def _arg(self, state: _State, one: instructions.Arg) -> None:
        for name, default in one.pairs:
            value: str | None = None
            if name in self._wanted.args:
                value = self._wanted.args[name]
                self.consumed.add(name)
            elif default is not None:
                value = self._word(default, state.variables(), one)
            elif name in self._global:
                value = self._global[name]
            if value is not None:
                state.args[name] = value
                state.shown_args = [n for n in state.shown_args if n != name] + [name]
            written = f"{name}={value}" if default is not None and value is not None else name
            state.lines.append(Line(f"ARG {written}"))

    def _pairs(self, state: _State, one: instructions.Pairs) -> None:
        variables = state.variables()  # those from before the instruction, for all pairs
        found = [
            (self._word(key, variables, one), self._word(value, variables, one))
            for key, value in one.pairs
        ]
        said = " ".join(f"{key}={value}" for key, value in found)
        if one.node.keyword == "ENV":
            env = state.env
            for key, value in found:
                env[key] = value
            state.run.env = [f"{key}={value}" for key, value in env.items()]
        else:
            state.run.labels = {**(state.run.labels or {}), **dict(found)}
        state.lines.append(Line(f"{one.node.keyword} {said}"))

    def _shell(self, state: _State) -> list[str]:
        return state.run.shell or ["/bin/sh", "-c"]

    def _command(self, state: _State, one: instructions.Command) -> None:
        keyword = one.node.keyword
        words = one.args if one.args is not None else [*self._shell(state), one.shell]
        said = "[" + " ".join(f'"{word}"' for word in words) + "]"
        if keyword == "SHELL":
            state.run.shell = words
            said = "[" + " ".join(words) + "]"
        elif keyword == "CMD":
            state.run.cmd = words or None
            state.command_set = True
        else:
            state.run.entrypoint = words or None
            if not state.command_set:
                state.run.cmd = None
        state.lines.append(Line(f"{keyword} {said}"))

    def _words(self, state: _State, one: instructions.Words) -> None:
        variables = state.variables()
        words: list[str] = []
        for word in one.words:
            words += [self._word(word, variables, one)] if one.exact else self._many(
                word, variables, one)  # fmt: skip
        if one.node.keyword == "EXPOSE":
            try:
                ports = exposed(words)
            except ValueError as error:
                raise self._failed(one, str(error)) from error
            known = {**(state.run.exposed_ports or {}), **{port: {} for port in ports}}
            state.run.exposed_ports = known
            said = "map[" + " ".join(f"{port}:{{}}" for port in sorted(ports)) + "]"
        else:
            if "" in words:
                raise self._failed(one, "VOLUME specified can not be an empty string")
            state.run.volumes = {**(state.run.volumes or {}), **{path: {} for path in words}}
            said = "[" + " ".join(words) + "]"
        state.lines.append(Line(f"{one.node.keyword} {said}"))

    def _text(
        self, state: _State, stage: instructions.Stage, one: instructions.Text, name: str,
        number: int,
    ) -> None:  # fmt: skip
        keyword = one.node.keyword
        if keyword == "MAINTAINER":
            state.image.author = one.value
            state.lines.append(Line(f"MAINTAINER {one.value}", author=one.value))
            return
        value = self._word(one.value, state.variables(), one)
        if keyword == "USER":
            state.run.user = value
            state.lines.append(Line(f"USER {value}"))
        elif keyword == "STOPSIGNAL":
            try:
                state.run.stop_signal = stop_signal(value)
            except ValueError as error:
                raise self._failed(one, str(error)) from error
            state.lines.append(Line(f"STOPSIGNAL {value}"))
        else:
            if not posixpath.isabs(value) and not state.run.working_dir:
                self._warn(
                    "WorkdirRelativePath",
                    f"Relative workdir {value!r} can have unexpected results if the base image "
                    "changes", one.node.first,
                )  # fmt: skip
            path = posixpath.normpath(posixpath.join("/", state.run.working_dir or "/", value))
            path = "/" + path.lstrip("/")
            state.run.working_dir = path
            vertex = state.vertex
            if path != "/":
                op = graph.Directory(path=path)
                vertex = self._vertex(op, (state.vertex,), name, stage, one, number)
                state.vertex = vertex
            state.lines.append(Line(f"WORKDIR {value}", vertex if path != "/" else None))

    async def _run(
        self, state: _State, stage: instructions.Stage, one: instructions.Run, name: str,
        number: int,
    ) -> None:  # fmt: skip
        inputs: list[graph.Vertex | None] = [state.vertex]
        found: list[graph.RunMount] = []
        for at, item in enumerate(one.mounts):
            found.append(await self._mount(state, stage, one, item, inputs, at))
        text = _script(one)
        words = one.args if one.args is not None else [*self._shell(state), text]
        env = state.env
        given = {n: v for n, v in state.args.items() if n not in env and n not in PROXIES}
        hidden = [f"{n}={v}" for n, v in self._wanted.args.items() if n in PROXIES and n not in env]
        network = one.network if one.network != "default" else self._wanted.network
        if one.network == "host" and "network.host" not in self._wanted.allow:
            raise self._failed(one, "network.host is not allowed: build with --allow network.host")
        op = graph.Run(
            args=words, env=[*(state.run.env or []), *(f"{n}={v}" for n, v in given.items())],
            cwd=state.run.working_dir or "/", user=state.run.user, mounts=found,
            network="" if network in ("", "default", "bridge") else network,
            security=one.security, hidden=hidden, scripts=_scripts(one),
            platform="" if _same(state.platform) else shown(state.platform),
        )  # fmt: skip
        vertex = self._vertex(op, tuple(inputs), name, stage, one, number)
        state.vertex = vertex
        args = [n for n in state.shown_args if n in given]
        prefix = f"|{len(args)} " + "".join(f"{n}={given[n]} " for n in args) if args else ""
        state.lines.append(Line(f"RUN {prefix}{' '.join(words)} # buildkit", vertex))

    async def _mount(
        self, state: _State, stage: instructions.Stage, one: instructions.Run, item: mounts.Mount,
        inputs: list[graph.Vertex | None], at: int,
    ) -> graph.RunMount:  # fmt: skip
        variables = state.variables()

        def word(text: str) -> str:
            return self._word(text, variables, one) if text else ""

        target = word(item.target)
        if target:
            target = posixpath.normpath(posixpath.join("/", state.run.working_dir or "/", target))
            if target == "/":
                raise self._failed(one, f"invalid mount target {item.target!r}")
        identity, source = word(item.id), word(item.source)
        index = -1
        if item.type == "bind" or (item.type == "cache" and item.source_of):
            if item.source_of:
                vertex = await self._source(item.source_of, stage, state, one)
            else:
                vertex = self._context("")
            inputs.append(vertex)
            index = len(inputs) - 1
        try:
            numbers = {
                "uid": int(word(item.uid) or "0"), "gid": int(word(item.gid) or "0"),
                "mode": int(word(item.mode) or _MODES.get(item.type, "755"), 8),
                "size": mounts.size_of(word(item.size)) if item.size else 0,
            }  # fmt: skip
        except ValueError as error:
            raise self._failed(one, f"invalid number in a mount: {error}") from error
        if item.type == "secret":
            identity = identity or source or posixpath.basename(target)
            if not target and not item.env:
                target = f"/run/secrets/{posixpath.basename(identity)}"
        elif item.type == "ssh":
            identity = identity or "default"
            target = target or f"/run/buildkit/ssh_agent.{at}"
        elif item.type == "cache":
            identity = posixpath.normpath(identity or target)
            namespace = self._wanted.args.get("BUILDKIT_CACHE_MOUNT_NS", "")
            identity = f"{namespace}/{identity.lstrip('/')}" if namespace else identity
        writable = item.writable
        if writable is None:
            writable = item.type == "cache"
        return graph.RunMount(
            type=item.type, target=target, input=index, source=source or "/", writable=writable,
            id=identity if item.type != "bind" else "", sharing=item.sharing or "shared",
            required=item.required, env=word(item.env), **numbers,
        )  # fmt: skip

    async def _copying(
        self, state: _State, stage: instructions.Stage, one: instructions.Copy, name: str,
        number: int,
    ) -> None:  # fmt: skip
        variables = state.variables()
        adds = one.node.keyword == "ADD"
        exact = instructions.json_words(one.node.rest) is not None
        target = self._word(one.target, variables, one)
        if not target:
            raise self._failed(one, f"the destination of {one.node.keyword} is empty")
        slash = target.endswith("/") or posixpath.basename(target) in (".", "..")
        target = posixpath.normpath(posixpath.join("/", state.run.working_dir or "/", target))
        target = "/" + target.lstrip("/")
        inline: list[graph.Inline] = []
        plain: list[str] = []
        remote: list[graph.Paths] = []
        inputs: list[graph.Vertex | None] = [None if one.link else state.vertex]
        documents = {doc.name: doc for doc in one.node.heredocs}
        for raw in one.sources:
            opened = None if exact else _heredoc(raw)
            if opened is not None and opened in documents:
                doc = documents[opened]
                content = doc.content
                if doc.expand:
                    expander = shell.Expander(variables, self._escape)
                    content = expander.raw(content)
                    self._missing(expander, variables, one)
                inline.append(graph.Inline(name=doc.name, content=content.encode()))
                continue
            text = self._word(raw, variables, one)
            if not text:
                raise self._failed(one, f"a source of {one.node.keyword} is empty")
            if adds and (sources.is_git(text) or sources.is_url(text)):
                remote.append(self._remote(one, text, slash, inputs))
            else:
                plain.append(text)
        if len(plain) + len(remote) + len(inline) > 1 and not slash:
            raise self._failed(
                one, f"When using {one.node.keyword} with more than one source file, the "
                "destination must be a directory and end with a /",
            )  # fmt: skip
        found = list(remote)
        if plain:
            source_name = one.source
            if source_name:
                expanded = self._word(source_name, variables, one)
                if expanded != source_name:
                    raise self._failed(
                        one, f"variable expansion is not supported for --from ({source_name}), "
                        "define a new stage with FROM using ARG from global scope as a workaround",
                    )  # fmt: skip
                vertex = await self._source(source_name, stage, state, one)
            else:
                vertex = self._context("")
            inputs.append(vertex)
            unpack = adds and one.unpack is not False
            found.insert(0, graph.Paths(
                input=len(inputs) - 1, patterns=plain, unpack=unpack))  # fmt: skip
        chown = self._word(one.chown, variables, one) if one.chown else ""
        chmod = self._word(one.chmod, variables, one) if one.chmod else ""
        op = graph.Copy(
            sources=found, inline=inline, target=target + ("/" if slash and target != "/" else ""),
            chown=chown, chmod=chmod,
            exclude=[self._word(text, variables, one) for text in one.exclude],
            parents=one.parents, link=one.link,
        )  # fmt: skip
        vertex = self._vertex(op, tuple(inputs), name, stage, one, number)
        if one.link:
            base = state.vertex
            vertex = self._vertex(graph.Put(), (base, vertex), name, stage, one, number)
            vertex.place = ""
        state.vertex = vertex
        said = " ".join([*(f"--{f}={v}" for f, v in (("chown", chown), ("chmod", chmod)) if v),
                         *plain, *(s for s in one.sources if s not in plain and "<<" in s),
                         *([] if not remote else [s for s in one.sources if sources.is_url(s)]),
                         target])  # fmt: skip
        state.lines.append(Line(f"{one.node.keyword} {said} # buildkit", vertex))

    def _remote(
        self, one: instructions.Copy, text: str, slash: bool, inputs: list[graph.Vertex | None]
    ) -> graph.Paths:
        if sources.is_git(text):
            op = sources.parse_git(text)
            keep = one.keep_git_dir if one.keep_git_dir is not None else op.keep_git_dir
            checksum = one.checksum or op.checksum
            op = msgspec.structs.replace(op, keep_git_dir=keep, checksum=checksum)
            inputs.append(graph.Vertex(op, name=f"[git] {text}"))
            return graph.Paths(input=len(inputs) - 1, patterns=["/"])
        checksum = ""
        if one.checksum:
            try:
                checksum = reference.validate_digest(one.checksum).removeprefix("sha256:")
            except errdefs.InvalidParameter as error:
                raise self._failed(one, f"invalid --checksum: {error}") from error
        filename = posixpath.basename(urllib.parse.urlsplit(text).path)
        filename = urllib.parse.unquote(filename)
        if not filename or filename in (".", "..") or "/" in filename or "\0" in filename:
            if slash:
                raise self._failed(one, f"cannot determine filename for source {text}")
            filename = "download"
        download = graph.Download(url=text, filename=filename, checksum=checksum)
        inputs.append(graph.Vertex(download, name=f"[http] {text}"))
        pattern = "".join("\\" + c if c in "*?[\\" else c for c in filename)
        return graph.Paths(
            input=len(inputs) - 1, patterns=[pattern], unpack=bool(one.unpack), download=True
        )


_MODES = {"secret": "400", "ssh": "600", "cache": "755"}


def _heredoc(word: str) -> str | None:
    from firkin.builder.dockerfile import parser

    opened = parser.heredoc_of(word)
    return opened[0] if opened is not None else None


def _same(platform: types.Platform) -> bool:
    here = platforms.host()
    return (platform.os, platform.architecture) == (here.os, here.architecture)


def _script(one: instructions.Run) -> str:
    """The text that a shell-form RUN gives its shell, here-documents included."""
    documents = one.node.heredocs
    if not documents or one.args is not None:
        return one.shell
    line = one.shell.strip()
    first = documents[0]
    alone = len(documents) == 1 and _heredoc(line) == first.name
    if alone:
        # A script of its own interpreter is a file, which the step mounts; see ``_scripts``.
        return SCRIPT if first.content.startswith("#!") else first.content.rstrip("\n")
    text = line + "\n"
    for document in documents:
        text += f"{document.content}{document.name}\n"
    return text


def _scripts(one: instructions.Run) -> list[graph.Inline]:
    """The file that a RUN of a here-document with a ``#!`` line runs, if it is one."""
    if one.args is None and _script(one) == SCRIPT and one.node.heredocs:
        return [graph.Inline(name=SCRIPT, content=one.node.heredocs[0].content.encode())]
    return []


def _title(one: instructions.Instruction) -> str:
    text = one.text
    if one.node.heredocs:
        text += f" ({sum(doc.content.count(chr(10)) for doc in one.node.heredocs)} lines)"
    return text if len(text) <= 240 else text[:237] + "..."


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
        if name not in used and name not in PROXIES and not name.startswith(_OWN)
        and name != "SOURCE_DATE_EPOCH"
    )  # fmt: skip


def directory_of(filename: str) -> str:
    """The directory of a Dockerfile within its context."""
    return os.path.dirname(filename)
