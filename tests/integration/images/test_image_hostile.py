"""Archives made to do harm: a clear refusal, and nothing left behind."""

import gzip
import io
import json
import os
import sys
import tarfile
from pathlib import Path

import pytest

from firkin import errdefs

sys.path.insert(0, str(Path(__file__).parent))
from imagearchives import Entry, Home, chunks, config, docker, entry, leftovers, load, sha, tar

pytestmark = pytest.mark.root
LINK, HARD, DIR = tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.DIRTYPE
SECRET = "/tmp/firkin-hostile-test"

LAYERS: dict[str, tuple[list[Entry], str]] = {
    "dots": ([entry("a/../../x")], r"a/\.\./\.\./x"),
    "absolute": ([entry("/etc/passwd", b"x")], "/etc/passwd"),
    "absolute link parent": (
        [entry("d", kind=LINK, linkname="/tmp"), entry("d/firkin-hostile-test", b"x")],
        "d/firkin-hostile-test.*symbolic link",
    ),
    "relative link parent": (
        [entry("d", kind=LINK, linkname="../../../tmp"), entry("d/x", b"x")],
        "d/x.*symbolic link",
    ),
    "link by hard link": (
        [
            entry("d", kind=LINK, linkname="/tmp"),
            entry("e", kind=HARD, linkname="d"),
            entry("e/firkin-hostile-test", b"x"),
        ],
        "e/firkin-hostile-test",
    ),
    "link loop": (
        [entry("a", kind=LINK, linkname="b"), entry("b", kind=LINK, linkname="a"), entry("a/x")],
        "a/x",
    ),
    "hard link outside": ([entry("h", kind=HARD, linkname="../../etc/passwd")], "'h'"),
    "hard link absolute": ([entry("h", kind=HARD, linkname="/etc/passwd")], "'h'"),
    "hard link to nothing": ([entry("h", kind=HARD, linkname="none")], "'h'.*'none'"),
    "whiteout of the parent": ([entry("d", kind=DIR), entry("d/.wh...")], r"\.wh\.\.\."),
}


@pytest.mark.parametrize("case", LAYERS)
async def test_layer_that_escapes(home: Home, case: str) -> None:
    images = await home.open()
    entries, message = LAYERS[case]
    with pytest.raises(errdefs.InvalidParameter, match=message):
        await load(images, docker("bad", tar(*entries)))
    assert leftovers(images) == [] and images.list() == []
    assert not os.path.exists(SECRET)


async def test_links_that_stay_inside_are_followed(home: Home) -> None:
    images = await home.open()
    layer = tar(
        entry("usr/lib", kind=DIR),
        entry("lib", kind=LINK, linkname="usr/lib"),
        entry("lib/x", b"inside"),
        entry("out", kind=LINK, linkname="../../../etc"),
    )
    await load(images, docker("good", layer))
    top = await images.snapshots.directory(images.resolve("good").top)
    with open(os.path.join(top, "usr/lib/x")) as file:
        assert file.read() == "inside"


async def test_overlay_attributes_are_not_taken(home: Home) -> None:
    images = await home.open()
    info, data = entry("d", kind=DIR)
    info.pax_headers = {
        "SCHILY.xattr.trusted.overlay.redirect": "/etc",
        "SCHILY.xattr.user.ok": "yes",
    }
    await load(images, docker("app", tar((info, data))))
    top = await images.snapshots.directory(images.resolve("app").top)
    assert os.listxattr(os.path.join(top, "d")) == ["user.ok"]


GOOD = tar(entry("f", b"data" * 1000))


def replaced(find: str, data: bytes) -> bytes:
    """The good archive with other content for the member whose name ends with ``find``."""
    result = []
    with tarfile.open(fileobj=io.BytesIO(docker("a", GOOD))) as archive:
        for info in archive:
            content = archive.extractfile(info).read()  # type: ignore[union-attr]
            result.append(entry(info.name, data if info.name.endswith(find) else content))
    return tar(*result)


