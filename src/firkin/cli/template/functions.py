"""The functions that a template may call: Go's own and those that the official client adds.

``TABLE`` maps a name to what is called. Arguments are checked by use: a TypeError, ValueError or
AttributeError out of here becomes a TemplateError that names the types given. ``and`` and ``or``
are listed for the parser only, the executor evaluates them, as it stops at the deciding argument.

Strings are indexed, cut and measured in bytes, as in Go.
"""

from __future__ import annotations

from collections.abc import Callable

from firkin.cli.template import gofmt
from firkin.cli.template.errors import TemplateError
from firkin.cli.template.values import Map, Nil, Struct, plain

_MAX_PAD = 1_000_000


def truth(value: object) -> bool:
    """Whether ``if`` takes the value for true: not zero, not empty, not nil; any struct is."""
    if isinstance(value, Struct):
        return True
    return bool(value)


# Comparison


def _kind(value: object) -> str:
    if isinstance(value, bool):
        return "bool"
    for kind, name in ((int, "int"), (float, "float"), (str, "string")):
        if isinstance(value, kind):
            return name
    if value is None or isinstance(value, Nil):
        return "nil"
    raise TemplateError("non-comparable type")


def _eq(first: object, *others: object) -> bool:
    if not others:
        raise TemplateError("missing argument for comparison")
    kind = _kind(first)
    for other in others:
        other_kind = _kind(other)
        if kind == other_kind:
            if kind == "nil" or first == other:
                return True
        elif "nil" not in (kind, other_kind):
            raise TemplateError("incompatible types for comparison")
    return False


def _ne(first: object, second: object) -> bool:
    return not _eq(first, second)


def _ordered(first: object, second: object) -> tuple[str | float, str | float]:
    kind = _kind(first)
    if kind != _kind(second):
        raise TemplateError("incompatible types for comparison")
    if isinstance(first, bool | Nil) or first is None:
        raise TemplateError("invalid type for comparison")
    assert isinstance(first, str | int | float) and isinstance(second, str | int | float)
    return first, second


def _lt(first: object, second: object) -> bool:
    left, right = _ordered(first, second)
    return left < right  # type: ignore[operator]


def _le(first: object, second: object) -> bool:
    left, right = _ordered(first, second)
    return left <= right  # type: ignore[operator]


def _gt(first: object, second: object) -> bool:
    return not _le(first, second)


def _ge(first: object, second: object) -> bool:
    return not _lt(first, second)


# Parts of values


def _position(value: object, length: int, *, inclusive: bool) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TemplateError(f"cannot index slice/array with type {gofmt.type_name(value)}")
    if value < 0 or value > length or (value == length and not inclusive):
        raise TemplateError(f"index out of range: {value}")
    return value


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "surrogateescape")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _index(value: object, *keys: object) -> object:
    for key in keys:
        if isinstance(value, str):
            data = _bytes(value)
            value = data[_position(key, len(data), inclusive=False)]
        elif isinstance(value, list | tuple):
            value = value[_position(key, len(value), inclusive=False)]
        elif isinstance(value, dict) and not isinstance(value, Struct):
            if not isinstance(key, str):
                raise TemplateError(f"value has type {gofmt.type_name(key)}; should be string")
            if isinstance(value, Map) and value.key != "string":
                raise TemplateError(f"value has type string; should be {value.key}")
            value = value.get(key, value.zero if isinstance(value, Map) else None)
        elif value is None:
            raise TemplateError("index of untyped nil")
        else:
            raise TemplateError(f"can't index item of type {gofmt.type_name(value)}")
    return value


def _slice(value: object, *bounds: object) -> object:
    if len(bounds) > 3:
        raise TemplateError(f"too many slice indexes: {len(bounds)}")
    if len(bounds) == 3 and isinstance(value, str):
        raise TemplateError("cannot 3-index slice a string")
    if not isinstance(value, str | list | tuple):
        raise TemplateError(f"can't slice item of type {gofmt.type_name(value)}")
    items = _bytes(value) if isinstance(value, str) else value
    positions = [_position(bound, len(items), inclusive=True) for bound in bounds]
    start = positions[0] if positions else 0
    end = positions[1] if len(positions) > 1 else len(items)
    if start > end:
        raise TemplateError(f"invalid slice index: {start} > {end}")
    part = items[start:end]
    return _text(part) if isinstance(part, bytes) else part


def _len(value: object) -> int:
    if isinstance(value, str):
        return len(_bytes(value))
    if isinstance(value, Struct) or not isinstance(value, dict | list | tuple):
        raise TemplateError(f"len of type {gofmt.type_name(value)}")
    return len(value)


def _call(function: object, *arguments: object) -> object:
    if function is None:
        raise TemplateError("call of nil")
    if not callable(function):
        raise TemplateError(f"non-function of type {gofmt.type_name(function)}")
    result: object = function(*arguments)
    return result


# Text


def _print(*values: object) -> str:
    return gofmt.sprint(values)


def _println(*values: object) -> str:
    return " ".join(gofmt.argument(value) for value in values) + "\n"


def _printf(pattern: str, *values: object) -> str:
    return gofmt.sprintf(_string(pattern), values)


def _string(value: object) -> str:
    if not isinstance(value, str):
        raise TemplateError(f"wrong type for value; expected string; got {gofmt.type_name(value)}")
    return value


def _joined(values: tuple[object, ...]) -> str:
    return values[0] if len(values) == 1 and isinstance(values[0], str) else gofmt.sprint(values)


