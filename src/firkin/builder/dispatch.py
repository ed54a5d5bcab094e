"""What the instructions of a stage mean: changes of its config, and steps of the graph."""

from __future__ import annotations

import posixpath
import urllib.parse
from collections.abc import Callable

import msgspec

from firkin import errdefs, reference
from firkin.builder import graph, request, sources
from firkin.builder.stages import Line, State, shown
from firkin.dockerfile import errors, instructions, mounts, parser, runconfig
from firkin.images import platforms
from firkin.types import forms, shell
from firkin.types import image as types

PROXIES = tuple(
    name for upper in ("HTTP_PROXY", "HTTPS_PROXY", "FTP_PROXY", "NO_PROXY", "ALL_PROXY")
    for name in (upper, upper.lower())
)  # fmt: skip
SCRIPT = "/dev/pipes/script"
_NO_WARNING = frozenset({"PATH", "HOME", "HOSTNAME", "SOURCE_DATE_EPOCH", *PROXIES})


class Dispatch:
    """Goes through the instructions of stages. ``Plan`` knows where ``from=`` leads."""

    def __init__(
        self, wanted: request.Request, platform: types.Platform, escape: str,
        warn: Callable[[str, str, int], None],
    ) -> None:  # fmt: skip
        self._wanted = wanted
        self.platform = platform
        self._escape = escape
        self._warn = warn
        self._global: dict[str, str] = {}
        self.consumed: set[str] = set()

    def _context(self, name: str) -> graph.Vertex:
        raise NotImplementedError

    async def _source(
        self, name: str, stage: instructions.Stage, state: State, owner: instructions.Instruction
    ) -> graph.Vertex | None:
        raise NotImplementedError

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

    # Instructions

    async def _do(
        self, state: State, stage: instructions.Stage, one: instructions.Instruction, name: str,
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

    def _arg(self, state: State, one: instructions.Arg) -> None:
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

    def _pairs(self, state: State, one: instructions.Pairs) -> None:
        variables = state.variables()  # those from before the instruction, for all pairs
        found = [
            (self._word(key, variables, one), self._word(value, variables, one))
            for key, value in one.pairs
        ]
        said = " ".join(f"{key}={value}" for key, value in found)
        runconfig.set_pairs(state.run, one.node.keyword, found)
        state.lines.append(Line(f"{one.node.keyword} {said}"))

    def _command(self, state: State, one: instructions.Command) -> None:
        keyword = one.node.keyword
        words = runconfig.set_command(state.run, one, keep_cmd=state.command_set)
        state.command_set = state.command_set or keyword == "CMD"
        quote = "" if keyword == "SHELL" else '"'
        said = "[" + " ".join(f"{quote}{word}{quote}" for word in words) + "]"
        state.lines.append(Line(f"{keyword} {said}"))

    def _words(self, state: State, one: instructions.Words) -> None:
        variables = state.variables()
        words: list[str] = []
        for word in one.words:
            words += [self._word(word, variables, one)] if one.exact else self._many(
                word, variables, one)  # fmt: skip
        keyword = one.node.keyword
        try:
            added = runconfig.add_words(state.run, keyword, words)
        except ValueError as error:
            raise self._failed(one, str(error)) from error
        if keyword == "EXPOSE":
            said = "map[" + " ".join(f"{port}:{{}}" for port in sorted(added)) + "]"
        else:
            said = "[" + " ".join(added) + "]"
        state.lines.append(Line(f"{keyword} {said}"))

    def _text(
        self, state: State, stage: instructions.Stage, one: instructions.Text, name: str,
        number: int,
    ) -> None:  # fmt: skip
        keyword = one.node.keyword
        if keyword == "MAINTAINER":
            state.image.author = one.value
            state.lines.append(Line(f"MAINTAINER {one.value}", author=one.value))
            return
        value = self._word(one.value, state.variables(), one)
        relative = not posixpath.isabs(value) and not state.run.working_dir
        if keyword == "WORKDIR" and relative:
            self._warn(
                "WorkdirRelativePath",
                f"Relative workdir {value!r} can have unexpected results if the base image "
                "changes", one.node.first,
            )  # fmt: skip
        try:
            runconfig.set_text(state.run, keyword, value)
        except ValueError as error:
            raise self._failed(one, str(error)) from error
        vertex = None
        if keyword == "WORKDIR" and state.run.working_dir != "/":
            op = graph.Directory(path=state.run.working_dir)
            vertex = self._vertex(op, (state.vertex,), name, stage, one, number)
            state.vertex = vertex
        state.lines.append(Line(f"{keyword} {value}", vertex))

    async def _run(
        self, state: State, stage: instructions.Stage, one: instructions.Run, name: str,
        number: int,
    ) -> None:  # fmt: skip
        inputs: list[graph.Vertex | None] = [state.vertex]
        found: list[graph.RunMount] = []
        for at, item in enumerate(one.mounts):
            found.append(await self._mount(state, stage, one, item, inputs, at))
        text = _script(one)
        words = one.args if one.args is not None else runconfig.shell_words(state.run, text)
        env = state.env
        given = {n: v for n, v in state.args.items() if n not in env and n not in PROXIES}
        hidden = [f"{n}={v}" for n, v in self._wanted.args.items() if n in PROXIES and n not in env]
        network = one.network if one.network != "default" else self._wanted.network
        if one.network == "host" and "network.host" not in self._wanted.allow:
            raise self._failed(one, "network.host is not allowed: build with --allow network.host")
        if one.security == "insecure" and "security.insecure" not in self._wanted.allow:
            raise self._failed(
                one, "security.insecure is not allowed: build with --allow security.insecure"
            )
        op = graph.Run(
            args=words, env=[*(state.run.env or []), *(f"{n}={v}" for n, v in given.items())],
            cwd=state.run.working_dir or "/", user=state.run.user, mounts=found,
            network="" if network in ("", "default", "bridge") else network,
            security=one.security, hidden=hidden, scripts=_scripts(one),
            platform="" if _same(state.platform) else shown(state.platform),
            devices=[(self._word(d.name, state.variables(), one), d.required)
                     for d in one.devices],
        )  # fmt: skip
        vertex = self._vertex(op, tuple(inputs), name, stage, one, number)
        state.vertex = vertex
        args = [n for n in state.shown_args if n in given]
        prefix = f"|{len(args)} " + "".join(f"{n}={given[n]} " for n in args) if args else ""
        state.lines.append(Line(f"RUN {prefix}{' '.join(words)} # buildkit", vertex))

    async def _mount(
        self, state: State, stage: instructions.Stage, one: instructions.Run, item: mounts.Mount,
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
        self, state: State, stage: instructions.Stage, one: instructions.Copy, name: str,
        number: int,
    ) -> None:  # fmt: skip
        variables = state.variables()
        adds = one.node.keyword == "ADD"
        exact = forms.json_words(one.node.rest) is not None
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


def title(one: instructions.Instruction) -> str:
    text = one.text
    if one.node.heredocs:
        text += f" ({sum(doc.content.count(chr(10)) for doc in one.node.heredocs)} lines)"
    return text if len(text) <= 240 else text[:237] + "..."
