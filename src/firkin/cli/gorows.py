"""What ``{{.}}`` prints of a row of a list: the official client's own values, field by field.

Pointers are the exception: Go prints their addresses, here is what they point to.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]

_TO_UNIX = 62_135_596_800
"""Seconds from the year 1, where Go's clock begins, to 1970."""


def container(item: Json, trunc: bool) -> object:
    """A row of ``ps``."""
    return _row({"trunc": trunc, "c": _shape(item, "summary"), "FieldsUsed": {}})


def image(item: Json, trunc: bool, repository: str, tag: str, digest: str) -> object:
    """A row of ``images``."""
    item = {"SharedSize": -1, "Containers": -1, **item}
    return _row({"trunc": trunc, "i": _shape(item, "imagesummary"), "repo": repository,
                 "tag": tag, "digest": digest})  # fmt: skip


def network(item: Json, trunc: bool) -> object:
    """A row of ``network ls``. Its time is inside of a field that Go prints in its raw form."""
    import datetime

    from firkin.cli.template import values

    shaped = _shape(item, "network")
    created = str(item.get("Created") or "0001-01-01T00:00:00Z")
    try:
        second = datetime.datetime.fromisoformat(created[:19] + "+00:00")
    except ValueError:
        second = datetime.datetime.fromisoformat("0001-01-01T00:00:00+00:00")
    fraction = created[20:].rstrip("Z") if created[19:20] == "." else ""
    nanoseconds = int(fraction.ljust(9, "0")) if fraction.isdigit() else 0
    clock = {"wall": nanoseconds, "ext": int(second.timestamp()) + _TO_UNIX, "loc": values.NIL}
    if isinstance(shaped, dict):
        shaped["Created"] = values.Struct("time", dict(clock), None)
    return _row({"trunc": trunc, "n": shaped})


def volume(item: Json) -> object:
    """A row of ``volume ls``."""
    return _row({"v": _shape(item, "volume")})


def history(item: Json, trunc: bool, human: bool) -> object:
    """A row of ``history``."""
    return _row({"trunc": trunc, "human": human, "h": _shape(item, "step")})


def _shape(item: Json, kind: str) -> object:
    from firkin.cli import shapes

    return shapes.shape(item, kind)


def _row(fields: dict[str, object]) -> object:
    from firkin.cli.template import values

    head = values.Struct("formatter.HeaderContext", {"Header": None}, None)
    return values.Struct("row", {"HeaderContext": head, **fields}, None)
