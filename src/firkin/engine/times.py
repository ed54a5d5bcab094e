"""Times as clients send them: Unix seconds with a fraction, RFC 3339, or a Go duration back."""

from __future__ import annotations

import datetime
import re
import time

from firkin import errdefs
from firkin.engine import filters

_UNIX = re.compile(r"(\d{1,11})(?:\.(\d{1,9}))?")
_DURATION = re.compile(r"(\d+(?:\.\d+)?)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9,
          "h": 3600 * 10**9}  # fmt: skip


def parse(text: str, name: str) -> int:
    """Nanoseconds since the epoch; 0 for an empty text. Raises ``InvalidParameter``."""
    if not text or text == "0":
        return 0
    if match := _UNIX.fullmatch(text):
        return int(match[1]) * 10**9 + int((match[2] or "0").ljust(9, "0"))
    if (back := _duration(text)) is not None:
        return time.time_ns() - back
    head, fraction = text, 0
    if match := re.fullmatch(r"(.*:\d\d)\.(\d{1,9})(Z|[+-]\d\d:\d\d)?", text):
        head, fraction = match[1] + (match[3] or ""), int(match[2].ljust(9, "0"))
    try:
        moment = datetime.datetime.fromisoformat(head)
    except ValueError:
        raise errdefs.InvalidParameter(
            f"invalid value for {name!r}: {text!r}: use a Unix timestamp, RFC 3339 or a duration "
            "such as 10m"
        ) from None
    if moment.tzinfo is None:
        moment = moment.replace(tzinfo=datetime.UTC)
    return int(moment.timestamp()) * 10**9 + fraction


def _duration(text: str) -> int | None:
    """Nanoseconds of a Go duration; ``None`` when it is none."""
    if "".join(m[0] for m in _DURATION.finditer(text)) != text:
        return None
    return sum(int(float(m[1]) * _UNITS[m[2]]) for m in _DURATION.finditer(text))


def duration(text: str, name: str) -> float:
    """Seconds of a Go duration such as 48h. Raises ``InvalidParameter``."""
    found = _duration(text) if text else None
    if found is None:
        raise errdefs.InvalidParameter(
            f"invalid value for {name}: {text!r}: use a duration such as 48h or 1h30m"
        )
    return found / 1e9


def prune_limit(wanted: filters.Filters) -> int | None:
    """The ``until`` filter of a prune in nanoseconds; ``None`` when not given."""
    values = wanted.get("until")
    if len(values) > 1:
        raise errdefs.InvalidParameter("more than one until filter specified")
    return parse(values[0], "until") if values else None