ARCHIVES: dict[str, tuple[bytes, str]] = {
    "empty": (b"", "empty"),
    "no tar": (b"hello" * 1000, "not a usable tar"),
    "truncated": (docker("a", GOOD)[:3000], "truncated"),
    "truncated gzip": (gzip.compress(docker("a", GOOD))[:-30], "truncated"),
    "truncated layer": (
        docker("a", GOOD, stored=(gzip.compress(GOOD)[:-20],)),
        "layer.tar.*truncated",
    ),
    "damaged gzip": (b"\x1f\x8b\x08" + b"\xff" * 5000, "gzip"),
    "layer is cut": (docker("a", GOOD, stored=(GOOD[:1500],)), "[Tt]runcated"),
    "other layer": (docker("a", GOOD, stored=(tar(entry("g")),)), "diff id"),
    "other config": (replaced(".json", b"{}"), "another digest|not valid"),
    "manifest no json": (replaced("manifest.json", b"{nonsense"), "manifest.json"),
    "manifest null": (replaced("manifest.json", b"[null]"), "manifest.json"),
    "manifest empty": (replaced("manifest.json", b"[]"), "names no image"),
    "no manifest": (tar(entry("a", b"x")), "neither manifest.json nor index.json"),
    "deep json": (replaced("manifest.json", b"[" * 100_000), "manifest.json"),
    "missing layer": (
        tar(
            entry("c", config(GOOD)),
            entry("manifest.json", json.dumps([{"Config": "c", "Layers": ["gone"]}]).encode()),
        ),
        "'gone'",
    ),
    "too few layers": (
        tar(
            entry("c", config(GOOD)),
            entry("manifest.json", json.dumps([{"Config": "c", "Layers": []}]).encode()),
        ),
        "0 layers",
    ),
    "twice": (tar(entry("manifest.json", b"[]"), entry("manifest.json", b"[]")), "two members"),
    "member outside": (tar(entry("../x", b"x")), "leads out"),
    "member absolute": (tar(entry("/x", b"x")), "leads out"),
    "link outside": (tar(entry("x", kind=LINK, linkname="../../etc/passwd")), "leads out"),
    "blob with wrong name": (
        tar(entry(f"blobs/sha256/{sha(b'other')}", GOOD)),
        "announced",
    ),
    "document with wrong name": (tar(entry(f"blobs/sha256/{sha(b'o')}", b"{}")), "digest"),
    "bad tag": (docker("Bad Tag!", GOOD), "invalid reference format"),
}


@pytest.mark.parametrize("case", ARCHIVES)
async def test_bad_archive(home: Home, case: str) -> None:
    images = await home.open()
    data, message = ARCHIVES[case]
    with pytest.raises(errdefs.InvalidParameter, match=message):
        await load(images, data)
    assert leftovers(images) == [] and images.list() == []


async def test_bombs(home: Home) -> None:
    images = await home.open(size=8 << 20, entries=100)
    big = tar(entry("zeros", bytes(16 << 20)))
    many = tar(*(entry(f"f{number}") for number in range(200)))
    for layer, message in (
        (big, "zeros.*8388608 bytes|bytes unpacked"),
        (many, "more than 100 entries|bytes unpacked"),
    ):
        with pytest.raises(errdefs.InvalidParameter, match=message):
            await load(images, docker("bomb", layer, stored=(gzip.compress(layer),)))
        with pytest.raises(errdefs.InvalidParameter, match=message):
            await images.import_(chunks(layer))
    assert leftovers(images) == []


async def test_huge_sparse_file(home: Home) -> None:
    images = await home.open(size=8 << 20)
    info, _ = entry("GNUSparseFile.0/huge")
    info.pax_headers = {
        "GNU.sparse.major": "1", "GNU.sparse.minor": "0", "GNU.sparse.name": "huge",
        "GNU.sparse.realsize": str(1 << 60),
    }  # fmt: skip
    layer = tar(entry("x"), _sized(info, b"1\n0\n0\n".ljust(512)))
    with pytest.raises(errdefs.InvalidParameter, match=r"huge|damaged"):
        await load(images, docker("a", layer))
    assert leftovers(images) == []


def _sized(info: tarfile.TarInfo, data: bytes) -> Entry:
    info.size = len(data)
    return info, data


async def test_endless_gzip(home: Home) -> None:
    images = await home.open(size=8 << 20)
    with pytest.raises(errdefs.InvalidParameter, match=r"limit|not a usable tar|Damaged|damaged"):
        await load(images, gzip.compress(bytes(64 << 20)))
    assert leftovers(images) == []
