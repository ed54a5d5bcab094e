"""Which records of the build cache are meant: filters as BuildKit's clients write them.

A filter is a list of selectors with commas between, all of which must hold: ``FIELD==VALUE``,
``FIELD!=VALUE``, ``FIELD~=REGULAR EXPRESSION``, or a field alone for those that are true or false.
Of several filters one must hold.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence

import msgspec

from firkin import errdefs
from firkin.builder import cache

_SELECTOR = re.compile(r"(?P<field>[a-z]+)(?:(?P<op>==|!=|~=)(?P<value>.*))?", re.DOTALL)
_MAX = 1000


class Seen(msgspec.Struct, frozen=True):
    """A record, and what is only known now."""

    record: cache.Record
    in_use: bool
    shared: bool


Predicate = Callable[[Seen], bool]

_TEXTS: dict[str, Callable[[Seen], str]] = {
    "id": lambda one: one.record.id,
    "parents": lambda one: one.record.parent,
    "parent": lambda one: one.record.parent,
    "description": lambda one: one.record.description,
    "type": lambda one: one.record.kind,
}
_FLAGS: dict[str, Predicate] = {
    "inuse": lambda one: one.in_use,
    "shared": lambda one: one.shared,
    "private": lambda one: not one.shared,
    "mutable": lambda one: one.record.kind in (cache.LOCAL, cache.MOUNT),
    "immutable": lambda one: one.record.kind not in (cache.LOCAL, cache.MOUNT),
}


def parse(filters: Sequence[str]) -> Predicate:
    """The predicate of some filters; none lets all through. Raises ``InvalidParameter``."""
    choices = [[_selector(part) for part in _parts(text)] for text in filters if text]
    if not choices:
        return lambda one: True
    return lambda one: any(all(check(one) for check in checks) for checks in choices)


def _parts(text: str) -> list[str]:
    """Split at commas; those in a value's quotes are part of it."""
    return re.findall(r'(?:[^,"]|"[^"]*")+', text)


def _selector(text: str) -> Predicate:
    match = _SELECTOR.fullmatch(text.strip())
    field = match["field"] if match else ""
    if match is not None and match["op"] is None and field in _FLAGS:
        return _FLAGS[field]
    if match is None or field not in {**_TEXTS, **_FLAGS}:
        raise errdefs.InvalidParameter(
            f"invalid filter {text[:200]!r}: write FIELD==VALUE, FIELD!=VALUE or FIELD~=PATTERN; "
            f"the fields are {', '.join(_TEXTS)}, and alone {', '.join(_FLAGS)}"
        )
    op, value = match["op"], (match["value"] or "").strip('"')
    if field in _FLAGS:
        flag, wanted = _FLAGS[field], value.lower() not in ("0", "false")
        return lambda one: flag(one) == (wanted if op == "==" else not wanted)
    get = _TEXTS[field]
    if op == "~=":
        return _matching(get, value)
    if op is None:
        return lambda one: bool(get(one))
    return lambda one: (get(one) == value) == (op == "==")


def _matching(get: Callable[[Seen], str], pattern: str) -> Predicate:
    try:
        compiled = re.compile(pattern[:_MAX])
    except re.error as error:
        raise errdefs.InvalidParameter(
            f"the filter's pattern {pattern[:200]!r} is no regular expression: {error}"
        ) from error
    return lambda one: compiled.search(get(one)) is not None
