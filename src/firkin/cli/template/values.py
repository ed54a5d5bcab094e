"""The kinds of value that Go has and Python's JSON values lack."""

from __future__ import annotations


class Nil:
    """The type of ``NIL``."""

    __slots__ = ()

    def __bool__(self) -> bool:
        return False

    def __repr__(self) -> str:
        return "NIL"


NIL = Nil()
"""A nil pointer to a struct: unlike ``None`` it is a value, it prints as ``<nil>``."""


class NilList(list[object]):
    """A nil slice: like an empty one, but ``null`` in JSON."""

    __slots__ = ()


class Struct(dict[str, object]):
    """A Go struct: its fields keep the order of their declaration, a missing one is an error.

    ``raw`` is the value it was made from, which is what the function ``json`` shows: the JSON
    names of fields, and only those that were sent. ``shown`` names the fields that are printed;
    the fields of an embedded struct can be read here, but are printed as part of it. What is a
    ``pointer`` there prints with an ampersand where a function gets it.
    """

    __slots__ = ("pointer", "raw", "shown", "type_name")

    def __init__(
        self,
        type_name: str,
        fields: dict[str, object],
        raw: object,
        shown: list[str] | None = None,
    ) -> None:
        super().__init__(fields)
        self.type_name = type_name
        self.raw = raw
        self.pointer = False
        self.shown = list(fields) if shown is None else shown


class Number(str):
    """A number of JSON whose type isn't known: a string of its digits, as Go's json.Number is."""

    __slots__ = ()


class Map(dict[str, object]):
    """A Go map with a known element type: ``zero`` is what ``index`` finds for a missing key.

    ``key`` is the type of its keys; ``index`` takes plain strings only for "string".
    """

    __slots__ = ("key", "raw", "zero")

    def __init__(
        self, items: dict[str, object], zero: object, raw: object = None, key: str = "string"
    ) -> None:
        super().__init__(items)
        self.zero = zero
        self.key = key
        self.raw = items if raw is None else raw


def plain(value: object) -> object:
    """``value`` without types, ready for a JSON encoder."""
    if isinstance(value, Struct):
        return value.raw
    if isinstance(value, Map):
        raw = value.raw
        if not isinstance(raw, dict):
            return plain(raw)
        return {
            key: plain(value[key]) if isinstance(value.get(key), Struct) else raw[key]
            for key in sorted(raw)
        }
    if isinstance(value, Nil | NilList):
        return None
    if isinstance(value, Number):
        return float(value) if value.strip("-0123456789") else int(value)
    if isinstance(value, list | tuple):
        return [plain(item) for item in value]
    if isinstance(value, dict):
        return {key: plain(value[key]) for key in sorted(value)}
    as_json = getattr(value, "as_json", None)
    return as_json() if as_json is not None else value
