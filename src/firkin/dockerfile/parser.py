"""From the text of a Dockerfile to its instructions' words.

The grammar works on *logical* lines: a line that ends in the escape character goes on in the next,
comments and blank lines in between are dropped. What follows the keyword depends on it: flags come
first for all, the rest is split by ``instructions``. RUN, COPY and ADD may carry here-documents,
whose lines follow the logical line.

Source of the rules: the Dockerfile reference, "Format", "Parser directives" and "Here-Documents".
"""

from __future__ import annotations

import re

import msgspec

from firkin.dockerfile import errors
from firkin.types import shell

MAX_SIZE = 16 << 20
_DIRECTIVE = re.compile(r"#[ \t]*([A-Za-z][A-Za-z0-9]*)[ \t]*=[ \t]*(.+?)[ \t]*")
_SLASHES = re.compile(r"//[ \t]*syntax[ \t]*=[ \t]*(.+?)[ \t]*")
_HEREDOC = re.compile(r"^(\d*)<<(-?)([^<]*)$")
_KNOWN = ("syntax", "escape", "check")
_WITH_HEREDOC = frozenset({"RUN", "COPY", "ADD"})


class Heredoc(msgspec.Struct, frozen=True):
    """A here-document: its delimiter, its text, and whether variables in it are replaced."""

    name: str
    content: str
    expand: bool
    chomp: bool = False


class Node(msgspec.Struct, frozen=True):
    """One instruction: upper-case ``keyword`` and as it was ``written``, flags, and the ``rest``.

    ``original`` is the logical line; ``first`` and ``last`` are line numbers from 1. ``comment`` is
    the block of comment lines right above, without their marks.
    """

    keyword: str
    written: str
    flags: tuple[str, ...]
    rest: str
    original: str
    first: int
    last: int
    heredocs: tuple[Heredoc, ...] = ()
    comment: str = ""


class Warned(msgspec.Struct, frozen=True):
    """Something the parser noticed that a later check reports."""

    rule: str
    line: int


class Parsed(msgspec.Struct, frozen=True):
    """A whole file. ``directives`` maps lower-case names to values."""

    nodes: tuple[Node, ...]
    directives: dict[str, str]
    escape: str = "\\"
    warned: tuple[Warned, ...] = ()


def decode(data: bytes) -> str:
    """The text of a Dockerfile. Raises ``DockerfileError`` for what can't be one."""
    if len(data) > MAX_SIZE:
        raise errors.DockerfileError(f"the Dockerfile is larger than {MAX_SIZE >> 20} MiB")
    try:
        return data.decode("utf-8-sig").replace("\r\n", "\n")
    except UnicodeDecodeError as error:
        line = data[: error.start].count(b"\n") + 1
        raise errors.DockerfileError("the Dockerfile is not UTF-8 text", line) from None


def _directives(lines: list[str]) -> tuple[dict[str, str], int]:
    """The parser directives at the top, and how many lines they take."""
    found: dict[str, str] = {}
    at = 1 if lines and lines[0].startswith("#!") else 0
    if at < len(lines) and (match := _SLASHES.fullmatch(lines[at].strip())):
        return {"syntax": match[1]}, at + 1
    while at < len(lines):
        match = _DIRECTIVE.fullmatch(lines[at].strip())
        if match is None or match[1].lower() not in _KNOWN:
            break
        name = match[1].lower()
        if name in found:
            raise errors.DockerfileError(f"only one {name} parser directive can be used", at + 1)
        found[name] = match[2]
        at += 1
    return found, at


def _escape(directives: dict[str, str]) -> str:
    value = directives.get("escape", "\\")
    if value not in ("\\", "`"):
        raise errors.DockerfileError(f"invalid escape token {value!r}: use ` or \\", 1)
    return value


