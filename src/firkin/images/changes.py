"""Changes to an image's config written as Dockerfile instructions (``--change``).

Understood are those that only touch the config: CMD ENTRYPOINT ENV EXPOSE HEALTHCHECK LABEL ONBUILD
STOPSIGNAL USER VOLUME WORKDIR. Words follow the Dockerfile's rules: quotes and backslashes, a JSON
array for the exec form; variables are those of the image's environment.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable

from firkin import errdefs
from firkin.types import container, forms, shell
from firkin.types import image as types

_SHELL = ["/bin/sh", "-c"]
_PORT = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)


def _bad(line: str, why: str) -> errdefs.InvalidParameter:
    return errdefs.InvalidParameter(f"cannot apply the change {line[:200]!r}: {why}")


def _raw(text: str) -> list[str]:
    """``text`` split at blanks outside of quotes; quotes and backslashes stay."""
    found: list[str] = []
    current, quote, at = "", "", 0
    while at < len(text):
        char = text[at]
        at += 1
        if char == "\\" and quote != "'" and at < len(text):
            current += char + text[at]
            at += 1
        elif char.isspace() and not quote:
            found.append(current)
            current = ""
        else:
            current += char
            if quote or char in "\"'":
                quote = "" if char == quote else quote or char
    if quote:
        raise ValueError(f"a {quote} is not closed")
    return list(filter(None, [*found, current]))


class _Words:
    """The words of a change, with the variables of the image's environment replaced."""

    def __init__(self, env: list[str] | None) -> None:
        self._expander = shell.Expander(dict(item.partition("=")[::2] for item in env or []))

    def one(self, text: str) -> str:
        return self._expander.word(text)

    def split(self, text: str) -> list[str]:
        return [self.one(word) for word in _raw(text)]

    def pairs(self, text: str) -> list[tuple[str, str]]:
        """``KEY=VALUE ...``, or the old ``KEY VALUE``."""
        first, _, rest = text.partition(" ")
        if "=" not in first and "=" not in first.strip("\"'"):
            if not rest.strip():
                raise ValueError("write KEY=VALUE")
            return [(self.one(first), self.one(" ".join(rest.split())))]
        pairs: list[tuple[str, str]] = []
        for word in _raw(text):
            key, equals, value = word.partition("=")
            if not equals or not key:
                raise ValueError(f"{self.one(word)!r} is not KEY=VALUE")
            pairs.append((self.one(key), self.one(value)))
        return pairs


def _command(text: str, config: types.RunConfig) -> list[str]:
    array = forms.json_words(text)
    return array if array is not None else [*(config.shell or _SHELL), text]


def _healthcheck(text: str, config: types.RunConfig) -> container.HealthConfig:
    check = container.HealthConfig()
    while text.startswith("--"):
        flag, _, text = text.partition(" ")
        text = text.lstrip()
        name, _, value = flag[2:].partition("=")
        if name == "retries":
            if not value.isdigit():
                raise ValueError(f"{value!r} is not a number of retries")
            check.retries = int(value)
        elif name in ("interval", "timeout", "start-period", "start-interval"):
            setattr(check, name.replace("-", "_"), forms.duration(value))
        else:
            raise ValueError(f"HEALTHCHECK has no flag --{name}")
    kind, _, rest = text.partition(" ")
    rest = rest.strip()
    if kind.upper() == "NONE":
        if rest:
            raise ValueError("HEALTHCHECK NONE takes no arguments")
        check.test = ["NONE"]
    elif kind.upper() == "CMD" and rest:
        array = forms.json_words(rest)
        check.test = ["CMD", *array] if array is not None else ["CMD-SHELL", rest]
    else:
        raise ValueError("write HEALTHCHECK [flags] CMD command, or HEALTHCHECK NONE")
    return check


def _ports(words: list[str]) -> list[str]:
    found: list[str] = []
    for word in words:
        match = _PORT.fullmatch(word)
        if match is None:
            raise ValueError(f"{word!r} is not PORT[-PORT][/tcp|udp|sctp]")
        first, last = int(match[1]), int(match[2] or match[1])
        if not 0 < first <= last <= 65535:
            raise ValueError(f"{word!r} is not a range of ports")
        kind = (match[3] or "tcp").lower()
        found += [f"{port}/{kind}" for port in range(first, last + 1)]
    return found


def _set_env(config: types.RunConfig, pairs: list[tuple[str, str]]) -> None:
    env = dict(item.partition("=")[::2] for item in config.env or [])
    env.update(pairs)
    config.env = [f"{key}={value}" for key, value in env.items()]


def _apply(config: types.RunConfig, name: str, text: str) -> None:
    words = _Words(config.env)
    if name == "CMD":
        config.cmd = _command(text, config)
    elif name == "ENTRYPOINT":
        config.entrypoint = _command(text, config) if text and text != "[]" else None
    elif name == "ENV":
        _set_env(config, words.pairs(text))
    elif name == "LABEL":
        config.labels = {**(config.labels or {}), **dict(words.pairs(text))}
    elif name == "EXPOSE":
        ports = dict.fromkeys(_ports(words.split(text)))
        config.exposed_ports = {**(config.exposed_ports or {}), **{port: {} for port in ports}}
    elif name == "VOLUME":
        array = forms.json_words(text)
        paths = array if array is not None else words.split(text)
        if not paths or "" in paths:
            raise ValueError("name at least one path")
        config.volumes = {**(config.volumes or {}), **{path: {} for path in paths}}
    elif name == "USER":
        config.user = words.one(text)
    elif name == "WORKDIR":
        path = words.one(text)
        config.working_dir = posixpath.normpath(posixpath.join(config.working_dir or "/", path))
    elif name == "STOPSIGNAL":
        config.stop_signal = words.one(text)
    elif name == "HEALTHCHECK":
        config.healthcheck = _healthcheck(text, config)
    elif name == "ONBUILD":
        inner = text.split(None, 1)[0].upper()
        if inner in ("ONBUILD", "FROM", "MAINTAINER"):
            raise ValueError(f"{inner} is not allowed as an ONBUILD trigger")
        config.on_build = [*(config.on_build or []), text]
    else:
        raise ValueError(f"{name} is not a valid change command")


def apply(config: types.RunConfig, changes: Iterable[str]) -> None:
    """Apply ``changes``, each one or more lines, to ``config`` in place.

    Raises ``InvalidParameter`` that quotes the line.
    """
    joined = "\n".join(changes).replace("\\\n", "")
    for raw in joined.splitlines():
        line = raw.strip()
        if not line or line.startswith("#"):
            continue
        name, _, text = line.partition(" ")
        text = text.strip()
        if not text and name.upper() not in ("CMD", "ENTRYPOINT"):
            raise _bad(line, f"{name.upper()} needs an argument")
        try:
            _apply(config, name.upper(), text)
        except ValueError as error:
            raise _bad(line, str(error)) from error
