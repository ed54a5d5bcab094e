"""Base of the wire types, and their decoding and encoding."""

from __future__ import annotations

import functools
import typing
from typing import Any, TypeVar

import msgspec

from firkin import errdefs

T = TypeVar("T")

_MAX_DEPTH = 64


class Wire(msgspec.Struct, rename="pascal", kw_only=True):
    """A JSON object of the Engine API: snake_case here, PascalCase on the wire."""


class _Members:
    """The members of an object by what they may be called: Go takes names in any case."""

    def __init__(self, kind: type[msgspec.Struct]) -> None:
        self.kinds = {one.encode_name: one.type for one in msgspec.structs.fields(kind)}
        self._folded = {name.lower(): name for name in self.kinds}

    def name(self, given: str) -> str:
        """The name as it is spelled here."""
        return given if given in self.kinds else self._folded.get(given.lower(), given)


@functools.cache
def _members(kind: Any) -> _Members | None:
    for one in (kind, *typing.get_args(kind)):
        if isinstance(one, type) and issubclass(one, msgspec.Struct):
            return _Members(one)
    return None


@functools.cache
def _items(kind: Any) -> Any:
    """What a list's items or a map's values are, in a type such as ``list[T] | None``."""
    for one in (kind, *typing.get_args(kind)):
        if typing.get_origin(one) in (list, tuple, dict):
            return next((arg for arg in reversed(typing.get_args(one)) if arg is not ...), None)
    return None


def _fitted(value: Any, kind: Any, depth: int = 0) -> Any:
    """A copy of decoded JSON with the names that ``kind`` has.

    Members that are null are left out: they mean "not set".
    """
    if depth > _MAX_DEPTH:
        raise errdefs.InvalidParameter(f"the JSON body is nested deeper than {_MAX_DEPTH} levels")
    if isinstance(value, list):
        items = _items(kind)
        return [_fitted(one, items, depth + 1) for one in value]
    if not isinstance(value, dict):
        return value
    members = _members(kind)
    if members is None:
        items = _items(kind)
        return {k: _fitted(v, items, depth + 1) for k, v in value.items() if v is not None}
    found = {}
    for given, one in value.items():
        name = members.name(given)
        if one is not None and (name == given or name not in value):
            found[name] = _fitted(one, members.kinds.get(name), depth + 1)
    return found


def convert(kind: type[T], value: Any) -> T:
    """Turn decoded JSON into a wire type, whatever the case of its names.

    Null members are taken as absent.

    Raises ``InvalidParameter`` naming the field when a value does not fit.
    """
    try:
        return msgspec.convert(_fitted(value, kind), kind)
    except msgspec.ValidationError as error:
        raise errdefs.InvalidParameter(f"the request body does not fit: {error}") from error


def decode(kind: type[T], data: bytes | str) -> T:
    """Decode JSON text into a wire type.

    Raises ``InvalidParameter`` for text that is not JSON or does not fit the type.
    """
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        what = "unexpected content after JSON: " if "trailing characters" in str(error) else ""
        raise errdefs.InvalidParameter(f"invalid JSON: {what}{error}") from error
    return convert(kind, value)


def encode(value: Any) -> bytes:
    """Encode a wire type, or any JSON-like value, as JSON text."""
    return msgspec.json.encode(value)


def to_builtins(value: Any) -> Any:
    """The plain dicts and lists that ``value`` would be on the wire."""
    return msgspec.to_builtins(value)
