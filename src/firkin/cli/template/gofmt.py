"""Values as Go prints them: ``to_text`` for ``{{.X}}``, ``sprint`` and ``sprintf`` for functions.

Maps print as ``map[a:1 b:2]`` with sorted keys, slices as ``[a b]``, structs as ``{a b}``, a nil
inside of them as ``<nil>``. Floats print with the fewest digits that read back as the same
number, with an exponent below 1e-4 and from 1e6 on.
"""

from __future__ import annotations

from firkin.cli.template.errors import TemplateError
from firkin.cli.template.values import Map, Nil, Number, Struct

_MAX_WIDTH = 1_000_000
_QUOTES = {
    "\a": "\\a",
    "\b": "\\b",
    "\f": "\\f",
    "\n": "\\n",
    "\r": "\\r",
    "\t": "\\t",
    "\v": "\\v",
    "\\": "\\\\",
}


def to_text(value: object) -> str:
    """What an action such as ``{{.X}}`` prints."""
    if isinstance(value, str):
        return value
    return "<no value>" if value is None else show(value)


def show(value: object, plus: bool = False, quote: bool = False) -> str:
    """``%v``; with ``plus`` ``%+v``, which names the fields of structs."""
    if isinstance(value, str):
        return quoted(value) if quote else value
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return str(value)
    if isinstance(value, float):
        return shortest(value)
    if value is None or isinstance(value, Nil):
        return "<nil>"
    if isinstance(value, list | tuple):
        return "[" + " ".join(show(item, plus, quote) for item in value) + "]"
    if isinstance(value, Struct):
        pairs = [(name, value[name]) for name in value.shown]
        return (
            "{"
            + " ".join((f"{key}:" if plus else "") + show(item, plus, quote) for key, item in pairs)
            + "}"
        )
    if isinstance(value, dict):
        items = (f"{show(key)}:{show(value[key], plus, quote)}" for key in sorted(value))
        return "map[" + " ".join(items) + "]"
    printed = getattr(value, "printed", None)
    return show(printed(), plus, quote) if printed is not None else str(value)


def argument(value: object, plus: bool = False) -> str:
    """``value`` as a function that prints gets it: a pointer to a struct is ``&{...}``."""
    pointer = value.pointer if isinstance(value, Struct) else bool(getattr(value, "whole", None))
    return ("&" if pointer else "") + show(value, plus)


def type_name(value: object) -> str:
    """The name of the value's type, for ``%T`` and for errors."""
    if value is None or isinstance(value, Nil):
        return "<nil>"
    if isinstance(value, bool):
        return "bool"
    if isinstance(value, Struct):
        return value.type_name
    if isinstance(value, Map):
        return f"map[string]{type_name(value.zero) if value.zero is not None else 'interface {}'}"
    for kind, name in _TYPE_NAMES:
        if isinstance(value, kind):
            return name
    return str(getattr(value, "type_name", type(value).__name__))


_TYPE_NAMES: tuple[tuple[type, str], ...] = (
    (Number, "json.Number"),
    (str, "string"),
    (int, "int"),
    (float, "float64"),
    (dict, "map[string]interface {}"),
    (list, "[]interface {}"),
    (tuple, "[]interface {}"),
)


def shortest(value: float) -> str:
    """A float with the fewest digits that still identify it, as Go's ``%v`` writes it."""
    if value != value:
        return "NaN"
    if value in (float("inf"), float("-inf")):
        return "+Inf" if value > 0 else "-Inf"
    sign = "-" if str(value)[0] == "-" else ""
    mantissa, _, exponent_text = repr(abs(value)).partition("e")
    whole, _, fraction = mantissa.partition(".")
    fraction = "" if fraction == "0" else fraction
    digits = (whole + fraction).lstrip("0")
    point = len(whole) + int(exponent_text or "0") - (len(whole + fraction) - len(digits))
    digits = digits.rstrip("0")
    if not digits:
        return f"{sign}0"
    if -4 <= point - 1 < 6:
        if point <= 0:
            return f"{sign}0.{'0' * -point}{digits}"
        if len(digits) <= point:
            return sign + digits + "0" * (point - len(digits))
        return f"{sign}{digits[:point]}.{digits[point:]}"
    tail = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{sign}{digits[0]}{tail}e{point - 1:+03d}"


