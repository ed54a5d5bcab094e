"""``.dockerignore``: which paths of a context stay out of it.

One pattern a line: ``*`` and ``?`` within one name, ``**`` over any number of them, ``[a-z]``
classes, ``\\`` escapes, ``!`` in front takes a path back in; the last pattern that matches decides.
A pattern that matches a directory holds for all below it. Source: the Dockerfile reference,
".dockerignore file".
"""

from __future__ import annotations

import posixpath
import re


class BadPattern(ValueError):
    """A line of an ignore file that is no pattern."""


def lines(text: str) -> list[str]:
    """The patterns of an ignore file, in their shortest form."""
    found: list[str] = []
    for raw in text.removeprefix("\ufeff").splitlines():
        if raw.startswith("#"):
            continue
        line = raw.strip()
        if not line:
            continue
        negated = line.startswith("!")
        if negated:
            line = line[1:].strip()
        if line:
            line = posixpath.normpath(line).lstrip("/") or "."
        found.append("!" * negated + line)
    return found


def translate(pattern: str) -> str:
    """A pattern as a regular expression for whole paths. Raises ``BadPattern``."""
    out: list[str] = []
    at, end = 0, len(pattern)
    while at < end:
        char = pattern[at]
        at += 1
        if char == "*":
            if pattern.startswith("*", at):
                at += 1
                if pattern.startswith("/", at):
                    at += 1
                if at >= end:
                    out.append(".*")
                else:
                    out.append("(?:.*/)?")
            else:
                out.append("[^/]*")
        elif char == "?":
            out.append("[^/]")
        elif char == "\\":
            if at >= end:
                raise BadPattern(f"the pattern {pattern!r} ends with a backslash")
            out.append(re.escape(pattern[at]))
            at += 1
        elif char == "[":
            close = pattern.find("]", at + 1 + (pattern[at : at + 1] in ("^", "!")))
            if close < 0:
                raise BadPattern(f"the pattern {pattern!r} has a '[' without ']'")
            inner = pattern[at:close]
            negated = inner[:1] in ("^", "!")
            inner = inner[1:] if negated else inner
            escaped = inner.replace("\\", "\\\\").replace("[", "\\[").replace("^", "\\^")
            out.append(f"(?!/)[{'^' * negated}{escaped}]")
            at = close + 1
        else:
            out.append(re.escape(char))
    try:
        re.compile("".join(out))
    except re.error as error:
        raise BadPattern(f"the pattern {pattern!r} can't be read: {error}") from None
    return "".join(out)


class Ignore:
    """Decides about paths; ``names`` are relative with "/" between names."""

    def __init__(self, patterns: list[str]) -> None:
        self._rules: list[tuple[bool, re.Pattern[str]]] = []
        self._negated: list[str] = []
        for pattern in patterns:
            negated = pattern.startswith("!")
            plain = pattern[1:] if negated else pattern
            if not plain:
                raise BadPattern('illegal exclusion pattern: "!"')
            self._rules.append((negated, re.compile(translate(plain) + r"(?:/.*)?", re.DOTALL)))
            if negated:
                self._negated.append(plain)

    @property
    def empty(self) -> bool:
        return not self._rules

    def __call__(self, name: str) -> bool:
        """Whether the path is kept out."""
        out = False
        for negated, pattern in self._rules:
            if out is negated and pattern.fullmatch(name):
                out = not negated
        return out

    def prunes(self, name: str) -> bool:
        """Whether the directory ``name``, itself kept out, can have nothing below it taken in."""
        depth = name.split("/")
        for pattern in self._negated:
            for part, mine in zip(pattern.split("/"), depth, strict=False):
                if "**" in part:
                    return False
                if part != mine and not re.fullmatch(translate(part), mine):
                    break
            else:
                return False
        return True


def read(text: str) -> Ignore:
    """The rules of an ignore file's text. Raises ``BadPattern``."""
    return Ignore(lines(text))
