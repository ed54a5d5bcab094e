"""Cuts a template into tokens.

Outside of ``{{ }}`` everything is one text token; inside, spaces are tokens too, because they part
the arguments of a call: ``f .a`` passes ``.a``, ``f.a`` would not. Trim markers (``{{- `` and
`` -}}``) and comments are dealt with here and leave no trace in the result.

A token is ``(kind, value, line)``. Kinds: "text", "left" and "right" (the delimiters), "space",
"field" (value without its dot), "dot", "var" (value with its dollar), "word" (keyword, function,
``true``, ``nil``...), "string", "int", "float", and "op" for ``| ( ) := = ,``.
"""

from __future__ import annotations

from firkin.cli.template.errors import TemplateError
from firkin.cli.template.gofmt import quoted

Token = tuple[str, str | int | float, int]

_SPACE = " \t\r\n"
_ESCAPES = {
    "a": "\a",
    "b": "\b",
    "f": "\f",
    "n": "\n",
    "r": "\r",
    "t": "\t",
    "v": "\v",
    "\\": "\\",
    "'": "'",
    '"': '"',
}
_HEX_LENGTHS = {"x": 2, "u": 4, "U": 8}


def tokens(text: str) -> list[Token]:
    """All tokens of ``text``; raises TemplateError for what can be no template."""
    found: list[Token] = []
    position = 0
    trim_next = False
    while True:
        start = text.find("{{", position)
        literal = text[position:] if start < 0 else text[position:start]
        if trim_next:
            literal = literal.lstrip(_SPACE)
        trim_next = False
        if start < 0:
            if literal:
                found.append(("text", literal, _line(text, position)))
            return found
        inside = start + 2
        if text[inside : inside + 1] == "-" and text[inside + 1 : inside + 2] in _SPACE_SET:
            literal = literal.rstrip(_SPACE)
            inside += 2
        if literal:
            found.append(("text", literal, _line(text, position)))
        if text.startswith("/*", inside):
            position, trim_next = _comment(text, inside)
        else:
            position, trim_next = _Action(text, inside, found).run()


_SPACE_SET = frozenset(_SPACE)


def _line(text: str, position: int) -> int:
    return text.count("\n", 0, position) + 1


def _error(text: str, position: int, message: str) -> TemplateError:
    return TemplateError(f"template: :{_line(text, position)}: {message}")


def _comment(text: str, start: int) -> tuple[int, bool]:
    end = text.find("*/", start + 2)
    if end < 0:
        raise _error(text, start, "unclosed comment")
    end += 2
    if text.startswith("}}", end):
        return end + 2, False
    if text[end : end + 1] in _SPACE_SET and text.startswith("-}}", end + 1):
        return end + 4, True
    raise _error(text, start, "comment ends before closing delimiter")