def quoted(text: str, mark: str = '"') -> str:
    """A Go string literal for ``text``."""
    parts = [mark]
    for char in text:
        code = ord(char)
        if char == mark:
            parts.append("\\" + char)
        elif char in _QUOTES:
            parts.append(_QUOTES[char])
        elif char.isprintable():
            parts.append(char)
        elif code < 0x80:
            parts.append(f"\\x{code:02x}")
        else:
            parts.append(f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}")
    parts.append(mark)
    return "".join(parts)


def _literal(value: object) -> str:
    """``%#v``: as it would be written in a program."""
    if isinstance(value, str):
        return quoted(value)
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return "[]string{" + ", ".join(map(_literal, value)) + "}"
    if isinstance(value, Map) and isinstance(value.zero, str):
        items = (f"{_literal(key)}:{_literal(value[key])}" for key in sorted(value))
        return "map[string]string{" + ", ".join(items) + "}"
    return show(value)


def sprint(values: tuple[object, ...]) -> str:
    """Values one after the other, a space between two of which neither is a string."""
    parts: list[str] = []
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            parts.append(" ")
        parts.append(argument(value))
    return "".join(parts)


def sprintf(pattern: str, values: tuple[object, ...]) -> str:
    """Go's ``fmt.Sprintf``, its ``%!`` notes about wrong arguments included."""
    parts: list[str] = []
    used = 0
    position = 0
    reordered = False
    while True:
        start = pattern.find("%", position)
        if start < 0:
            parts.append(pattern[position:])
            break
        parts.append(pattern[position:start])
        verb = _Verb()
        position, used = verb.read(pattern, start + 1, values, used)
        reordered = reordered or verb.indexed
        if verb.letter == "%":
            parts.append("%")
        elif not verb.letter:
            parts.append("%!(NOVERB)")
        elif verb.misplaced:
            parts.append(f"%!{verb.letter}(BADINDEX)")
        elif used >= len(values):
            parts.append(f"%!{verb.letter}(MISSING)")
        else:
            parts.append(verb.render(values[used]))
            used += 1
    if used < len(values) and not reordered:
        extra = ", ".join(
            "<nil>" if value is None else f"{type_name(value)}={show(value)}"
            for value in values[used:]
        )
        parts.append(f"%!(EXTRA {extra})")
    return "".join(parts)


