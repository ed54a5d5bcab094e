"""Sizes, durations and moments as people write and read them on Docker's command line.

Three directions: numbers to text (``human_*``), text to numbers (``parse_size``,
``parse_duration``), and the moments of ``--since`` and ``--until`` to the form that the Engine API
takes (``parse_moment``). All rules are those of the official client, so that scripts that compare
or parse such texts see no difference:

* Sizes for people count in thousands ("kB" with a small k), except in ``stats``, which counts in
  1024s and says "KiB". They show three or four significant digits, never trailing zeros.
* Sizes read from a flag always count in 1024s, whatever the suffix ("k", "kb" and "kib" agree).
* Durations for people are rough: the largest unit only, minutes cut and hours rounded.

Only ``parse_moment`` needs the calendar, and imports it when called; the rest loads in no time.
"""

from __future__ import annotations

from firkin import errdefs

_DECIMAL = ("B", "kB", "MB", "GB", "TB", "PB", "EB", "ZB", "YB")
_BINARY = ("B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB", "ZiB", "YiB")
_SHIFTS = {"b": 0, "k": 10, "m": 20, "g": 30, "t": 40, "p": 50}

_NANOSECONDS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,  # U+00B5, micro sign
    "μs": 1_000,  # U+03BC, Greek letter mu
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_MAX_INT64 = (1 << 63) - 1
_MAX_TEXT = 100
"""No number that means something is longer, and Python reads none of thousands of digits."""
_DIGITS = "0123456789"


def _scaled(size: float, base: float, names: tuple[str, ...], digits: int) -> str:
    step = 0
    while size >= base and step < len(names) - 1:
        size /= base
        step += 1
    return f"{size:.{digits}g}{names[step]}"


def human_size(size: float, digits: int = 4) -> str:
    """``4260000`` is "4.26MB". Lists of images and containers show three digits, the rest four."""
    return _scaled(float(size), 1000.0, _DECIMAL, digits)


def human_size_binary(size: float, digits: int = 4) -> str:
    """``7680`` is "7.5KiB"."""
    return _scaled(float(size), 1024.0, _BINARY, digits)


def human_duration(seconds: float) -> str:
    """A time span in the roughest unit that still says something: "2 hours", "About a minute"."""
    whole = int(seconds)
    if whole < 1:
        return "Less than a second"
    if whole == 1:
        return "1 second"
    if whole < 60:
        return f"{whole} seconds"
    minutes = int(seconds / 60)
    if minutes == 1:
        return "About a minute"
    if minutes < 60:
        return f"{minutes} minutes"
    hours = int(seconds / 3600 + 0.5)
    if hours == 1:
        return "About an hour"
    if hours < 48:
        return f"{hours} hours"
    if hours < 24 * 7 * 2:
        return f"{hours // 24} days"
    if hours < 24 * 30 * 2:
        return f"{hours // 24 // 7} weeks"
    if hours < 24 * 365 * 2:
        return f"{hours // 24 // 30} months"
    return f"{int(seconds / 3600) // 24 // 365} years"


def parse_size(text: str) -> int:
    """Bytes meant by a flag such as ``--memory 512m``: units count in 1024s, fractions are cut."""
    if len(text) > _MAX_TEXT:
        raise errdefs.InvalidParameter(f"invalid size {text[:_MAX_TEXT]!r}...: too long")
    end = max(text.rfind(char) for char in "0123456789. ")
    number, suffix = text[: end + 1], text[end + 1 :].lower()
    if number.endswith(" "):
        number = number[:-1]
    shift = 0
    if suffix:
        unit = _SHIFTS.get(suffix[0])
        if unit is None or suffix[1:] not in ("", "b", "ib") or (unit == 0 and suffix != "b"):
            raise errdefs.InvalidParameter(
                f"invalid size {text!r}: the unit {suffix!r} is unknown;"
                " use b, k, m, g, t or p, as in 512m"
            )
        shift = unit
    if not number or number.strip("0123456789.") or number.count(".") > 1 or number == ".":
        raise errdefs.InvalidParameter(
            f"invalid size {text!r}: expected a number that is not negative with an optional unit,"
            " as in 512m or 1.5g"
        )
    size = int(number) << shift if number.isdecimal() else int(float(number) * (1 << shift))
    if size > _MAX_INT64:
        raise errdefs.InvalidParameter(f"invalid size {text!r}: larger than {_MAX_INT64} bytes")
    return size


