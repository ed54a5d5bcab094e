"""Filters of ImageList and ImagePrune."""

from __future__ import annotations

import datetime
import fnmatch
import math
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence

from firkin import errdefs, reference
from firkin.images import views
from firkin.types import image as types

Filters = Mapping[str, Sequence[str]]
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h)")
_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
LIST = frozenset({"dangling", "label", "label!", "before", "since", "reference", "until"})
PRUNE = frozenset({"dangling", "label", "label!", "until"})


def check(filters: Filters, allowed: frozenset[str]) -> None:
    """Raise ``InvalidParameter`` for a filter that is not ``allowed``."""
    for name in filters:
        if name not in allowed:
            raise errdefs.InvalidParameter(
                f"invalid filter '{name}': images can be filtered by {', '.join(sorted(allowed))}"
            )


def flag(filters: Filters, name: str) -> bool | None:
    """The value of a yes-or-no filter; None when it is not given."""
    values = {value.lower() for value in filters.get(name, ())}
    if not values:
        return None
    yes, no = values & {"1", "true", "t"}, values & {"0", "false", "f"}
    if values - yes - no or (yes and no):
        raise errdefs.InvalidParameter(
            f"invalid filter '{name}={','.join(sorted(values))}': it is true or false"
        )
    return bool(yes)


def moment(text: str) -> float:
    """A time of a filter: RFC 3339, seconds since the epoch, or a duration ago ("1h30m")."""
    if re.fullmatch(r"\d+(\.\d+)?", text):
        return float(text)
    parts = list(_DURATION.finditer(text))
    if parts and "".join(part[0] for part in parts) == text:
        return time.time() - sum(float(part[1]) * _SECONDS[part[2]] for part in parts)
    try:
        found = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    except ValueError:
        raise errdefs.InvalidParameter(
            f"{text!r} is not a time: write 2024-01-31T12:00:00Z, seconds, or a duration as 1h30m"
        ) from None
    return found.timestamp()


def _labelled(labels: Mapping[str, str], wanted: str) -> bool:
    key, equals, value = wanted.partition("=")
    return key in labels and (not equals or labels[key] == value)


def matching(names: Iterable[str], patterns: Iterable[str]) -> list[str]:
    """Those of ``names`` (references) that one of the patterns of the filter reference means."""
    found = []
    for name in names:
        parsed = reference.parse(name)
        texts = (parsed.familiar, parsed.familiar_name, str(parsed), parsed.name)
        # As in a shell, "*" stops at a "/".
        if any(
            text.count("/") == pattern.count("/") and fnmatch.fnmatchcase(text, pattern)
            for text in texts
            for pattern in patterns
        ):
            found.append(name)
    return found


def predicate(
    filters: Filters, resolve: Callable[[str], types.Image]
) -> Callable[[types.Image], bool]:
    """A test that says whether an image passes all ``filters``."""

    def times(name: str, when: Callable[[str], float]) -> list[float]:
        return [when(value) for value in filters.get(name, ())]

    def created(name: str) -> float:
        return views.seconds(resolve(name).config.created)

    dangling = flag(filters, "dangling")
    wanted, unwanted = filters.get("label", ()), filters.get("label!", ())
    before = min([*times("before", created), *times("until", moment)], default=math.inf)
    since = max(times("since", created), default=-math.inf)
    patterns = filters.get("reference", ())

    def passes(image: types.Image) -> bool:
        labels = image.config.config.labels or {}
        when = views.seconds(image.config.created)
        return (
            (dangling is None or bool(image.refs or (image.digests and not dangling)) != dangling)
            and all(_labelled(labels, label) for label in wanted)
            and not any(_labelled(labels, label) for label in unwanted)
            and since < when < before
            and (not patterns or bool(matching((*image.refs, *image.digests), patterns)))
        )

    return passes
