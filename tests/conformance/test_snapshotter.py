"""What every snapshotter must do, mounted for real. Add a driver to ``DRIVERS``."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from firkin import errdefs
from firkin.linux import treesize
from firkin.snapshots import mounting, native, overlay, snapshotter
from firkin.store import db

pytestmark = pytest.mark.root
DRIVERS = {"overlay": overlay.Overlay, "native": native.Native}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "snapshots"
    path.mkdir()
    return path


@pytest.fixture(params=DRIVERS)
def snapshots(
    request: pytest.FixtureRequest, root: Path, tmp_path: Path
) -> Iterator[snapshotter.Snapshotter]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    if request.param == "overlay" and not mounting.overlay_works(str(root)):
        pytest.skip("no overlayfs here")
    database = db.Database.open(str(tmp_path / "db"))
    yield DRIVERS[request.param](str(root), database)
    database.close()


@contextmanager
def mounted(mounts: list[object], tmp_path: Path) -> Iterator[Path]:
    target = tmp_path / "merged"
    target.mkdir(exist_ok=True)
    mounting.mount_rootfs(mounts, str(target))  # type: ignore[arg-type]
    try:
        yield target
    finally:
        assert mounting.unmount_rootfs(str(target))


async def layer(
    snapshots: snapshotter.Snapshotter, tmp_path: Path, name: str, parent: str, text: str
) -> None:
    with mounted(await snapshots.prepare(f"new-{name}", parent), tmp_path) as tree:
        (tree / name).write_text(text)
    await snapshots.commit(f"new-{name}", name, size=len(text))


async def test_layers_stack(snapshots: snapshotter.Snapshotter, tmp_path: Path) -> None:
    await layer(snapshots, tmp_path, "a", "", "one")
    await layer(snapshots, tmp_path, "b", "a", "two")
    with mounted(await snapshots.prepare("container", "b"), tmp_path) as tree:
        assert (tree / "a").read_text() == "one"
        (tree / "a").unlink()
        (tree / "b").write_text("changed")
    with mounted(await snapshots.mounts("container"), tmp_path) as tree:
        assert sorted(os.listdir(tree)) == ["b"]
        assert (tree / "b").read_text() == "changed"
    with mounted(await snapshots.mounts("b"), tmp_path) as tree:
        assert (tree / "a").read_text() == "one"
        with pytest.raises(OSError):
            (tree / "new").write_text("x")
    assert [info.key for info in await snapshots.walk()] == ["a", "b", "container"]
    info = await snapshots.stat("b")
    assert (info.parent, info.kind, info.size) == ("a", "committed", 3)
    assert (await snapshots.usage("container")).apparent >= 7 - 6
    assert len(await snapshots.layers("container")) == 3


async def test_sizes_are_those_of_du(
    snapshots: snapshotter.Snapshotter, root: Path, tmp_path: Path
) -> None:
    def du(number: int) -> int:
        return treesize.measure(str(root / str(number))).size

    await layer(snapshots, tmp_path, "a", "", "one" * 10_000)
    await snapshots.prepare("counted", "a", counted=True)
    meters = await snapshots.meters()
    assert set(meters) == {"counted"}
    assert meters["counted"]() == (0, du((await snapshots.stat("counted")).dir))
    with mounted(await snapshots.mounts("counted"), tmp_path) as tree:
        (tree / "b").write_bytes(bytes(100_000))
    own, whole = meters["counted"]()
    assert 100_000 <= own < 110_000 and whole == du((await snapshots.stat("counted")).dir)
    info = await snapshots.stat("a")
    assert await snapshots.sizes() == {"a": info.disk} == {"a": du(info.dir)}
    await snapshots.commit("counted", "b", size=1)
    assert (await snapshots.sizes())["b"] == du((await snapshots.stat("b")).dir)


async def test_sizes_of_an_older_engine(root: Path, tmp_path: Path) -> None:
    """Layers that were committed before sizes were kept are measured once."""
    database = db.Database.open(str(tmp_path / "db"))
    snapshots = native.Native(str(root), database)
    await layer(snapshots, tmp_path, "a", "", "one" * 10_000)
    known = await snapshots.sizes()
    await database.run(lambda c: c.execute("UPDATE snapshots SET disk = -1") and None)
    assert await snapshots.sizes() == known
    assert (await snapshots.stat("a")).disk == known["a"]
    database.close()


async def test_rules(snapshots: snapshotter.Snapshotter, tmp_path: Path) -> None:
    await layer(snapshots, tmp_path, "a", "", "one")
    await snapshots.prepare("c", "a")
    with pytest.raises(errdefs.Conflict):
        await snapshots.prepare("c", "a")
    with pytest.raises(errdefs.Conflict, match="parent"):
        await snapshots.remove("a")
    with pytest.raises(errdefs.Conflict):
        await snapshots.prepare("d", "c")
    with pytest.raises(errdefs.Conflict):
        await snapshots.commit("c", "a")
    with pytest.raises(errdefs.Conflict):
        await snapshots.commit("a", "x")
    for call in (snapshots.stat, snapshots.mounts, snapshots.remove, snapshots.directory):
        with pytest.raises(errdefs.NotFound):
            await call("missing")
    with pytest.raises(errdefs.NotFound):
        await snapshots.prepare("e", "missing")


async def test_remove_and_cleanup(
    snapshots: snapshotter.Snapshotter, root: Path, tmp_path: Path
) -> None:
    await layer(snapshots, tmp_path, "a", "", "one")
    (root / "99").mkdir()
    (root / "99" / "stray").write_text("x")
    (root / "file").write_text("x")
    assert await snapshots.cleanup() == 2
    assert len(os.listdir(root)) == 1
    await snapshots.remove("a")
    assert os.listdir(root) == []


async def test_rebase(snapshots: snapshotter.Snapshotter, tmp_path: Path) -> None:
    await layer(snapshots, tmp_path, "a", "", "one")
    await snapshots.prepare("x")
    if not snapshots.rebases:
        with pytest.raises(errdefs.InvalidParameter):
            await snapshots.commit("x", "y", parent="a")
        return
    await snapshots.commit("x", "y", parent="a")
    with mounted(await snapshots.mounts("y"), tmp_path) as tree:
        assert (tree / "a").read_text() == "one"


async def test_127_layers(snapshots: snapshotter.Snapshotter, tmp_path: Path) -> None:
    parent = ""
    for number in range(127):
        name = f"layer{number}"
        await snapshots.prepare(f"n{number}", parent)
        path = os.path.join(await snapshots.directory(f"n{number}"), name)
        with open(path, "w") as file:
            file.write("x")
        await snapshots.commit(f"n{number}", name)
        parent = name
        if not snapshots.rebases and number == 10:
            break
    with mounted(await snapshots.prepare("c", parent), tmp_path) as tree:
        assert len(os.listdir(tree)) == number + 1
