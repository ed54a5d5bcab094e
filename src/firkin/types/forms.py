"""How instructions write lists and durations, in a Dockerfile as in ``commit --change``."""

from __future__ import annotations

import json
import re

_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_UNITS = {"ns": 1, "us": 10**3, "µs": 10**3, "ms": 10**6, "s": 10**9, "m": 60 * 10**9,
          "h": 3600 * 10**9}  # fmt: skip


def json_words(text: str) -> list[str] | None:
    """The strings of a JSON array, or None when ``text`` is not one."""
    if not text.lstrip().startswith("["):
        return None
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, list) or not all(isinstance(item, str) for item in value):
        return None
    return value


def duration(text: str) -> int:
    """Nanoseconds of ``1m30s``. Raises ``ValueError``."""
    total, at = 0.0, 0
    for match in _DURATION.finditer(text):
        if match.start() != at:
            break
        total += float(match[1]) * _UNITS[match[2]]
        at = match.end()
    if text != "0" and (not text or at != len(text)):
        raise ValueError(f"{text!r} is not a duration such as 1m30s")
    if 0 < total < 10**6:
        raise ValueError(f"{text!r} is shorter than 1ms")
    return int(total)
