"""Loading, saving, importing and committing real archives with real workers."""

import asyncio
import bz2
import gzip
import io
import json
import lzma
import os
import shutil
import stat
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import zstandard

from firkin import errdefs
from firkin.images import service
from firkin.snapshots import mounting
from firkin.types import container

sys.path.insert(0, str(Path(__file__).parent))
from imagearchives import Home, chunks, config, docker, entry, leftovers, load, sha, tar

pytestmark = pytest.mark.root

DIR, LINK, HARD, CHAR = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE
BASE = tar(
    entry("bin", kind=DIR),
    entry("bin/tool", b"tool" * 1000, mode=0o4755, uid=7, gid=8),
    entry("bin/same", kind=HARD, linkname="bin/tool"),
    entry("sbin", kind=LINK, linkname="bin"),
    entry("etc", kind=DIR, mode=0o700),
    entry("etc/old", b"old"),
    entry("keep", kind=DIR),
    entry("keep/gone", b"x"),
    entry("null", kind=CHAR, devmajor=1, devminor=3),
)
TOP = tar(
    entry("etc", kind=DIR, mode=0o700),
    entry("etc/.wh.old"),
    entry("etc/new", b"new"),
    entry("keep", kind=DIR),
    entry("keep/.wh..wh..opq"),
    entry("keep/kept", b"kept"),
)


async def tree(images: service.ImageService, name: str, tmp_path: Path, key: str = "c") -> Path:
    target = tmp_path / f"merged-{key}"
    target.mkdir()
    mounts = await images.create_rootfs(images.resolve(name), key)
    await asyncio.to_thread(mounting.mount_rootfs, mounts, str(target))
    return target


async def save(images: service.ImageService, *names: str) -> bytes:
    return b"".join([part async for part in images.save(names)])


async def test_layers_are_applied(home: Home, tmp_path: Path) -> None:
    images = await home.open()
    assert await load(images, docker("app:1", BASE, TOP)) == ["Loaded image: app:1\n"]
    root = await tree(images, "app:1", tmp_path)
    try:
        status = os.stat(root / "bin/tool")
        assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o4755, 7, 8)
        assert status.st_nlink == 2 and status.st_mtime == 1_700_000_000
        assert os.readlink(root / "sbin") == "bin"
        assert sorted(os.listdir(root / "etc")) == ["new"]
        assert sorted(os.listdir(root / "keep")) == ["kept"]
        assert stat.S_IMODE(os.stat(root / "etc").st_mode) == 0o700
        assert os.stat(root / "null").st_rdev == os.makedev(1, 3)
    finally:
        mounting.unmount_rootfs(str(root))
    image = images.resolve("app:1")
    assert image.size == 4000 + 3 + 1 + 3 + 4
    assert [item.size for item in await images.history("app:1")] == [7, 4004]
    shown = await images.inspect("app:1")
    assert shown["RootFS"]["Layers"] == [f"sha256:{sha(BASE)}", f"sha256:{sha(TOP)}"]


@pytest.mark.parametrize("outer", ["", "gzip", "zstd", "xz", "bzip2"])
async def test_compressions(home: Home, outer: str) -> None:
    images = await home.open()
    packed = {
        "": bytes,
        "gzip": gzip.compress,
        "zstd": zstandard.ZstdCompressor().compress,
        "xz": lzma.compress,
        "bzip2": bz2.compress,
    }[outer]
    inner = (gzip.compress(BASE), zstandard.ZstdCompressor().compress(TOP))
    data = packed(docker("app", BASE, TOP, stored=inner))
    assert await load(images, data) == ["Loaded image: app:latest\n"]
    again = await home.open()
    assert again.resolve("app").id == images.resolve("app").id


async def test_shared_layers_are_kept_once(home: Home) -> None:
    images = await home.open()
    await load(images, docker("one", BASE, A=1))
    count = len(leftovers(images))
    await load(images, docker("two", BASE, User="x"))
    # A config and a manifest more, no layer.
    assert len(leftovers(images)) == count + 2
    assert images.resolve("one").top == images.resolve("two").top
    usage = await images.usage()
    assert usage.layers == usage.shared[images.resolve("one").id] == 4004


