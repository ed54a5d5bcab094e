"""From nodes to typed instructions and stages.

Nothing is expanded here: words keep their variables and quotes until the stage's environment is
known. What can be said without it is checked: forms, flags and their values, counts of arguments,
the order of FROM and ARG. Source: the Dockerfile reference, one section per instruction.
"""

from __future__ import annotations

import re
from collections.abc import Callable

import msgspec

from firkin.dockerfile import errors, mounts, parser
from firkin.types import container, forms, shell

_STAGE = re.compile(r"[a-z][a-z0-9\-_.]*", re.IGNORECASE)


class Instruction(msgspec.Struct, kw_only=True):
    """What all instructions have: the node that they were written as."""

    node: parser.Node

    @property
    def text(self) -> str:
        """The instruction as it was written, in one line."""
        return " ".join(self.node.original.split("\n", 1)[0].split())


class From(Instruction):
    """``FROM [--platform=P] base [AS name]``."""

    base: str
    name: str = ""
    platform: str = ""


class Arg(Instruction):
    """``ARG name[=default] ...``: raw defaults, None when there is none."""

    pairs: list[tuple[str, str | None]]


class Pairs(Instruction):
    """ENV or LABEL: raw keys and values; ``legacy`` when written without "="."""

    pairs: list[tuple[str, str]]
    legacy: bool = False


class Command(Instruction):
    """CMD, ENTRYPOINT or SHELL: exec form in ``args``, or the raw text of the shell form."""

    args: list[str] | None = None
    shell: str = ""


class Device(msgspec.Struct, frozen=True):
    """A device of a RUN step, by its CDI name; without ``required`` the step also runs without."""

    name: str
    required: bool = False


class Run(Command):
    """RUN."""

    mounts: list[mounts.Mount] = []
    network: str = "default"
    security: str = "sandbox"
    devices: list[Device] = []


class Copy(Instruction):
    """COPY or ADD; sources and ``target`` are raw."""

    sources: list[str]
    target: str
    source: str = ""
    chown: str = ""
    chmod: str = ""
    link: bool = False
    parents: bool = False
    exclude: list[str] = []
    checksum: str = ""
    keep_git_dir: bool | None = None
    unpack: bool | None = None


class Words(Instruction):
    """EXPOSE, VOLUME: raw words. ``exact`` words are of a JSON array and not split further."""

    words: list[str]
    exact: bool = False


class Text(Instruction):
    """USER, WORKDIR, STOPSIGNAL, MAINTAINER: one raw text."""

    value: str


class Healthcheck(Instruction):
    """HEALTHCHECK; ``check.test`` is complete."""

    check: container.HealthConfig


class OnBuild(Instruction):
    """ONBUILD: the text of the trigger, checked."""

    trigger: str


class Stage(msgspec.Struct, kw_only=True):
    """A FROM and what follows it. ``index`` counts from 0."""

    index: int
    head: From
    body: list[Instruction]

    @property
    def name(self) -> str:
        return self.head.name or str(self.index)


class Dockerfile(msgspec.Struct, kw_only=True):
    """A whole file: global ARGs and stages."""

    args: list[Arg]
    stages: list[Stage]
    parsed: parser.Parsed


class _Flags:
    """The flags of one node, each to be taken once."""

    def __init__(self, node: parser.Node, known: tuple[str, ...], repeated: tuple[str, ...] = ()):
        self._values: dict[str, list[str | None]] = {}
        for flag in node.flags:
            name, equals, value = flag[2:].partition("=")
            if name not in known:
                near = errors.nearest(name, known)
                raise ValueError(f"unknown flag: --{name}{near}")
            if name in self._values and name not in repeated:
                raise ValueError(f"duplicate flag specified: --{name}")
            self._values.setdefault(name, []).append(value if equals else None)

    def text(self, name: str, default: str = "") -> str:
        found = self._values.get(name)
        if not found:
            return default
        if found[-1] is None:
            raise ValueError(f"missing a value on flag: --{name}")
        return found[-1]

    def texts(self, name: str) -> list[str]:
        found = self._values.get(name, [])
        if None in found:
            raise ValueError(f"missing a value on flag: --{name}")
        return [value for value in found if value is not None]

    def truth(self, name: str) -> bool | None:
        found = self._values.get(name)
        if not found:
            return None
        if found[-1] is None or found[-1].lower() in ("true", "1", "t"):
            return True
        if found[-1].lower() in ("false", "0", "f"):
            return False
        raise ValueError(f"expecting boolean value for flag --{name}, not {found[-1]!r}")


def _from(node: parser.Node, escape: str) -> From:
    flags = _Flags(node, ("platform",))
    words = node.rest.split()
    if len(words) == 1:
        name = ""
    elif len(words) == 3 and words[1].upper() == "AS":
        name = words[2].lower()
        if not _STAGE.fullmatch(name):
            raise ValueError(
                f"invalid name for build stage: {words[2]!r}, name can't start with a number or "
                "contain symbols"
            )
    else:
        raise ValueError("FROM requires either one argument, or three: FROM <source> [AS <name>]")
    return From(node=node, base=words[0], name=name, platform=flags.text("platform"))


