"""Replacing variables in a Dockerfile's words, and splitting words.

::

    $v ${v}              the value, "" when unset
    ${v:-w} ${v-w}       w when v is unset (":": or empty); ${v:+w} ${v+w} the other way round
    ${v:?e} ${v?e}       an error with the text e when v is unset (or empty)
    ${v#p} ${v##p}       without the shortest (longest) match of the pattern p at the beginning
    ${v%p} ${v%%p}       the same at the end
    ${v/p/r} ${v//p/r}   the first (every) match of p replaced by r

Patterns know ``*``, ``?`` and escaping. Single quotes keep everything, double quotes keep blanks;
the escape character keeps the next one. Source: the Dockerfile reference, "Environment
replacement".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_MAX_DEPTH = 50


class Expander:
    """Expands words with one set of variables; ``missing`` collects the names that were unset."""

    def __init__(self, variables: Mapping[str, str], escape: str = "\\") -> None:
        self._variables = variables
        self._escape = escape
        self.missing: dict[str, None] = {}
        self.used: dict[str, None] = {}

    def word(self, text: str, *, keep_quotes: bool = False) -> str:
        """``text`` with variables replaced and quotes taken away. Raises ``ValueError``."""
        return "".join(self._run(text, keep_quotes).whole())

    def words(self, text: str) -> list[str]:
        """The same, split at blanks that are not quoted, those of values included."""
        return self._run(text, False).split()

    def raw(self, text: str) -> str:
        """The text of a here-document with variables replaced; quotes mean nothing in it."""
        return "".join(_Run(self, text, self._escape, False, quotes=False).whole())

    def _run(self, text: str, keep: bool) -> _Run:
        return _Run(self, text, self._escape, keep)

    def get(self, name: str) -> str | None:
        """The value of a variable; notes its use."""
        self.used[name] = None
        value = self._variables.get(name)
        if value is None:
            self.missing[name] = None
        return value


class _Run:
    """One text being expanded."""

    def __init__(
        self, owner: Expander, text: str, escape: str, keep: bool, *, quotes: bool = True,
        depth: int = 0,
    ) -> None:  # fmt: skip
        self._owner = owner
        self._text = text
        self._escape = escape
        self._keep = keep
        self._quotes = quotes
        self._depth = depth
        self._at = 0
        # Pieces of output, each with whether blanks in it separate words.
        self._out: list[tuple[str, bool]] = []
        self._explicit = False
        if depth > _MAX_DEPTH:
            raise ValueError("substitutions are nested too deep")

    def whole(self) -> list[str]:
        self._go()
        return [piece for piece, _ in self._out]

    def split(self) -> list[str]:
        self._go()
        words: list[str] = []
        current: list[str] = []
        started = False
        for piece, splits in self._out:
            if not splits:
                current.append(piece)
                started = True
                continue
            for part in re.split(r"(\s+)", piece):
                if part.isspace():
                    if started:
                        words.append("".join(current))
                    current, started = [], False
                elif part:
                    current.append(part)
                    started = True
        if started:
            words.append("".join(current))
        return words

    def _emit(self, text: str, splits: bool) -> None:
        self._out.append((text, splits))

    def _go(self) -> None:
        text = self._text
        while self._at < len(text):
            char = text[self._at]
            if char == "$":
                self._emit(self._dollar(), True)
            elif self._quotes and char == "'":
                self._single()
            elif self._quotes and char == '"':
                self._double()
            elif char == self._escape:
                self._at += 1
                if self._at == len(text):
                    # Nothing follows: the character stands for itself.
                    self._emit(char, False)
                    break
                kept = self._keep or (not self._quotes and text[self._at] not in "$" + self._escape)
                self._emit((char if kept else "") + text[self._at], False)
                self._at += 1
            else:
                end = self._at
                stop = "$'\"" + self._escape if self._quotes else "$" + self._escape
                while end < len(text) and text[end] not in stop:
                    end += 1
                self._emit(text[self._at : end], True)
                self._at = end

    def _single(self) -> None:
        end = self._text.find("'", self._at + 1)
        if end < 0:
            raise ValueError("unexpected end of statement while looking for matching single-quote")
        inner = self._text[self._at + 1 : end]
        self._emit(f"'{inner}'" if self._keep else inner, False)
        self._at = end + 1

    def _double(self) -> None:
        text, out = self._text, []
        self._at += 1
        while True:
            if self._at >= len(text):
                raise ValueError(
                    "unexpected end of statement while looking for matching double-quote"
                )
            char = text[self._at]
            if char == '"':
                self._at += 1
                break
            if char == "$":
                out.append(self._dollar())
            elif char == self._escape and self._at + 1 < len(text):
                following = text[self._at + 1]
                special = following in '"$' + self._escape
                out.append(following if special and not self._keep else char + following)
                self._at += 2
            else:
                out.append(char)
                self._at += 1
        inner = "".join(out)
        self._emit(f'"{inner}"' if self._keep else inner, False)

    def _dollar(self) -> str:
        text = self._text
        self._at += 1
        if self._at >= len(text):
            return "$"
        if text[self._at] == "{":
            self._at += 1
            return self._braces()
        match = _NAME.match(text, self._at)
        if match is not None:
            self._at = match.end()
            return self._owner.get(match[0]) or ""
        char = text[self._at]
        if char.isdigit() or char in "@*#":
            self._at += 1
            return self._owner.get(char) or "" if char.isdigit() else ""
        return "$"

    def _braces(self) -> str:
        text = self._text
        match = _NAME.match(text, self._at) or re.compile(r"[0-9]+|[@*#]").match(text, self._at)
        if match is None:
            raise ValueError(f"{text[self._at - 2 :][:80]!r}: bad substitution")
        name = match[0]
        self._at = match.end()
        if self._at >= len(text):
            raise ValueError("syntax error: missing '}'")
        if text[self._at] == "}":
            self._at += 1
            return self._owner.get(name) or ""
        return self._modified(name)

    def _modified(self, name: str) -> str:
        text = self._text
        rest = text[self._at :]
        for operator in (":-", ":+", ":?", "-", "+", "?", "##", "#", "%%", "%", "//", "/"):
            if rest.startswith(operator):
                break
        else:
            raise ValueError(f"unsupported modifier ({rest[:1]}) in substitution of {name}")
        self._at += len(operator)
        if operator in ("/", "//"):
            pattern = self._until("/", "}")
            replaced = ""
            if text[self._at - 1] == "/":
                replaced = self._until("}")
            value = self._owner.get(name) or ""
            regex = re.compile(_glob(self._sub(pattern, keep=True), True), re.DOTALL)
            count = 0 if operator == "//" else 1
            result = self._sub(replaced)
            return regex.sub(lambda _: result, value, count=count) if regex.pattern else value
        word = self._until("}")
        return self._default(name, operator, word)

    def _default(self, name: str, operator: str, word: str) -> str:
        before = name in self._owner.missing
        value = self._owner.get(name)
        if not before and operator in (":-", "-", ":+", "+"):
            self._owner.missing.pop(name, None)  # the author has thought of it
        kind = operator[-1]
        if kind in "#%":
            pattern = self._sub(word, keep=True)
            return _trim(value or "", pattern, operator)
        absent = value is None or (operator.startswith(":") and value == "")
        if kind == "-":
            return self._sub(word) if absent else value or ""
        if kind == "+":
            return "" if absent else self._sub(word)
        if absent:
            reason = self._sub(word) or ("is not allowed to be empty" if value == "" else
                                         "is not allowed to be unset")  # fmt: skip
            raise ValueError(f"{name}: {reason}")
        return value or ""

    def _sub(self, text: str, keep: bool = False) -> str:
        run = _Run(self._owner, text, self._escape, keep, depth=self._depth + 1)
        return "".join(run.whole())

    def _until(self, *stops: str) -> str:
        """The raw text up to one of ``stops`` that is not nested, quoted or escaped."""
        text, start, depth = self._text, self._at, 0
        quote = ""
        while self._at < len(text):
            char = text[self._at]
            if char == self._escape and self._at + 1 < len(text):
                self._at += 2
                continue
            if quote:
                quote = "" if char == quote else quote
            elif char in "\"'":
                quote = char
            elif text.startswith("${", self._at):
                depth += 1
                self._at += 2
                continue
            elif depth and char == "}":
                depth -= 1
            elif not depth and char in stops:
                self._at += 1
                return text[start : self._at - 1]
            self._at += 1
        raise ValueError("syntax error: missing '}'")


def _glob(pattern: str, greedy: bool) -> str:
    """A shell pattern of ``*``, ``?`` and escapes as a regular expression."""
    out: list[str] = []
    at = 0
    while at < len(pattern):
        char = pattern[at]
        if char == "*":
            out.append(".*" if greedy else ".*?")
        elif char == "?":
            out.append(".")
        elif char == "\\":
            at += 1
            if at == len(pattern):
                raise ValueError(f"invalid pattern {pattern!r}: ends with an escape")
            out.append(re.escape(pattern[at]))
        else:
            out.append(re.escape(char))
        at += 1
    return "".join(out)


def _trim(value: str, pattern: str, operator: str) -> str:
    longest = len(operator) == 2
    whole = re.compile(_glob(pattern, True), re.DOTALL)
    cuts = range(len(value) + 1)
    if operator[0] == "#":
        for cut in reversed(cuts) if longest else cuts:
            if whole.fullmatch(value, 0, cut):
                return value[cut:]
    else:
        for cut in cuts if longest else reversed(cuts):
            if whole.fullmatch(value, cut):
                return value[:cut]
    return value


def split(text: str, escape: str = "\\") -> list[str]:
    """Words of ``text`` at unquoted blanks, with quotes and escapes left in them."""
    words: list[str] = []
    current: list[str] = []
    quote = ""
    at = 0
    while at < len(text):
        char = text[at]
        if quote:
            current.append(char)
            if char == escape and quote == '"' and at + 1 < len(text):
                at += 1
                current.append(text[at])
            elif char == quote:
                quote = ""
        elif char.isspace():
            if current:
                words.append("".join(current))
            current = []
        else:
            current.append(char)
            if char in "\"'":
                quote = char
            elif char == escape and at + 1 < len(text):
                at += 1
                current.append(text[at])
        at += 1
    if current:
        words.append("".join(current))
    return words


def as_dict(env: Iterable[str]) -> dict[str, str]:
    """``["A=1"]`` as a dict."""
    return dict(item.partition("=")[::2] for item in env)
