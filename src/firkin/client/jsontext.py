"""JSON without the half that costs time to import.

The standard ``json`` is two C functions and Python around them that compiles regular expressions
at import, 5 ms before anything is read. Here are the same two C functions without that. Where an
interpreter lacks them ``json`` itself does the work: the results are the same.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_c: Any = None
try:
    import _json

    _c = _json
except ImportError:  # pragma: no cover - not CPython
    pass

_BLANK = " \t\n\r"


class _Rules:
    """How the scanner is to read: as ``json.loads`` does by default."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    memo: dict[str, str] = {}

    @staticmethod
    def parse_constant(name: str) -> float:
        """``NaN`` and its like are no JSON, whatever Python thinks."""
        raise ValueError(f"{name} is not JSON")


def loads(raw: bytes | str) -> Any:
    """The value of a JSON text. Raises ``ValueError`` for anything that isn't one."""
    text = raw.decode("utf-8", "surrogatepass") if isinstance(raw, bytes) else raw
    text = text.strip(_BLANK)
    if _c is None:  # pragma: no cover
        return _slowly(text)
    try:
        value, end = _c.make_scanner(_Rules)(text, 0)
    except (StopIteration, ValueError, RecursionError, SystemError):
        # The C half finds the words for an error in ``json``, and fails if that isn't loaded.
        return _slowly(text)
    return value if end == len(text) else _slowly(text)


def _slowly(text: str) -> Any:
    import json

    try:
        return json.loads(text, parse_constant=_Rules.parse_constant)
    except RecursionError:
        raise ValueError("nested too deep") from None


def dumps(value: object) -> str:
    """A value as JSON without blanks, in ASCII. Raises ``TypeError`` for what has no JSON form."""
    if _c is None:  # pragma: no cover
        import json

        return json.dumps(value, separators=(",", ":"))
    escape = _c.encode_basestring_ascii
    encode = _c.make_encoder({}, _refuse, escape, None, ":", ",", False, False, False)
    made = "".join(encode(value, 0))
    return "".join(encode(_whole(value), 0)) if "\\ud" in made else made


def _whole(value: object) -> object:
    """``value`` with U+FFFD for bytes of the command line that are no UTF-8, as JSON wants it."""
    if isinstance(value, str):
        return "".join("\ufffd" if "\ud800" <= char <= "\udfff" else char for char in value)
    if isinstance(value, list | tuple):
        return [_whole(item) for item in value]
    if isinstance(value, dict):
        return {_whole(key): _whole(item) for key, item in value.items()}
    return value


def _refuse(value: object) -> object:
    raise TypeError(f"{type(value).__name__} has no JSON form")