def parse_duration(text: str) -> int:
    """Nanoseconds of a duration in Go's notation: "1h30m", "1.5s", "-300ms", "0"."""
    if len(text) > _MAX_TEXT:
        raise _bad_duration(text[:_MAX_TEXT])
    rest = text[1:] if text[:1] in ("-", "+") else text
    if rest == "0":
        return 0
    total = 0
    while rest:
        length = 0
        while length < len(rest) and rest[length] in _DIGITS + ".":
            length += 1
        number, rest = rest[:length], rest[length:]
        length = 0
        while length < len(rest) and rest[length] not in _DIGITS + ".":
            length += 1
        name, rest = rest[:length], rest[length:]
        unit = _NANOSECONDS.get(name)
        whole, dot, fraction = number.partition(".")
        if "." in fraction or not (whole or fraction):
            raise _bad_duration(text)
        if unit is None:
            raise _bad_duration(text, f'unknown unit "{name}"' if name else "missing unit")
        total += int(whole or "0") * unit
        if dot and fraction:
            total += int(fraction[:18]) * unit // 10 ** len(fraction[:18])
        if total > _MAX_INT64:
            raise _bad_duration(text)
    if not text.strip("+-") or not text:
        raise _bad_duration(text)
    return -total if text[0] == "-" else total


def _bad_duration(text: str, why: str = "") -> errdefs.InvalidParameter:
    what = f'{why} in duration "{text}"' if why else f'invalid duration "{text}"'
    return errdefs.InvalidParameter(
        f"time: {what} (want numbers with units ns, us, ms, s, m or h, as in 1h30m)"
    )


def parse_moment(text: str, now: float | None = None) -> str:
    """The moment of a ``--since`` or ``--until`` flag as the Engine API takes it: Unix seconds.

    Accepted are a Go duration (that long before ``now``), a date or an RFC 3339 time cut after any
    part (local time unless it names a zone), and Unix seconds with or without a fraction, which
    pass as they are. Durations and calendar times give nine digits of fraction (Docker cuts a
    duration to whole seconds: "--until 0s" leaves out what happened in this second).
    """
    import time

    if text != "0":
        try:
            ago = parse_duration(text)
        except errdefs.InvalidParameter:
            pass
        else:
            current = time.time() if now is None else now
            whole, nanoseconds = divmod(int(current * 1_000_000_000) - ago, 1_000_000_000)
            return f"{whole}.{nanoseconds:09d}"
    moment = _calendar(text)
    if moment is not None:
        return moment
    seconds, dot, fraction = text.partition(".")
    if "-" in text or not _plain_digits(seconds) or (dot and not _plain_digits(fraction)):
        raise errdefs.InvalidParameter(
            f'failed to parse value as time or duration: "{text}" (a duration such as 10m,'
            " a time such as 2024-05-06T07:08:09Z, or Unix seconds)"
        )
    return text


def _plain_digits(text: str) -> bool:
    return bool(text) and text.isascii() and text.isdigit()


def _calendar(text: str) -> str | None:
    """``text`` read as a date or an RFC 3339 time, or None if it isn't one."""
    import datetime

    date, mark, clock = text.partition("T")
    zone: datetime.tzinfo | None = None
    body = clock if mark else date
    if body[-1:] in ("Z", "z"):
        body, zone = body[:-1], datetime.UTC
    elif (len(body) > 6 or mark) and body[-6:-5] in ("+", "-") and body[-3:-2] == ":":
        offset, body = body[-6:], body[:-6]
        hours, minutes = offset[1:3], offset[4:6]
        if not (_plain_digits(hours) and _plain_digits(minutes)):
            return None
        if int(hours) > 23 or int(minutes) > 59:
            return None
        span = datetime.timedelta(hours=int(hours), minutes=int(minutes))
        zone = datetime.timezone(-span if offset[0] == "-" else span)
    if mark:
        clock = body
    else:
        date = body
    parts = date.split("-")
    if [len(part) for part in parts] != [4, 2, 2] or not all(map(_plain_digits, parts)):
        return None
    numbers = [int(part) for part in parts]
    nanoseconds = 0
    if mark:
        clock, dot, fraction = clock.partition(".")
        fields = clock.split(":")
        if len(fields) > 3 or not all(len(f) == 2 and _plain_digits(f) for f in fields):
            return None
        if dot:
            if len(fields) != 3 or not _plain_digits(fraction):
                return None
            nanoseconds = int((fraction + "0" * 9)[:9])
        numbers += [int(field) for field in fields]
    try:
        when = datetime.datetime(*numbers, tzinfo=zone)  # type: ignore[arg-type,misc]
        seconds = when.timestamp()
    except (ValueError, OverflowError, OSError):
        return None
    return f"{int(seconds)}.{nanoseconds:09d}"