class _Action:
    """Reads what is between one ``{{`` and its ``}}``."""

    def __init__(self, text: str, position: int, found: list[Token]) -> None:
        self.text = text
        self.at = position
        self.start = position
        self.line = _line(text, position)
        self.found = found
        self.open = 0
        """Parentheses that are not closed yet."""

    def run(self) -> tuple[int, bool]:
        """Append the action's tokens; return where text goes on and whether to trim it."""
        text = self.text
        self.add("left", "{{")
        while True:
            at = self.at
            if text.startswith("}}", at):
                self.check_closed()
                self.add("right", "}}")
                return at + 2, False
            char = text[at : at + 1]
            if not char:
                raise _error(text, self.start, "unclosed action")
            if char in _SPACE_SET:
                if text.startswith("-}}", at + 1):
                    self.check_closed()
                    self.add("right", "}}")
                    return at + 4, True
                self.space()
            else:
                self.item(char)

    def add(self, kind: str, value: str | int | float) -> None:
        self.found.append((kind, value, self.line))

    def check_closed(self) -> None:
        if self.open:
            raise _error(self.text, self.at, "unclosed left paren")

    def space(self) -> None:
        while self.text[self.at : self.at + 1] in _SPACE_SET:
            if self.text.startswith("-}}", self.at + 1):
                break
            self.line += self.text[self.at] == "\n"
            self.at += 1
        self.add("space", " ")

    def item(self, char: str) -> None:
        text, at = self.text, self.at
        following = text[at + 1 : at + 2]
        if char in "|(),=":
            self.at += 1
            self.open += {"(": 1, ")": -1}.get(char, 0)
            if self.open < 0:
                raise _error(text, at, "unexpected right paren")
            self.add("op", char)
        elif text.startswith(":=", at):
            self.at += 2
            self.add("op", ":=")
        elif char == '"':
            self.add("string", self.quoted('"'))
        elif char == "`":
            end = text.find("`", at + 1)
            if end < 0:
                raise _error(text, at, "unterminated raw quoted string")
            self.add("string", text[at + 1 : end])
            self.line += text.count("\n", at, end)
            self.at = end + 1
        elif char == "'":
            literal = self.quoted("'")
            if len(literal) != 1:
                raise _error(text, at, f"malformed character constant: '{literal}'")
            self.add("int", ord(literal))
        elif char == "$":
            self.at += 1
            self.add("var", "$" + self.name())
            self.end_of_item()
        elif char == "." and not _is_digit(following):
            self.at += 1
            name = self.name()
            self.add("field" if name else "dot", name)
            self.end_of_item()
        elif _is_digit(char) or (char in "+-." and (_is_digit(following) or following == ".")):
            self.number()
        elif char.isalpha() or char == "_":
            self.add("word", self.name())
            self.end_of_item()
        elif char.isascii() and char.isprintable():
            self.at += 1
            self.add("char", char)
        else:
            raise _error(text, at, f"unrecognized character in action: U+{ord(char):04X} '{char}'")

    def name(self) -> str:
        end = self.at
        while end < len(self.text) and (self.text[end].isalnum() or self.text[end] == "_"):
            end += 1
        name, self.at = self.text[self.at : end], end
        return name

    def end_of_item(self) -> None:
        following = self.text[self.at : self.at + 1]
        if self.text.startswith("}}", self.at):
            return
        if following and following not in " \t\r\n.,|:()":
            shown = f"U+{ord(following):04X} '{following}'"
            raise _error(self.text, self.at, f"bad character {shown}")

    def number(self) -> None:
        """A number, as far as its own grammar goes; what follows it may not be a letter or sign."""
        text, at = self.text, self.at
        end = at + (text[at] in "+-")
        base = text[end : end + 2].lower()
        digits = {"0x": "0123456789abcdefABCDEF_", "0o": "01234567_", "0b": "01_"}.get(base)
        end = self.run_of(digits or "0123456789_", end + 2 if digits else end)
        if text[end : end + 1] == ".":
            end = self.run_of(digits or "0123456789_", end + 1)
        if text[end : end + 1] in (("p", "P") if base == "0x" else ("e", "E")):
            end += 1 + (text[end + 1 : end + 2] in ("+", "-"))
            end = self.run_of("0123456789_", end)
        following = text[end : end + 1]
        if following and (following.isalnum() or following in "_+-"):
            value, end = None, end + 1
        else:
            value = _number(text[at:end])
        literal = quoted(text[at:end])
        if value is None:
            raise _error(text, at, f"bad number syntax: {literal}")
        if isinstance(value, int) and not -(1 << 63) <= value < 1 << 63:
            raise _error(text, at, f"integer overflow: {literal}")
        self.at = end
        self.add("float" if isinstance(value, float) else "int", value)

    def run_of(self, characters: str, at: int) -> int:
        """Where the characters from ``at`` on are no longer among these."""
        while self.text[at : at + 1] and self.text[at] in characters:
            at += 1
        return at

    def quoted(self, quote: str) -> str:
        """A quoted constant with its escapes resolved."""
        text, at, start = self.text, self.at + 1, self.at
        parts: list[str] = []
        while True:
            char = text[at : at + 1]
            if not char or char == "\n":
                raise _error(text, start, "unterminated quoted string")
            at += 1
            if char == quote:
                self.at = at
                return "".join(parts)
            if char != "\\":
                parts.append(char)
                continue
            kind = text[at : at + 1]
            at += 1
            if kind in _ESCAPES:
                parts.append(_ESCAPES[kind])
                continue
            length = _HEX_LENGTHS.get(kind, 3)
            digits = text[at : at + length] if kind in _HEX_LENGTHS else text[at - 1 : at + 2]
            base = 16 if kind in _HEX_LENGTHS else 8
            try:
                parts.append(chr(int(digits, base)))
            except (ValueError, OverflowError):
                raise _error(text, start, f"invalid escape \\{kind} in a string") from None
            at += length if kind in _HEX_LENGTHS else 2


def _is_digit(char: str) -> bool:
    return char != "" and char in "0123456789"


def _number(literal: str) -> int | float | None:
    try:
        digits = literal.lstrip("+-")
        if digits[:1] == "0" and digits[1:].isdigit():
            return int(literal.replace("0", "0o", 1), 8)
        return int(literal, 0)
    except ValueError:
        pass
    try:
        if "x" in literal.lower():
            return float.fromhex(literal)
        number = float(literal)
        return number if abs(number) != float("inf") and number == number else None
    except ValueError:
        return None
