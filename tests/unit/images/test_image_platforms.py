"""Choosing a manifest of an index."""

from __future__ import annotations

import pytest

from firkin.images import platforms
from firkin.types import image as types


def item(text: str) -> types.Descriptor:
    parts = [*text.split("/"), "", ""]
    platform = types.Platform(os=parts[0], architecture=parts[1], variant=parts[2])
    return types.Descriptor(digest=text, size=1, platform=platform if text else None)


@pytest.mark.parametrize(
    ("offered", "wanted", "chosen"),
    [
        ("linux/amd64 linux/arm64", "linux/arm64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64", "linux/arm64/v8"),
        ("linux/arm64", "linux/arm64/v8", "linux/arm64"),
        ("linux/arm/v5 linux/arm/v6", "linux/arm/v7", "linux/arm/v6"),
        ("linux/arm/v7", "linux/arm/v6", None),
        ("linux/386", "linux/amd64", None),
        ("linux/amd64/v3", "linux/amd64", None),
        ("linux/amd64 linux/amd64/v3", "linux/amd64/v3", "linux/amd64/v3"),
        ("unknown/unknown linux/amd64", "linux/amd64", "linux/amd64"),
        ("unknown/unknown", "linux/amd64", None),
        ("windows/amd64", "linux/amd64", None),
        ("", "linux/amd64", ""),
    ],
)
def test_choice(offered: str, wanted: str, chosen: str | None) -> None:
    items = [item(text) for text in offered.split(" ")]
    found = platforms.choose(items, platforms.parse(wanted))
    assert [one.digest for one in found] == ([] if chosen is None else [chosen])
