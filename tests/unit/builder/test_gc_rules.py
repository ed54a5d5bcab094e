"""The build cache's rules: what daemon.json says, and how much of a cache that leaves."""

from __future__ import annotations

import time
from pathlib import Path

import msgspec
import pytest

from firkin import errdefs
from firkin.builder import cache, cachefilter, gc
from firkin.engine import buildgc

GB = 1 << 30


def read(tmp_path: Path, **keys: object) -> list[gc.Rule]:
    found = msgspec.convert({"gc": keys}, buildgc.Builder)
    buildgc.check(found)
    return buildgc.rules(found, str(tmp_path))


def test_a_policy(tmp_path: Path) -> None:
    first, second = read(
        tmp_path,
        policy=[
            {"keepStorage": "10GB", "filter": ["unused-for=48h", "type==source.local"]},
            {"all": True, "maxUsedSpace": "20GB", "minFreeSpace": "1GB", "reservedSpace": "2GB"},
        ],
    )
    wanted = ('type=="source.local"',)
    assert first == gc.Rule(reserved=10 * GB, unused=48 * 3600, filters=wanted)
    assert second == gc.Rule(all=True, max_used=20 * GB, min_free=GB, reserved=2 * GB)
    found = gc.options(first)
    old = cachefilter.Seen(cache.Record(id="a", kind="source.local"), False, False)
    assert found.match(old) and found.until is not None and found.until < time.time() - 1e5
    assert not found.match(cachefilter.Seen(cache.Record(id="a", kind="regular"), False, False))


def test_without_a_policy(tmp_path: Path) -> None:
    assert read(tmp_path, enabled=False) == []
    quick, *others = read(tmp_path, defaultKeepStorage="20GB")
    assert quick.max_used == 512 << 20 and "type==exec.cachemount" in quick.filters
    assert {rule.reserved for rule in others} == {20 * GB} and others[-1].all
    _, *others = read(tmp_path, defaultMaxUsedSpace="5GB", defaultMinFreeSpace="1GB")
    assert {(r.reserved, r.max_used, r.min_free) for r in others} == {(0, 5 * GB, GB)}
    assert read(tmp_path)[-1].reserved > 0  # a tenth of the disk


@pytest.mark.parametrize(
    ("keys", "message"),
    [
        ({"defaultKeepStorage": "much"}, "builder.gc.defaultKeepStorage: 'much': use bytes"),
        ({"policy": [{"keepStorage": "0%"}]}, r"policy\[0\].keepStorage: 0%: a share is"),
        (
            {"policy": [{}, {"filter": ["size=3"]}]},
            r"policy\[1\].filter: invalid filter .size",
        ),
        ({"policy": [{"filter": ["unused-for=soon"]}]}, "'soon': use a duration"),
    ],
)
def test_what_can_not_be_used(tmp_path: Path, keys: dict[str, object], message: str) -> None:
    with pytest.raises(errdefs.InvalidParameter, match=message):
        read(tmp_path, **keys)
