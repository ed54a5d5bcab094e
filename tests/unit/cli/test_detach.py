"""The keys that detach."""

from __future__ import annotations

import pytest

from firkin.cli import detach


def test_parse() -> None:
    assert detach.parse("ctrl-p,ctrl-q") == b"\x10\x11"
    assert detach.parse("ctrl-a,d,ctrl-[") == b"\x01d\x1b"


@pytest.mark.parametrize("text", ["", "ctrl-", "ctrl-1", "ab", "é", "a,,b"])
def test_parse_refuses(text: str) -> None:
    with pytest.raises(ValueError, match="invalid detach keys"):
        detach.parse(text)


@pytest.mark.parametrize(
    ("typed", "sent", "detached"),
    [
        ([b"ab\x10\x11cd"], b"ab", True),
        ([b"ab\x10", b"\x11"], b"ab", True),
        ([b"\x10", b"x"], b"\x10x", False),
        ([b"\x10", b"\x10", b"\x11"], b"\x10", True),
        ([b"\x11\x10"], b"\x11", False),
    ],
)
def test_watcher(typed: list[bytes], sent: bytes, detached: bool) -> None:
    watcher = detach.Watcher(b"\x10\x11")
    results = [watcher.feed(piece) for piece in typed]
    assert b"".join(result[0] for result in results) == sent
    assert results[-1][1] is detached
