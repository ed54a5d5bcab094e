"""Build checks: what is legal in a Dockerfile and still a mistake, most of the time.

The rules' names are public, ``# check=skip=NAME`` refers to them. Those that need the images'
environment (UndefinedVar, UndefinedArgInFrom, WorkdirRelativePath) are raised while planning.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from firkin.dockerfile import errors, instructions
from firkin.types import shell
from firkin.wire import ignorefile

RULES = {
    "StageNameCasing": "Stage names should be lowercase",
    "FromAsCasing": "The 'as' keyword should match the case of the 'from' keyword",
    "NoEmptyContinuation": "Empty continuation lines will become errors in a future release",
    "ConsistentInstructionCasing": "All commands within the Dockerfile should use the same casing",
    "DuplicateStageName": "Stage names should be unique",
    "ReservedStageName": "Reserved words should not be used as stage names",
    "JSONArgsRecommended": "JSON arguments recommended for ENTRYPOINT/CMD to prevent unintended "
                           "behavior related to OS signals",
    "MaintainerDeprecated": "The MAINTAINER instruction is deprecated, use a label instead",
    "UndefinedArgInFrom": "FROM command must use declared ARGs",
    "WorkdirRelativePath": "Relative workdir without an absolute workdir declared within the build "
                           "can have unexpected results if the base image changes",
    "UndefinedVar": "Variables should be defined before their use",
    "MultipleInstructionsDisallowed": "Multiple instructions of the same type should not be used "
                                      "in the same stage",
    "LegacyKeyValueFormat": "Legacy key/value format with whitespace separator should not be used",
    "InvalidBaseImagePlatform": "Base image platform does not match expected target platform",
    "RedundantTargetPlatform": "Setting platform to predefined $TARGETPLATFORM in FROM is "
                               "redundant as this is the default behavior",
    "SecretsUsedInArgOrEnv": "Sensitive data should not be used in the ARG or ENV commands",
    "InvalidDefaultArgInFrom": "Default value for global ARG results in an empty or invalid base "
                               "image name",
    "FromPlatformFlagConstDisallowed": "FROM --platform flag should not use a constant value",
    "CopyIgnoredFile": "Attempting to Copy file that is excluded by .dockerignore",
    "InvalidDefinitionDescription": "Comment for build stage or argument should follow the format: "
                                    "`# <arg/stage name> <description>`",
    "ExposeProtoCasing": "Protocol in EXPOSE instruction should be lowercase",
    "ExposeInvalidFormat": "IP address and host-port mapping should not be used in EXPOSE "
                           "instruction. This will become an error in a future release",
}  # fmt: skip

EXPERIMENTAL = frozenset({"InvalidDefinitionDescription"})
_RESERVED = ("scratch", "context")
_SECRET = re.compile(
    r"(?:^|_)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)",
    re.IGNORECASE,
)
_PUBLIC = re.compile(r"(?:^|_)public(?:_|$)", re.IGNORECASE)


class Warning(msgspec.Struct, frozen=True):
    """A check that has something to say about a line."""

    rule: str
    message: str
    line: int


class Settings(msgspec.Struct, frozen=True):
    """The ``check`` directive: rules to skip and to add, and whether a warning is an error."""

    skip: frozenset[str] = frozenset()
    experimental: frozenset[str] = frozenset()
    error: bool = False
    skip_all: bool = False


def settings(text: str) -> Settings:
    """Read ``skip=A,B;error=true;experimental=C``. Raises ``DockerfileError``."""
    skip: set[str] = set()
    extra: set[str] = set()
    error = False
    for part in filter(None, (one.strip() for one in text.split(";"))):
        name, equals, value = part.partition("=")
        names = {one.strip() for one in value.split(",") if one.strip()}
        if name == "skip" and equals:
            skip |= names
        elif name == "experimental" and equals:
            extra |= names
        elif name == "error" and value.lower() in ("true", "false"):
            error = value.lower() == "true"
        else:
            raise errors.DockerfileError(f"invalid check option {part!r}: write skip=..., "
                                         "experimental=... or error=true", 1)  # fmt: skip
    if "all" in extra:
        extra |= EXPERIMENTAL
    return Settings(frozenset(skip), frozenset(extra), error, "all" in skip)


def of(file: instructions.Dockerfile) -> Settings:
    """The settings of a file."""
    return settings(file.parsed.directives.get("check", ""))


def wanted(file: instructions.Dockerfile, rule: str) -> bool:
    """Whether a rule is in effect for a file."""
    own = of(file)
    if own.skip_all or rule in own.skip:
        return False
    return rule not in EXPERIMENTAL or rule in own.experimental


def check(
    file: instructions.Dockerfile, text: str, ignored: ignorefile.Ignore | None,
    args: Mapping[str, str],
) -> list[Warning]:  # fmt: skip
    """All warnings, those of rules that are not in effect left out, by lines."""
    found = [
        *_casing(file), *_stages(file), *_bodies(file, ignored), *_globals(file, args),
        *_descriptions(file),
    ]  # fmt: skip
    for one in file.parsed.warned:
        found.append(Warning(one.rule, "Empty continuation line", one.line))
    return sorted(
        (one for one in found if wanted(file, one.rule)), key=lambda one: (one.line, one.rule)
    )


def _casing(file: instructions.Dockerfile) -> Iterator[Warning]:
    nodes = file.parsed.nodes
    lower = sum(node.written.islower() for node in nodes)
    upper = sum(node.written.isupper() for node in nodes)
    style = "lowercase" if lower > upper else "uppercase"
    for node in nodes:
        good = node.written.islower() if style == "lowercase" else node.written.isupper()
        if not good:
            yield Warning(
                "ConsistentInstructionCasing",
                f"Command '{node.written}' should match the case of the command majority "
                f"({style})", node.first,
            )  # fmt: skip


def _stages(file: instructions.Dockerfile) -> Iterator[Warning]:
    seen: set[str] = set()
    for stage in file.stages:
        head = stage.head
        line = head.node.first
        words = head.node.rest.split()
        if head.name:
            written = words[2]
            if written != written.lower():
                yield Warning("StageNameCasing",
                              f"Stage name '{written}' should be lowercase", line)  # fmt: skip
            if words[1].islower() != head.node.written.islower():
                yield Warning("FromAsCasing",
                              f"'{words[1]}' and '{head.node.written}' keywords' casing do not "
                              "match", line)  # fmt: skip
            if head.name in seen:
                yield Warning("DuplicateStageName",
                              f"Duplicate stage name {head.name!r}, stage names should be unique",
                              line)  # fmt: skip
            if head.name in _RESERVED:
                yield Warning("ReservedStageName",
                              f"Stage name should not use the same name as reserved stage "
                              f"{head.name!r}", line)  # fmt: skip
            seen.add(head.name)
        if head.platform in ("$TARGETPLATFORM", "${TARGETPLATFORM}"):
            yield Warning("RedundantTargetPlatform",
                          f"Setting platform to predefined {head.platform} in FROM is redundant "
                          "as this is the default behavior", line)  # fmt: skip
        elif (
            head.platform
            and "$" not in head.platform
            and not (
                head.name and any(word in head.name for word in ("build", *_parts(head.platform)))
            )
        ):
            yield Warning("FromPlatformFlagConstDisallowed",
                          f"FROM --platform flag should not use constant value "
                          f"\"{head.platform}\"", line)  # fmt: skip


def _parts(platform: str) -> list[str]:
    return [part for part in re.split(r"[/]", platform.lower()) if part != "linux"]


def _bodies(file: instructions.Dockerfile, ignored: ignorefile.Ignore | None) -> Iterator[Warning]:
    for stage in file.stages:
        last: dict[str, int] = {}
        has_shell = False
        for one in stage.body:
            keyword, line = one.node.keyword, one.node.first
            if keyword == "SHELL":
                has_shell = True
            if keyword in ("CMD", "ENTRYPOINT", "HEALTHCHECK"):
                if keyword in last:
                    yield Warning(
                        "MultipleInstructionsDisallowed",
                        f"Multiple {keyword} instructions should not be used in the same stage "
                        "because only the last one will be used", last[keyword],
                    )  # fmt: skip
                last[keyword] = line
            if (
                isinstance(one, instructions.Command)
                and keyword in ("CMD", "ENTRYPOINT")
                and one.shell
                and not has_shell
            ):
                yield Warning("JSONArgsRecommended",
                              f"JSON arguments recommended for {keyword} to prevent unintended "
                              "behavior related to OS signals", line)  # fmt: skip
            if keyword == "MAINTAINER":
                yield Warning(
                    "MaintainerDeprecated",
                    "Maintainer instruction is deprecated in favor of using label",
                    line,
                )
            if isinstance(one, instructions.Pairs):
                if one.legacy:
                    yield Warning("LegacyKeyValueFormat",
                                  f"\"{keyword} key=value\" should be used instead of legacy "
                                  f"\"{keyword} key value\" format", line)  # fmt: skip
                if keyword == "ENV":
                    yield from _secrets(keyword, [key for key, _ in one.pairs], line)
            if isinstance(one, instructions.Arg):
                yield from _secrets("ARG", [key for key, _ in one.pairs], line)
            if isinstance(one, instructions.Words) and keyword == "EXPOSE":
                yield from _ports(one)
            if isinstance(one, instructions.Copy) and ignored is not None:
                yield from _ignored(one, ignored)


def _secrets(keyword: str, names: list[str], line: int) -> Iterator[Warning]:
    for name in names:
        if _SECRET.search(name) and not _PUBLIC.search(name):
            yield Warning("SecretsUsedInArgOrEnv",
                          f"Do not use ARG or ENV instructions for sensitive data "
                          f"({keyword} \"{name}\")", line)  # fmt: skip


def _ports(one: instructions.Words) -> Iterator[Warning]:
    for word in one.words:
        port, slash, protocol = word.partition("/")
        if slash and protocol != protocol.lower():
            yield Warning("ExposeProtoCasing",
                          f"Defined protocol '{word}' in EXPOSE instruction should be lowercase",
                          one.node.first)  # fmt: skip
        if ":" in port and "$" not in port:
            yield Warning("ExposeInvalidFormat",
                          f"EXPOSE instruction should not define an IP address or host-port "
                          f"mapping, found '{word}'", one.node.first)  # fmt: skip


def _ignored(one: instructions.Copy, ignored: ignorefile.Ignore) -> Iterator[Warning]:
    if one.source or ignored.empty:
        return
    for source in one.sources:
        path = source.strip("\"'").lstrip("/").removeprefix("./").rstrip("/")
        if not path or path == "." or "$" in path or "<<" in path or "://" in path:
            continue
        if re.search(r"[*?\[]", path):
            continue
        if ignored(path) and ignored.prunes(path):
            yield Warning("CopyIgnoredFile",
                          f"Attempting to {one.node.keyword.capitalize()} file \"{path}\" that is "
                          "excluded by .dockerignore", one.node.first)  # fmt: skip


def _globals(file: instructions.Dockerfile, given: Mapping[str, str]) -> Iterator[Warning]:
    """FROMs whose name would be nothing without build arguments."""
    known: dict[str, str] = {}
    for arg in file.args:
        yield from _secrets("ARG", [key for key, _ in arg.pairs], arg.node.first)
        for name, default in arg.pairs:
            try:
                known[name] = shell.Expander(known).word(default or "")
            except ValueError:
                known[name] = ""
    for stage in file.stages:
        if "$" not in stage.head.base:
            continue
        expander = shell.Expander(known)
        try:
            name = expander.word(stage.head.base)
        except ValueError:
            continue
        if any(one not in known for one in expander.missing):
            continue
        if not name or name.endswith((":", "@")) or name.startswith((":", "@", "/")):
            yield Warning("InvalidDefaultArgInFrom",
                          f"Default value for ARG {stage.head.base} results in empty or invalid "
                          "base image name", stage.head.node.first)  # fmt: skip


def _descriptions(file: instructions.Dockerfile) -> Iterator[Warning]:
    named: list[tuple[str, instructions.Instruction, str]] = [
        ("FROM", stage.head, stage.head.name) for stage in file.stages if stage.head.name
    ]
    named += [("ARG", arg, arg.pairs[0][0]) for arg in file.args if len(arg.pairs) == 1]
    for keyword, one, name in named:
        comment = one.node.comment
        if comment and comment.split(" ", 1)[0] != name:
            yield Warning("InvalidDefinitionDescription",
                          f"Comment for {'build stage' if keyword == 'FROM' else 'build argument'} "
                          f"or argument should follow the format: `# {name} <description>`",
                          one.node.first)  # fmt: skip


def report(
    file: instructions.Dockerfile, found: list[Warning], filename: str, text: str
) -> dict[str, Any]:
    """What ``--check`` and its kin show: warnings, stages, arguments."""
    last = len(file.stages) - 1
    return {
        "warnings": [
            {"rule": one.rule, "description": RULES.get(one.rule, ""), "message": one.message,
             "line": one.line,
             "excerpt": errors.excerpt(filename, text, one.line, one.line)}
            for one in found
        ],
        "error": of(file).error and bool(found),
        "targets": [
            {"name": stage.head.name or f"(stage {stage.index})", "default": stage.index == last,
             "description": _about(stage.head.node.comment, stage.head.name)}
            for stage in file.stages
        ],
        "args": [
            {"name": name, "value": value or "", "description": _about(arg.node.comment, name)}
            for arg in file.args for name, value in arg.pairs
        ],
    }  # fmt: skip


def _about(comment: str, name: str) -> str:
    first, _, rest = comment.partition(" ")
    return rest if name and first == name else ""
