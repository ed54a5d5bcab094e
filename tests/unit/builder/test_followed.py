"""A tree that follows what a client says: links that the client makes lead nowhere."""

from __future__ import annotations

import contextlib
import pathlib
from collections.abc import Iterator

import pytest

from firkin import errdefs
from firkin.builder import followed


@pytest.fixture
def outside(tmp_path: pathlib.Path) -> pathlib.Path:
    """A directory that the client must not reach, with a file in it."""
    directory = tmp_path / "outside"
    (directory / "below").mkdir(parents=True)
    (directory / "kept").write_text("x")
    return directory


@pytest.fixture
def root(tmp_path: pathlib.Path) -> pathlib.Path:
    directory = tmp_path / "tree"
    directory.mkdir()
    return directory


@pytest.fixture
def tree(root: pathlib.Path) -> Iterator[followed.Tree]:
    with contextlib.closing(followed.Tree(str(root))) as made:
        yield made


def test_what_is_asked_for_is_made(root: pathlib.Path, tree: followed.Tree) -> None:
    tree.directory("a", 0o750)
    tree.directory("a/b", 0o1777)
    tree.link("a/b/l", "../x", 5_000_000_007)
    tree.fifo("a/f", 0o640)
    tree.changed("a/b", 7_000_000_001)
    assert (root / "a" / "b").stat().st_mode & 0o7777 == 0o1777
    assert (root / "a" / "b").stat().st_mtime_ns == 7_000_000_001
    assert (root / "a" / "b" / "l").lstat().st_mtime_ns == 5_000_000_007
    assert (root / "a" / "f").is_fifo()
    tree.remove("a")
    tree.remove("a")
    assert list(root.iterdir()) == []


def test_nothing_behind_a_link_is_removed(
    root: pathlib.Path, tree: followed.Tree, outside: pathlib.Path
) -> None:
    """An older manifest had a/kept; the newer one makes a link of a."""
    tree.link("a", str(outside), 0)
    tree.remove("a/kept")
    tree.remove("a/below")
    assert (outside / "kept").exists() and (outside / "below").exists()
    tree.remove("a")
    assert (outside / "kept").exists() and not (root / "a").is_symlink()


def test_nothing_behind_a_link_is_made(tree: followed.Tree, outside: pathlib.Path) -> None:
    tree.link("a", str(outside), 0)
    before = outside.stat().st_mtime_ns
    for make in (
        lambda: tree.directory("a/new", 0o755),
        lambda: tree.link("a/new", "/", 0),
        lambda: tree.fifo("a/new", 0o600),
    ):
        with pytest.raises(errdefs.InvalidParameter, match=r"behind a link|no directory"):
            make()
    tree.changed("a", 1)
    tree.changed("a/below", 1)
    assert outside.stat().st_mtime_ns == before
    assert sorted(path.name for path in outside.iterdir()) == ["below", "kept"]


def test_a_link_is_no_directory(tree: followed.Tree, outside: pathlib.Path) -> None:
    mode = outside.stat().st_mode
    tree.link("a", str(outside), 0)
    with pytest.raises((errdefs.InvalidParameter, OSError)):
        tree.directory("a", 0o777)
    assert outside.stat().st_mode == mode


@pytest.mark.parametrize("path", ["file/x", "missing/x"])
def test_parents_must_be_directories(root: pathlib.Path, tree: followed.Tree, path: str) -> None:
    (root / "file").write_text("")
    with pytest.raises(errdefs.InvalidParameter):
        tree.directory(path, 0o755)
