"""What results are made of: annotations by their place, compressed layers, filters of the cache."""

from __future__ import annotations

import gzip
import pathlib

import pytest
import zstandard

from firkin import errdefs
from firkin.builder import cache, cachefilter, notes, prune
from firkin.content import local
from firkin.content import store as contents
from firkin.images import packing, platforms
from firkin.types import image as types

AMD64, ARM64 = platforms.parse("linux/amd64"), platforms.parse("linux/arm64")


def test_annotations_by_place() -> None:
    found = notes.Annotations({
        "a": "1", "manifest:b": "2", "index,manifest-descriptor:c": "3",
        "manifest[linux/arm64]:d": "4", "org.example:colon": "5",
    })  # fmt: skip
    assert found.of(notes.MANIFEST, AMD64) == {"a": "1", "b": "2", "org.example:colon": "5"}
    assert found.of(notes.MANIFEST, ARM64)["d"] == "4"
    assert found.of(notes.INDEX) == found.of(notes.MANIFEST_DESCRIPTOR, AMD64) == {"c": "3"}
    assert found.indexed
    assert not notes.Annotations({"a": "1"}).indexed
    with pytest.raises(errdefs.InvalidParameter, match="the kinds are"):
        notes.Annotations({"strange[linux/arm64]:d": "4"})
    with pytest.raises(errdefs.InvalidParameter, match="invalid platform"):
        notes.Annotations({"manifest[///]:d": "4"})


@pytest.mark.parametrize(
    ("kind", "level"), [("gzip", -1), ("gzip", 0), ("gzip", 9), ("zstd", -1), ("zstd", 12)]
)
def test_packing_is_the_same_each_time(tmp_path: pathlib.Path, kind: str, level: int) -> None:
    store = local.LocalStore(str(tmp_path))
    data = b"".join(b"%d\n" % number for number in range(400_000))
    plain = contents.put(store, data).digest
    wanted = packing.Compression(kind, level)
    first, again = (packing.pack(store, plain, wanted) for _ in range(2))
    assert first == again
    assert first.media_type == f"{types.MEDIA_OCI_LAYER}+{kind}"
    with store.open(first.digest) as blob:
        packed = blob.read()
    unpacked = (
        gzip.decompress(packed) if kind == "gzip"
        else zstandard.ZstdDecompressor().decompressobj().decompress(packed)
    )  # fmt: skip
    assert unpacked == data


def test_what_fits() -> None:
    layer = types.MEDIA_OCI_LAYER
    gzipped, zstd = f"{layer}+gzip", f"{layer}+zstd"
    kept = packing.Compression("zstd")
    assert kept.fits(gzipped) and kept.fits(zstd) and not kept.fits(layer)
    forced = packing.Compression("zstd", force=True)
    assert not forced.fits(gzipped) and forced.fits(zstd)
    plain = packing.Compression(packing.PLAIN)
    assert plain.fits(layer) and plain.fits(gzipped)


def seen(**members: object) -> cachefilter.Seen:
    record = cache.Record(id="abc", kind=cache.REGULAR, description="RUN x, y", created=0, used=0)
    flags = {"in_use": False, "shared": False, **members}
    return cachefilter.Seen(record, **flags)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("", True), ("id==abc", True), ("id==ab", False), ("id~=^ab", True), ("id!=abc", False),
        ("type==regular", True), ("type==regular,id==x", False), ("private", True),
        ("shared", False), ("shared==false", True), ("inuse!=true", True),
        ('description=="RUN x, y"', True), ("parent", False), ("immutable", True),
    ],
)  # fmt: skip
def test_filters_of_the_cache(text: str, fits: bool) -> None:
    assert cachefilter.parse([text])(seen()) is fits


def test_one_of_several_filters_is_enough() -> None:
    assert cachefilter.parse(["id==x", "type==regular"])(seen())


@pytest.mark.parametrize("text", ["nothing==1", "id~=(", "==", "id=abc"])
def test_filters_that_are_none(text: str) -> None:
    with pytest.raises(errdefs.InvalidParameter, match="filter"):
        cachefilter.parse([text])


@pytest.mark.parametrize(
    ("limits", "kept"),
    [
        ({}, 0), ({"reserved": 30}, 30), ({"max_used": 60}, 60), ({"min_free": 40}, 70),
        ({"min_free": 5}, 100), ({"max_used": 60, "min_free": 90}, 20),
        ({"max_used": 60, "min_free": 90, "reserved": 50}, 50),
    ],
)  # fmt: skip
def test_limits_of_prune(limits: dict[str, int], kept: int) -> None:
    assert prune.Options(**limits).keep(100, 10) == kept