class _Reader:
    """Goes through the lines once."""

    def __init__(self, lines: list[str], start: int, escape: str) -> None:
        self.lines = lines
        self.at = start
        self.escape = escape
        quoted = re.escape(escape)
        self._continues = re.compile(rf"(?:[^{quoted}]|^){quoted}[ \t]*$")
        self.warned: list[Warned] = []

    def logical(self) -> tuple[str, int] | None:
        """The next logical line and the number of its first line; None at the end."""
        comment: list[str] = []
        self.comment = ""
        while self.at < len(self.lines):
            stripped = self.lines[self.at].strip()
            if not stripped:
                comment = []
            elif stripped.startswith("#"):
                comment.append(stripped[1:].strip())
            else:
                break
            self.at += 1
        else:
            return None
        self.comment = "\n".join(comment)
        first = self.at + 1
        text, more = self._line(self.lines[self.at].lstrip())
        self.at += 1
        empty = False
        while more and self.at < len(self.lines):
            line = self.lines[self.at]
            self.at += 1
            stripped = line.strip()
            if not stripped:
                empty = True
                continue
            if stripped.startswith("#"):
                continue
            part, more = self._line(line)
            text += part
        if empty:
            self.warned.append(Warned("NoEmptyContinuation", self.at))
        return text, first

    def _line(self, line: str) -> tuple[str, bool]:
        if self._continues.search(line):
            return line.rstrip(" \t")[:-1], True
        return line, False

    def heredoc(self, name: str, chomp: bool, first: int) -> str:
        """The lines up to the delimiter."""
        content: list[str] = []
        while self.at < len(self.lines):
            line = self.lines[self.at]
            self.at += 1
            if (line.lstrip("\t") if chomp else line) == name:
                return "".join(f"{part}\n" for part in content)
            content.append(line.lstrip("\t") if chomp else line)
        raise errors.DockerfileError(f"unterminated heredoc: no line {name!r} follows", first)


def _split_flags(text: str, escape: str) -> tuple[list[str], str]:
    """The ``--flag[=value]`` words at the beginning, unquoted, and the rest."""
    flags: list[str] = []
    at = 0
    while True:
        while at < len(text) and text[at].isspace():
            at += 1
        if not text.startswith("--", at):
            return flags, text[at:]
        word: list[str] = []
        quote = ""
        while at < len(text):
            char = text[at]
            if quote:
                if char == quote:
                    quote = ""
                elif char == escape and quote == '"' and at + 1 < len(text):
                    at += 1
                    word.append(text[at])
                else:
                    word.append(char)
            elif char.isspace():
                break
            elif char in "\"'" and word and word[-1] in ("=", ","):
                # Quotes of a CSV field stay, its reader takes them away.
                quote = char if word[-1] == "=" else ""
                if not quote:
                    word.append(char)
            elif char == escape and at + 1 < len(text):
                at += 1
                word.append(text[at])
            else:
                word.append(char)
            at += 1
        flag = "".join(word)
        if flag == "--":
            return flags, text[at:].lstrip()
        flags.append(flag)


def heredoc_of(word: str) -> tuple[str, bool, bool] | None:
    """``(delimiter, expand, chomp)`` when ``word`` begins a here-document."""
    match = _HEREDOC.match(word)
    if match is None or not match[3]:
        return None
    raw = match[3]
    quoted = raw[0] in "\"'" and len(raw) > 2 and raw[-1] == raw[0]
    name = raw[1:-1] if quoted else raw
    if not name or any(char in "\"'" or char.isspace() for char in name):
        return None
    return name, not quoted, bool(match[2])


def parse(text: str) -> Parsed:
    """The instructions of a Dockerfile. Raises ``DockerfileError``."""
    lines = text.split("\n")
    directives, start = _directives(lines)
    escape = _escape(directives)
    reader = _Reader(lines, start, escape)
    nodes: list[Node] = []
    while (found := reader.logical()) is not None:
        nodes.append(_node(reader, *found))
    if not nodes:
        raise errors.DockerfileError("file with no instructions")
    return Parsed(tuple(nodes), directives, escape, tuple(reader.warned))


def _node(reader: _Reader, text: str, first: int) -> Node:
    comment = reader.comment
    text = text.strip()
    written, _, rest = _cut(text)
    keyword = written.upper()
    inner = rest
    carrier = keyword
    if keyword == "ONBUILD":
        word, _, inner = _cut(rest.strip())
        carrier = word.upper()
    heredocs: list[Heredoc] = []
    original = text
    if carrier in _WITH_HEREDOC and not _is_json(inner):
        for word in shell.split(inner):
            if (opened := heredoc_of(word)) is None:
                continue
            name, expand, chomp = opened
            start = reader.at
            content = reader.heredoc(name, chomp, first)
            heredocs.append(Heredoc(name, content, expand, chomp))
            original += "\n" + "\n".join(reader.lines[start : reader.at])
    flags, rest = _split_flags(rest, reader.escape) if keyword != "ONBUILD" else ([], rest.strip())
    return Node(
        keyword, written, tuple(flags), rest.rstrip() if not heredocs else rest, original, first,
        reader.at, tuple(heredocs), comment,
    )  # fmt: skip


def _is_json(text: str) -> bool:
    return re.match(r"\s*(?:--\S+\s+)*\[", text) is not None and text.rstrip().endswith("]")


def _cut(text: str) -> tuple[str, str, str]:
    match = re.match(r"(\S+)(\s*)(.*)", text, re.DOTALL)
    if match is None:
        return text, "", ""
    return match[1], match[2], match[3]