_HTML = {
    ord("<"): "&lt;",
    ord(">"): "&gt;",
    ord("&"): "&amp;",
    ord('"'): "&#34;",
    ord("'"): "&#39;",
    0: "\ufffd",
}
_JS = {
    ord("\\"): "\\\\",
    ord("'"): "\\'",
    ord('"'): '\\"',
    ord("<"): "\\u003C",
    ord(">"): "\\u003E",
    ord("&"): "\\u0026",
    ord("="): "\\u003D",
}


def _html(*values: object) -> str:
    return _joined(values).translate(_HTML)


def _js(*values: object) -> str:
    parts = []
    for char in _joined(values):
        escaped = _JS.get(ord(char))
        if escaped is None and (ord(char) < 32 or not char.isprintable()):
            escaped = f"\\u{ord(char):04X}"
        parts.append(char if escaped is None else escaped)
    return "".join(parts)


_UNRESERVED = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789-_.~")


def _urlquery(*values: object) -> str:
    return "".join(
        chr(byte) if byte in _UNRESERVED else "+" if byte == 32 else f"%{byte:02X}"
        for byte in _bytes(_joined(values))
    )


def _json(value: object) -> str:
    encode = getattr(value, "to_json", None)
    if encode is not None:
        return str(encode())
    rows = isinstance(value, list) and bool(value) and hasattr(value[0], "to_json")
    return to_json(plain(value), html_safe=rows)


def to_json(value: object, *, html_safe: bool = False) -> str:
    """Compact JSON in the manner of Go's encoder.

    ``html_safe`` also escapes the characters that mean something in HTML, as Go does by default;
    U+2028 and U+2029 are escaped always.
    """
    import json

    text = json.dumps(value, ensure_ascii=False, separators=(",", ":"))
    if "\u2028" in text or "\u2029" in text:
        text = text.replace("\u2028", "\\u2028").replace("\u2029", "\\u2029")
    if html_safe:
        text = text.replace("&", "\\u0026").replace("<", "\\u003c").replace(">", "\\u003e")
    return text


def _split(text: str, separator: str) -> list[str]:
    text, separator = _string(text), _string(separator)
    return text.split(separator) if separator else list(text)


def _upper(text: str) -> str:
    """Letter by letter: one that has no single capital letter stays as it is."""
    capitals = ((char, char.upper()) for char in _string(text))
    return "".join(capital if len(capital) == 1 else char for char, capital in capitals)


def _join(items: list[object], separator: str) -> str:
    return _string(separator).join(_string(item) for item in items)


def _title(text: str) -> str:
    parts: list[str] = []
    word = False
    for char in _string(text):
        parts.append(char if word else char.upper())
        if char.isascii():
            word = char.isalnum() or char == "_"
        else:
            word = char.isalnum() or (word and not char.isspace())
    return "".join(parts)


def _pad(text: str, before: int, after: int) -> str:
    if not _string(text):
        return text
    if min(before, after) < 0:
        raise TemplateError("strings: negative Repeat count")
    if max(before, after) > _MAX_PAD:
        raise TemplateError(f"can't pad with more than {_MAX_PAD} spaces")
    return " " * before + text + " " * after


def _truncate(text: str, length: int) -> str:
    data = _bytes(_string(text))
    if length < 0:
        raise TemplateError(f"runtime error: slice bounds out of range [:{length}]")
    return text if len(data) < length else _text(data[:length])


TABLE: dict[str, Callable[..., object]] = {
    "and": truth,
    "or": truth,
    "not": lambda value: not truth(value),
    "eq": _eq,
    "ne": _ne,
    "lt": _lt,
    "le": _le,
    "gt": _gt,
    "ge": _ge,
    "index": _index,
    "slice": _slice,
    "len": _len,
    "call": _call,
    "print": _print,
    "printf": _printf,
    "println": _println,
    "html": _html,
    "js": _js,
    "urlquery": _urlquery,
    "json": _json,
    "split": _split,
    "join": _join,
    "title": _title,
    "lower": lambda text: _string(text).lower(),
    "upper": _upper,
    "pad": _pad,
    "truncate": _truncate,
}


_MANY = 1 << 30
SIGNATURES: dict[str, tuple[int, int, tuple[type, ...]]] = {
    **dict.fromkeys(("and", "or", "eq", "index", "slice", "call"), (1, _MANY, ())),
    **dict.fromkeys(("not", "len", "json"), (1, 1, ())),
    **dict.fromkeys(("ne", "lt", "le", "gt", "ge"), (2, 2, ())),
    **dict.fromkeys(("print", "println", "html", "js", "urlquery"), (0, _MANY, ())),
    **dict.fromkeys(("title", "lower", "upper"), (1, 1, (str,))),
    "printf": (1, _MANY, (str,)),
    "split": (2, 2, (str, str)),
    "join": (2, 2, (list, str)),
    "pad": (3, 3, (str, int, int)),
    "truncate": (2, 2, (str, int)),
}
"""How many arguments a function takes, at least and at most, and what the first ones must be."""


def header_table() -> dict[str, Callable[..., object]]:
    """The functions for a table's header: those that would change a title leave it alone."""
    same: dict[str, Callable[..., object]] = dict.fromkeys(
        ("json", "title", "lower", "upper"), _string
    )
    same["truncate"] = same["split"] = lambda title, _: _string(title)
    return {**TABLE, **same}