class _Verb:
    """One ``%`` directive: flags, width, precision, letter."""

    def __init__(self) -> None:
        self.flags = ""
        self.width = -1
        self.precision = -1
        self.letter = ""
        self.indexed = False
        """It names its argument: ``%[2]d``."""
        self.misplaced = False
        """What it names is not there."""

    def read(self, pattern: str, at: int, values: tuple[object, ...], used: int) -> tuple[int, int]:
        """Parse from ``at``; return the positions in the pattern and in the values after it."""
        while pattern[at : at + 1] and pattern[at] in "+-# 0":
            self.flags += pattern[at]
            at += 1
        at, used = self._argument(pattern, at, values, used)
        self.width, at, used = self._number(pattern, at, values, used)
        if self.width < -1:
            self.flags += "-"
            self.width = -self.width
        if pattern[at : at + 1] == ".":
            at, used = self._argument(pattern, at + 1, values, used)
            self.precision, at, used = self._number(pattern, at, values, used)
            self.precision = max(self.precision, 0)
        at, used = self._argument(pattern, at, values, used)
        self.letter = pattern[at : at + 1]
        return at + 1, used

    def _argument(
        self, pattern: str, at: int, values: tuple[object, ...], used: int
    ) -> tuple[int, int]:
        """An explicit index, as in ``[2]``: where it ends, and the position that it names."""
        if pattern[at : at + 1] != "[":
            return at, used
        self.indexed = True
        digits, bracket, _ = pattern[at + 1 :].partition("]")
        if not bracket:
            self.misplaced = True
            return at + 1, used
        index = int(digits[:8]) - 1 if digits.isascii() and digits.isdigit() else -1
        self.misplaced = self.misplaced or not 0 <= index < len(values)
        return at + len(digits) + 2, used if self.misplaced else index

    def _number(
        self, pattern: str, at: int, values: tuple[object, ...], used: int
    ) -> tuple[int, int, int]:
        if pattern[at : at + 1] == "*":
            value = values[used] if used < len(values) else None
            if not isinstance(value, int) or abs(value) > _MAX_WIDTH:
                raise TemplateError("the width given for * is no number, or too large")
            return value, at + 1, used + 1
        end = at
        while pattern[end : end + 1] and pattern[end] in "0123456789":
            end += 1
        number = int(pattern[at:end][:8]) if end > at else -1
        if number > _MAX_WIDTH:
            raise TemplateError(f"the width {number} is too large")
        return number, end, used

    def render(self, value: object) -> str:
        """The padded text of ``value``."""
        text = self._text(value)
        if self.width <= len(text):
            return text
        if "-" in self.flags:
            return text.ljust(self.width)
        numeric = isinstance(value, int | float) and self.letter not in "tTcq"
        if "0" in self.flags and numeric and text.lstrip("+- ")[:1].isalnum():
            return text.zfill(self.width)
        return text.rjust(self.width)

    def _text(self, value: object) -> str:
        letter = self.letter
        if letter == "T":
            return type_name(value)
        if letter == "v":
            if "#" in self.flags and isinstance(value, str | list | dict):
                return _literal(value)
            return self._signed(value, argument(value, plus="+" in self.flags))
        if isinstance(value, list | tuple) and letter != "p":
            return "[" + " ".join(self._text(item) for item in value) + "]"
        if isinstance(value, Struct) and letter != "p":
            inner = " ".join(self._text(value[name]) for name in value.shown)
            return ("&{" if value.pointer else "{") + inner + "}"
        if isinstance(value, dict) and letter != "p":
            items = sorted(value.items())
            return "map[" + " ".join(f"{self._text(k)}:{self._text(v)}" for k, v in items) + "]"
        text: str | None = None
        if isinstance(value, str):
            text = self._string(value)
        elif isinstance(value, bool):
            text = show(value) if letter == "t" else None
        elif isinstance(value, int):
            text = self._integer(value)
        elif isinstance(value, float):
            text = self._float(value)
        if text is None:
            shown = "<nil>" if value is None else f"{type_name(value)}={show(value)}"
            return f"%!{letter}({shown})"
        return text

    def _signed(self, value: object, text: str) -> str:
        if isinstance(value, bool) or not isinstance(value, int | float) or value < 0:
            return text
        if "+" in self.flags:
            return text if text.startswith("+") else "+" + text
        return " " + text if " " in self.flags else text

    def _string(self, value: str) -> str | None:
        cut = value if self.precision < 0 else value[: self.precision]
        if self.letter == "s":
            return cut
        if self.letter == "q":
            if "#" in self.flags and "`" not in cut and cut.isprintable():
                return f"`{cut}`"
            return quoted(cut)
        if self.letter in ("x", "X"):
            text = cut.encode("utf-8", "replace").hex(*((" ",) if " " in self.flags else ()))
            return text if self.letter == "x" else text.upper()
        return None

    def _integer(self, value: int) -> str | None:
        letter = self.letter
        if letter in ("c", "q", "U"):
            if not 0 <= value < 0x110000:
                value = 0xFFFD
            if letter == "U":
                return f"U+{value:04X}"
            return chr(value) if letter == "c" else quoted(chr(value), "'")
        if letter not in ("d", "b", "o", "O", "x", "X"):
            return None
        prefix = {"x": "0x", "X": "0X", "o": "0", "b": "0b"}.get(letter, "")
        digits = format(abs(value), letter.lower())
        if letter == "X":
            digits = digits.upper()
        digits = digits.rjust(max(self.precision, 0), "0")
        shown = ("0o" if letter == "O" else prefix if "#" in self.flags else "") + digits
        return "-" + shown if value < 0 else self._signed(value, shown)

    def _float(self, value: float) -> str | None:
        letter = self.letter
        if letter not in ("e", "E", "f", "F", "g", "G"):
            return None
        if letter in ("g", "G") and self.precision < 0:
            text = shortest(value)
            text = text.upper() if letter == "G" else text
        else:
            precision = 6 if self.precision < 0 else self.precision
            text = format(value, f".{precision}{letter}")
        return self._signed(value, text)
