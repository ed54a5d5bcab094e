"""Tags of log entries: templates such as ``{{.ImageName}}/{{.Name}}``.

An action is a value and, after ``|`` each, functions that change it; a function may also stand
before its value: ``{{.Name | upper}}``, ``{{upper .Name}}``, ``{{truncate .ID 4}}``. Values are
the fields of :data:`FIELDS`, and labels: ``{{.ContainerLabels.NAME}}`` or
``{{index .ContainerLabels "NAME"}}``. That is the part of Go's templates that tags are made of.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from firkin import errdefs
from firkin.logger import logger


def _digest(info: logger.Info) -> str:
    return info.image_id.rpartition(":")[2][:12]


FIELDS: dict[str, Callable[[logger.Info], str]] = {
    ".ID": lambda info: info.id[:12],
    ".FullID": lambda info: info.id,
    ".Name": lambda info: info.name,
    ".ImageID": _digest,
    ".ImageFullID": lambda info: info.image_id,
    ".ImageName": lambda info: info.image,
    ".DaemonName": lambda _: "firkin",
    ".Command": lambda info: " ".join(info.args),
    ".Hostname": lambda info: info.hostname,
    ".ContainerID": lambda info: info.id,
    ".ContainerName": lambda info: f"/{info.name}",
    ".ContainerImageID": lambda info: info.image_id,
    ".ContainerImageName": lambda info: info.image,
}
"""What a tag can tell of a container."""

EXAMPLE = logger.Info(
    id="", name="", image_id="", image="", created=0, args=(), hostname="", directory="",
    options={}, labels={}, env=(),
)  # fmt: skip
"""A container to try a template on."""

_FUNCTIONS: dict[str, Callable[[str], str]] = {
    "lower": str.lower,
    "upper": str.upper,
    "title": str.title,
    "print": str,
}
_ACTION = re.compile(r"\{\{-?\s*(.*?)\s*-?\}\}", re.DOTALL)
_WORD = re.compile(r'"[^"]*"|`[^`]*`|[^\s"`]+')
_LABELS = ".ContainerLabels"


def render(template: str, info: logger.Info) -> str:
    """The tag of a container. Raises ``InvalidParameter`` for a template that can't be."""

    def value(action: re.Match[str]) -> str:
        try:
            return _pipeline(action[1], info)
        except (KeyError, ValueError, IndexError):
            fields = ", ".join(f"{{{{{name}}}}}" for name in sorted(FIELDS))
            functions = ", ".join(sorted({*_FUNCTIONS, "truncate", "index"}))
            raise errdefs.InvalidParameter(
                f"log option tag={template[:80]}: {{{{{action[1][:40]}}}}} is unknown: there are "
                f"{fields}, and the functions {functions}"
            ) from None

    return _ACTION.sub(value, template)


def _pipeline(action: str, info: logger.Info) -> str:
    first, *others = [_WORD.findall(stage) for stage in action.split("|")]
    found = _stage(first, info)
    for words in others:
        name, *arguments = words
        found = _call(name, [*arguments, found])
    return found


def _stage(words: list[str], info: logger.Info) -> str:
    if words[0] == "index" and words[1] == _LABELS and len(words) == 3:
        return info.labels.get(words[2].strip('"`'), "")
    if len(words) == 1:
        return _value(words[0], info)
    name, *arguments = words
    return _call(name, [word if word.isdigit() else _value(word, info) for word in arguments])


def _value(word: str, info: logger.Info) -> str:
    if word[0] in '"`':
        return word[1:-1]
    if word.startswith(_LABELS + "."):
        return info.labels.get(word.removeprefix(_LABELS + "."), "")
    return FIELDS[word](info)


def _call(name: str, arguments: list[str]) -> str:
    if name == "truncate":
        text, length = arguments
        return text[: int(length)]
    (text,) = arguments
    return _FUNCTIONS[name](text)