async def test_links_between_members(home: Home) -> None:
    images = await home.open()
    document = config(BASE)
    manifest = [{"Config": "c.json", "RepoTags": ["a:b"], "Layers": ["two/layer.tar"]}]
    data = tar(
        entry("one/layer.tar", BASE),
        entry("two/layer.tar", kind=LINK, linkname="../one/layer.tar"),
        entry("c.json", document),
        entry("manifest.json", json.dumps(manifest).encode()),
    )
    assert await load(images, data) == ["Loaded image: a:b\n"]


async def test_save_and_load_again(home: Home, tmp_path: Path) -> None:
    images = await home.open()
    zstd = zstandard.ZstdCompressor().compress(TOP)
    await load(images, docker("app:1", BASE, TOP, stored=(gzip.compress(BASE), zstd)))
    await load(images, docker("app:2", BASE))
    data = await save(images, "app")
    assert data == await save(images, "app")
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        names = archive.getnames()
        index = json.load(archive.extractfile("index.json"))  # type: ignore[arg-type]
    assert len(names) == len(set(names))
    assert {"oci-layout", "index.json", "manifest.json", "repositories"} <= set(names)
    assert len(index["manifests"]) == 2
    ids = {images.resolve("app:1").id, images.resolve("app:2").id}
    for name in ("app:1", "app:2"):
        await images.remove(name, lambda image: [])
    assert leftovers(images) == []
    assert sorted(await load(images, data)) == [
        "Loaded image: app:1\n",
        "Loaded image: app:2\n",
    ]
    assert {images.resolve("app:1").id, images.resolve("app:2").id} == ids


@pytest.mark.skipif(not shutil.which("skopeo"), reason="needs skopeo")
async def test_skopeo_reads_and_writes(home: Home, tmp_path: Path) -> None:
    images = await home.open()
    await load(images, docker("app:1", BASE, TOP))
    identity = images.resolve("app:1").id
    (tmp_path / "saved.tar").write_bytes(await save(images, "app:1"))

    def skopeo(*arguments: str) -> None:
        command = ["skopeo", "--insecure-policy", "copy", "-q", *arguments]
        subprocess.run(command, check=True, capture_output=True, cwd=tmp_path)

    skopeo("docker-archive:saved.tar", "oci-archive:a.tar:app:1")
    skopeo("oci-archive:saved.tar", "oci-archive:c.tar:latest")
    skopeo("docker-archive:saved.tar", "docker-archive:b.tar:other:2")
    await images.remove("app:1", lambda image: [])
    await load(images, (tmp_path / "a.tar").read_bytes())
    # Its conversion to OCI writes another config for the same layers.
    assert images.resolve("app:1").config.rootfs.diff_ids[1] == f"sha256:{sha(TOP)}"
    await load(images, (tmp_path / "b.tar").read_bytes())
    assert images.resolve("other:2").config.rootfs.diff_ids == [
        f"sha256:{sha(BASE)}",
        f"sha256:{sha(TOP)}",
    ]
    assert await load(images, (tmp_path / "c.tar").read_bytes()) == [
        f"Loaded image ID: {identity}\n"
    ]


async def test_a_name_moves(home: Home) -> None:
    images = await home.open()
    await load(images, docker("app", BASE))
    old = images.resolve("app").id
    messages = await load(images, docker("app", TOP))
    assert messages[0].startswith("The image app:latest already exists, renaming the old one")
    assert images.resolve(old).refs == ()
    assert [item.id for item in images.list({"dangling": ["true"]})] == [old]
    before = (await images.disk()).total
    items, freed = await images.prune(None, lambda image: [])
    assert old in [item.deleted for item in items]
    assert 4004 < freed == before - (await images.disk()).total


