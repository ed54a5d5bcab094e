"""Sizes, durations and moments. The expected texts are the official client's."""

from __future__ import annotations

import pytest

from firkin import errdefs
from firkin.cli import units


@pytest.mark.parametrize(
    ("size", "digits", "text"),
    [
        (0, 4, "0B"),
        (999, 4, "999B"),
        (1000, 4, "1kB"),
        (1024, 4, "1.024kB"),
        (4_260_000, 4, "4.26MB"),
        (1_982_298, 4, "1.982MB"),
        (1_982_298, 3, "1.98MB"),
        (123_456_789, 3, "123MB"),
        (999_999, 3, "1e+03kB"),
        (999_999, 4, "1000kB"),
        (10**18, 4, "1EB"),
    ],
)
def test_human_size(size: int, digits: int, text: str) -> None:
    assert units.human_size(size, digits) == text


def test_human_size_binary() -> None:
    assert units.human_size_binary(7680) == "7.5KiB"
    assert units.human_size_binary(1023) == "1023B"
    assert units.human_size_binary(25_275_000_000) == "23.54GiB"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0.4, "Less than a second"),
        (1.9, "1 second"),
        (59.9, "59 seconds"),
        (60, "About a minute"),
        (119, "About a minute"),
        (120, "2 minutes"),
        (59 * 60 + 59, "59 minutes"),
        (3600, "About an hour"),
        (90 * 60, "2 hours"),
        (47 * 3600, "47 hours"),
        (48 * 3600, "2 days"),
        (13 * 86400, "13 days"),
        (14 * 86400, "2 weeks"),
        (60 * 86400, "2 months"),
        (729 * 86400, "24 months"),
        (730 * 86400, "2 years"),
    ],
)
def test_human_duration(seconds: float, text: str) -> None:
    assert units.human_duration(seconds) == text


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("0", 0),
        ("32", 32),
        ("32b", 32),
        ("32B", 32),
        ("32k", 32 << 10),
        ("32KiB", 32 << 10),
        ("10 kb", 10 << 10),
        ("512m", 512 << 20),
        ("1.5g", 3 << 29),
        ("2T", 2 << 40),
        ("1p", 1 << 50),
    ],
)
def test_parse_size(text: str, size: int) -> None:
    assert units.parse_size(text) == size


@pytest.mark.parametrize(
    "text",
    ["", "m", "-1", "1x", "1kbb", "1bb", "1.2.3", ".", "1e3", "9999999p", "1 2m", "9" * 5000],
)
def test_bad_size_is_named(text: str) -> None:
    with pytest.raises(errdefs.InvalidParameter, match="invalid size"):
        units.parse_size(text)


@pytest.mark.parametrize(
    ("text", "nanoseconds"),
    [
        ("0", 0),
        ("1h30m", 5_400_000_000_000),
        ("-1.5s", -1_500_000_000),
        ("+5m", 300_000_000_000),
        (".5s", 500_000_000),
        ("1us", 1000),
        ("1µs", 1000),
        ("2ms3ns", 2_000_003),
    ],
)
def test_parse_duration(text: str, nanoseconds: int) -> None:
    assert units.parse_duration(text) == nanoseconds


@pytest.mark.parametrize(
    "text", ["", "-", "s", "1.s.", "1..5s", "9999999999999h", " 1s", "9" * 5000 + "s"]
)
def test_bad_duration_is_named(text: str) -> None:
    with pytest.raises(errdefs.InvalidParameter, match="invalid duration"):
        units.parse_duration(text)


@pytest.mark.parametrize(
    ("text", "why"), [("1", "missing unit"), ("1d", 'unknown unit "d"'), ("1h1", "missing unit")]
)
def test_bad_unit_of_a_duration_is_named(text: str, why: str) -> None:
    with pytest.raises(errdefs.InvalidParameter, match=f'{why} in duration "{text}"'):
        units.parse_duration(text)


@pytest.mark.parametrize(
    ("text", "sent"),
    [
        ("10m", "1699999400.500000000"),
        ("0", "0"),
        ("123", "123"),
        ("123.45", "123.45"),
        ("2024-05-06Z", "1714953600.000000000"),
        ("2024-05-06+02:00", "1714946400.000000000"),
        ("2024-05-06T07:08:09Z", "1714979289.000000000"),
        ("2024-05-06T07:08:09.5Z", "1714979289.500000000"),
        ("2024-05-06T07:08:09.123456789+02:00", "1714972089.123456789"),
        ("2024-05-06T07:08-01:00", "1714982880.000000000"),
        ("2024-05-06T07Z", "1714978800.000000000"),
    ],
)
def test_parse_moment(text: str, sent: str) -> None:
    assert units.parse_moment(text, now=1_700_000_000.5) == sent


def test_moment_without_zone_is_local(monkeypatch: pytest.MonkeyPatch) -> None:
    import time

    monkeypatch.setenv("TZ", "UTC-3")
    time.tzset()
    try:
        assert units.parse_moment("2024-05-06T03:00") == "1714953600.000000000"
    finally:
        monkeypatch.undo()
        time.tzset()


@pytest.mark.parametrize(
    "text", ["", "now", "2024-13-01", "2024-05-06T25:00", "1.2.3", "-5", "12:00"]
)
def test_bad_moment_is_named(text: str) -> None:
    with pytest.raises(errdefs.InvalidParameter, match="failed to parse value as time or duration"):
        units.parse_moment(text)
