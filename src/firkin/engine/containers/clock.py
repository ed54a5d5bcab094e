"""Times in the words of the Engine API."""

from __future__ import annotations

import datetime

NEVER = "0001-01-01T00:00:00Z"


def rfc3339(nanoseconds: int) -> str:
    """Nanoseconds since the epoch as UTC RFC 3339 without trailing zeros; 0 is Go's zero time."""
    if nanoseconds <= 0:
        return NEVER
    whole, fraction = divmod(nanoseconds, 1_000_000_000)
    text = datetime.datetime.fromtimestamp(whole, datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S")
    return text + (f".{fraction:09d}".rstrip("0") if fraction else "") + "Z"


def ago(seconds: float) -> str:
    """A duration as ps shows it: "5 seconds", "About a minute", "3 weeks"."""
    whole = int(seconds)
    minutes, hours = whole // 60, round(seconds / 3600)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    days = hours // 24
    if hours < 24 * 7 * 2:
        return f"{days} days"
    if hours < 24 * 30 * 2:
        return f"{days // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{days // 30} months"
    return f"{days // 365} years"