def _arg(node: parser.Node, escape: str) -> Arg:
    _Flags(node, ())
    pairs: list[tuple[str, str | None]] = []
    for word in shell.split(node.rest, escape):
        name, equals, value = word.partition("=")
        name = name.strip("\"'")
        if not name:
            raise ValueError("ARG names can not be blank")
        pairs.append((name, value if equals else None))
    if not pairs:
        raise ValueError("ARG requires at least one argument")
    return Arg(node=node, pairs=pairs)


def _pairs(node: parser.Node, escape: str) -> Pairs:
    _Flags(node, ())
    words = shell.split(node.rest, escape)
    if not words:
        raise ValueError(f"{node.keyword} requires at least one argument")
    if "=" not in words[0]:
        value = node.rest.strip()[len(words[0]) :].strip()
        if not value:
            raise ValueError(f"{node.keyword} must have two arguments")
        return Pairs(node=node, pairs=[(words[0], value)], legacy=True)
    pairs: list[tuple[str, str]] = []
    for word in words:
        key, equals, value = word.partition("=")
        if not equals:
            raise ValueError(
                f"Syntax error - can't find = in {word!r}. Must be of the form: name=value"
            )
        if not key.strip("\"'"):
            raise ValueError(f"{node.keyword} names can not be blank")
        pairs.append((key, value))
    return Pairs(node=node, pairs=pairs)


def _command(node: parser.Node, escape: str) -> Command:
    _Flags(node, ())
    args = forms.json_words(node.rest)
    if node.keyword == "SHELL":
        if not args:
            raise ValueError('SHELL requires the arguments to be in JSON form: ["executable"]')
        return Command(node=node, args=args)
    if args is None and not node.rest and node.keyword == "CMD":
        return Command(node=node, args=[])
    if args is None and not node.rest:
        return Command(node=node, args=[])
    return Command(node=node, args=args, shell="" if args is not None else node.rest)


def _run(node: parser.Node, escape: str) -> Run:
    flags = _Flags(node, ("mount", "network", "security", "device"), ("mount", "device"))
    network = flags.text("network", "default")
    if network not in ("default", "none", "host"):
        raise ValueError(f"invalid network mode: {network!r}: use default, none or host")
    security = flags.text("security", "sandbox")
    if security not in ("sandbox", "insecure"):
        raise ValueError(f"security {security!r} is not valid: use sandbox or insecure")
    args = forms.json_words(node.rest)
    if not node.rest.strip() or args == []:
        raise ValueError("RUN requires at least one argument")
    return Run(
        node=node, args=args, shell="" if args is not None else node.rest,
        mounts=[mounts.parse(text) for text in flags.texts("mount")],
        network=network, security=security,
        devices=[_device(text) for text in flags.texts("device")],
    )  # fmt: skip


def _device(text: str) -> Device:
    """``NAME[,required]``; the name may have a = of its own."""
    name, required = "", False
    for field in text.split(","):
        key, equals, value = field.partition("=")
        if key == "required":
            if value.lower() not in ("", "true", "1", "false", "0") or (equals and not value):
                raise ValueError(f"invalid value for required: {value!r}: use true or false")
            required = value.lower() in ("", "true", "1")
        elif name:
            raise ValueError(f"unexpected {field!r} in --device={text}: write NAME[,required]")
        else:
            name = value if key == "name" else field
    if not name:
        raise ValueError("--device needs a name, such as vendor.com/class=device")
    return Device(name, required)


def _copy(node: parser.Node, escape: str) -> Copy:
    common = ("chown", "chmod", "link", "exclude")
    adds = ("checksum", "keep-git-dir", "unpack")
    known = (*common, *(adds if node.keyword == "ADD" else ("from", "parents")))
    flags = _Flags(node, known, ("exclude",))
    words = forms.json_words(node.rest)
    if words is None:
        words = shell.split(node.rest, escape)
    if len(words) < 2:
        raise ValueError(
            f"{node.keyword} requires at least two arguments, but only {len(words)} "
            f"{'was' if len(words) == 1 else 'were'} provided. Destination could not be determined"
        )
    return Copy(
        node=node, sources=words[:-1], target=words[-1], source=flags.text("from"),
        chown=flags.text("chown"), chmod=flags.text("chmod"), link=bool(flags.truth("link")),
        parents=bool(flags.truth("parents")), exclude=flags.texts("exclude"),
        checksum=flags.text("checksum"), keep_git_dir=flags.truth("keep-git-dir"),
        unpack=flags.truth("unpack"),
    )  # fmt: skip