async def test_import(home: Home, tmp_path: Path) -> None:
    images = await home.open()
    for number, data in enumerate((BASE, gzip.compress(BASE), lzma.compress(BASE))):
        image = await images.import_(
            chunks(data),
            repository="root",
            tag=f"t{number}",
            message="hello",
            changes=['CMD ["x"]', "ENV A=b"],
        )
        assert image.config.rootfs.diff_ids == [f"sha256:{sha(BASE)}"]
        assert image.config.config.cmd == ["x"]
        assert image.config.history[0].comment == "hello"
        assert images.resolve(f"root:t{number}") == image
    with pytest.raises(errdefs.InvalidParameter, match="no tar archive"):
        await images.import_(chunks(b"no tar" * 1000))
    with pytest.raises(errdefs.InvalidParameter, match="empty"):
        await images.import_(chunks(b""))


async def test_commit(home: Home, tmp_path: Path) -> None:
    images = await home.open()
    await load(images, docker("app:1", BASE))
    parent = images.resolve("app:1")
    root = await tree(images, "app:1", tmp_path)
    try:
        (root / "etc/old").unlink()
        (root / "etc/made").write_text("made")
        os.link(root / "etc/made", root / "etc/linked")
        os.symlink("/nowhere", root / "dangling")
        shutil.rmtree(root / "keep")
        (root / "keep").mkdir()
        (root / "keep/fresh").write_text("fresh")
        os.mkfifo(root / "pipe")
        os.setxattr(root / "etc/made", "user.note", b"\xff\x00x")
        with open(root / "holes", "wb") as file:
            file.truncate(64 << 20)
            file.seek(10 << 20)
            file.write(b"island")
        made = await images.commit(
            "c", parent.id, container.Config(cmd=["run"]), comment="why", author="me",
            changes=["USER 5"], repository="app", tag="2",
        )  # fmt: skip
    finally:
        mounting.unmount_rootfs(str(root))
    assert (made.parent, made.config.author) == (parent.id, "me")
    assert (made.config.config.user, made.config.config.cmd) == ("5", ["run"])
    assert made.config.history[-1].comment == "why"
    assert made.config.rootfs.diff_ids[:1] == parent.config.rootfs.diff_ids
    layer = images.catalog.manifest(made).layers[-1]
    assert layer.size < 1 << 20
    again = await tree(images, "app:2", tmp_path, "d")
    try:
        assert sorted(os.listdir(again / "etc")) == ["linked", "made"]
        assert os.stat(again / "etc/made").st_nlink == 2
        assert os.getxattr(again / "etc/made", "user.note") == b"\xff\x00x"
        assert os.listdir(again / "keep") == ["fresh"]
        assert os.readlink(again / "dangling") == "/nowhere"
        assert stat.S_ISFIFO(os.lstat(again / "pipe").st_mode)
        assert os.stat(again / "holes").st_size == 64 << 20
        with open(again / "holes", "rb") as file:
            file.seek((10 << 20) - 1)
            assert file.read(8) == b"\0island\0"
        assert (again / "bin/tool").exists()
    finally:
        mounting.unmount_rootfs(str(again))
    with tarfile.open(fileobj=images.content.open(layer.digest)) as archive:
        names = archive.getnames()
    assert "etc/.wh.old" in names and "holes" in names
    same = await images.commit("d", made.id, container.Config())
    if home.driver == "overlay2":
        assert same.config.history[-1].empty_layer and same.top == made.top


async def test_killed_engine_leaves_nothing(home: Home) -> None:
    images = await home.open()
    await load(images, docker("app", BASE))
    before = sorted(leftovers(images))
    await images.snapshots.prepare("extract-half", "")
    images.content.writer().write(b"half")
    writer = images.content.writer()
    writer.write(b"a blob that nothing refers to")
    writer.commit()
    (Path(images.snapshots.root) / "77").mkdir()  # type: ignore[attr-defined]
    assert sorted(leftovers(images)) != before
    assert sorted(leftovers(await home.open())) == before


async def test_client_goes_away(home: Home) -> None:
    images = await home.open()
    data = docker("app", BASE)

    async def stalled():  # type: ignore[no-untyped-def]
        yield data[: len(data) // 2]
        await asyncio.sleep(3600)

    async def run() -> None:
        async for _ in images.load(stalled()):
            pass

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(run(), 1)
    assert leftovers(images) == []
    assert await load(images, data) == ["Loaded image: app:latest\n"]
