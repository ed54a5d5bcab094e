"""Base of the wire types, and their decoding and encoding."""

from __future__ import annotations

from typing import Any, TypeVar

import msgspec

from firkin import errdefs

T = TypeVar("T")

_MAX_DEPTH = 64


class Wire(msgspec.Struct, rename="pascal", kw_only=True):
    """A JSON object of the Engine API: snake_case here, PascalCase on the wire."""


def _without_nulls(value: Any, depth: int = 0) -> Any:
    """A copy of decoded JSON without object members that are null (they mean "not set")."""
    if depth > _MAX_DEPTH:
        raise errdefs.InvalidParameter(f"the JSON body is nested deeper than {_MAX_DEPTH} levels")
    if isinstance(value, dict):
        return {k: _without_nulls(v, depth + 1) for k, v in value.items() if v is not None}
    if isinstance(value, list):
        return [_without_nulls(v, depth + 1) for v in value]
    return value


def convert(kind: type[T], value: Any) -> T:
    """Turn decoded JSON into a wire type; null members are taken as absent.

    Raises ``InvalidParameter`` naming the field when a value does not fit.
    """
    try:
        return msgspec.convert(_without_nulls(value), kind)
    except msgspec.ValidationError as error:
        raise errdefs.InvalidParameter(f"the request body does not fit: {error}") from error


def decode(kind: type[T], data: bytes | str) -> T:
    """Decode JSON text into a wire type.

    Raises ``InvalidParameter`` for text that is not JSON or does not fit the type.
    """
    try:
        value = msgspec.json.decode(data)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise errdefs.InvalidParameter(f"the request body is not valid JSON: {error}") from error
    return convert(kind, value)


def encode(value: Any) -> bytes:
    """Encode a wire type, or any JSON-like value, as JSON text."""
    return msgspec.json.encode(value)


def to_builtins(value: Any) -> Any:
    """The plain dicts and lists that ``value`` would be on the wire."""
    return msgspec.to_builtins(value)