def _words(node: parser.Node, escape: str) -> Words:
    _Flags(node, ())
    exact = forms.json_words(node.rest) if node.keyword == "VOLUME" else None
    words = exact if exact is not None else shell.split(node.rest, escape)
    if not words:
        raise ValueError(f"{node.keyword} requires at least one argument")
    if any(not word for word in words):
        raise ValueError(f"{node.keyword} specified can not be an empty string")
    return Words(node=node, words=words, exact=exact is not None)


def _text(node: parser.Node, escape: str) -> Text:
    _Flags(node, ())
    value = node.rest.strip()
    if not value:
        raise ValueError(f"{node.keyword} requires exactly one argument")
    if node.keyword == "STOPSIGNAL" and len(shell.split(value, escape)) != 1:
        raise ValueError("STOPSIGNAL requires exactly one argument")
    return Text(node=node, value=value)


def _healthcheck(node: parser.Node, escape: str) -> Healthcheck:
    names = ("interval", "timeout", "start-period", "start-interval", "retries")
    flags = _Flags(node, names)
    kind, _, rest = node.rest.partition(" ")
    rest = rest.strip()
    check = container.HealthConfig()
    if kind.upper() == "NONE":
        if rest or node.flags:
            raise ValueError("HEALTHCHECK NONE takes no arguments")
        check.test = ["NONE"]
        return Healthcheck(node=node, check=check)
    if kind.upper() != "CMD":
        near = errors.nearest(kind.upper(), ("CMD", "NONE"))
        raise ValueError(f"unknown type {kind!r} in HEALTHCHECK{near}: use CMD or NONE")
    if not rest:
        raise ValueError("missing command after HEALTHCHECK CMD")
    args = forms.json_words(rest)
    check.test = ["CMD", *args] if args is not None else ["CMD-SHELL", rest]
    for name in names[:-1]:
        if text := flags.text(name):
            setattr(check, name.replace("-", "_"), forms.duration(text))
    if retries := flags.text("retries"):
        if not retries.isdigit():
            raise ValueError(f"--retries must be a number, not {retries!r}")
        check.retries = int(retries)
    return Healthcheck(node=node, check=check)


def _onbuild(node: parser.Node, escape: str) -> OnBuild:
    trigger = node.original.split(None, 1)[1] if len(node.original.split(None, 1)) > 1 else ""
    words = trigger.split(None, 1)
    if not words:
        raise ValueError("ONBUILD requires at least one argument")
    name = words[0].upper()
    if name == "ONBUILD":
        raise ValueError("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")
    if name in ("FROM", "MAINTAINER"):
        raise ValueError(f"{name} isn't allowed as an ONBUILD trigger")
    triggers(trigger, escape)
    return OnBuild(node=node, trigger=trigger)


_READERS: dict[str, Callable[[parser.Node, str], Instruction]] = {
    "ADD": _copy, "ARG": _arg, "CMD": _command, "COPY": _copy, "ENTRYPOINT": _command,
    "ENV": _pairs, "EXPOSE": _words, "FROM": _from, "HEALTHCHECK": _healthcheck, "LABEL": _pairs,
    "MAINTAINER": _text, "ONBUILD": _onbuild, "RUN": _run, "SHELL": _command,
    "STOPSIGNAL": _text, "USER": _text, "VOLUME": _words, "WORKDIR": _text,
}  # fmt: skip

KEYWORDS = tuple(_READERS)


def read(node: parser.Node, escape: str) -> Instruction:
    """The instruction that a node means. Raises ``DockerfileError``."""
    reader = _READERS.get(node.keyword)
    if reader is None:
        near = errors.nearest(node.keyword, KEYWORDS)
        raise errors.DockerfileError(
            f"unknown instruction: {node.written[:100]}{near}", node.first, node.last
        )
    try:
        return reader(node, escape)
    except ValueError as error:
        raise errors.DockerfileError(str(error), node.first, node.last) from error


def triggers(text: str, escape: str = "\\") -> list[Instruction]:
    """The instruction of an ONBUILD trigger. Raises ``DockerfileError``."""
    prefix = "# escape=`\n" if escape == "`" else ""
    return [read(node, escape) for node in parser.parse(prefix + text).nodes]


def load(text: str) -> Dockerfile:
    """A whole Dockerfile. Raises ``DockerfileError``."""
    parsed = parser.parse(text)
    args: list[Arg] = []
    stages: list[Stage] = []
    for node in parsed.nodes:
        instruction = read(node, parsed.escape)
        if isinstance(instruction, From):
            stages.append(Stage(index=len(stages), head=instruction, body=[]))
        elif stages:
            stages[-1].body.append(instruction)
        elif isinstance(instruction, Arg):
            args.append(instruction)
        else:
            raise errors.DockerfileError(
                "no build stage in current context: only ARG may come before the first FROM",
                node.first, node.last,
            )  # fmt: skip
    if not stages:
        raise errors.DockerfileError("file with no FROM: a Dockerfile needs at least one stage",
                                     parsed.nodes[-1].first)  # fmt: skip
    return Dockerfile(args=args, stages=stages, parsed=parsed)
