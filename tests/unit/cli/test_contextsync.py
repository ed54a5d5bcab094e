"""A build context that changes while it is read."""

from __future__ import annotations

import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from firkin.cli import contextsync

BIG = 3 << 20


def sent(root: Path, change: Callable[[Path], None], name: str = "f") -> bytes:
    """The archive of one file that changes once its first bytes are out."""
    pieces = contextsync.Directory(str(root)).archive([name])
    first = [next(pieces), next(pieces)]
    change(root / name)
    return b"".join([*first, *pieces])


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "f").write_bytes(b"a" * BIG)
    os.utime(tmp_path / "f", (1, 1))
    return tmp_path


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"b" * BIG)


def rewrite(path: Path) -> None:
    with path.open("r+b") as file:
        file.seek(BIG // 2)
        file.write(b"b" * (BIG // 2))


def replace(path: Path) -> None:
    path.unlink()
    path.write_bytes(b"b")


def test_what_grows_is_what_it_was(root: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(sent(root, grow))) as tar:
        file = tar.extractfile("f")
        assert file is not None
        assert file.read() == b"a" * BIG


def test_what_is_replaced_is_what_it_was(root: Path) -> None:
    with tarfile.open(fileobj=io.BytesIO(sent(root, replace))) as tar:
        assert tar.getmember("f").size == BIG


@pytest.mark.parametrize(
    ("change", "how"),
    [
        (lambda path: os.truncate(path, 10), "became shorter"),
        (rewrite, "was written to"),
    ],
)
def test_what_is_torn_is_told(root: Path, change: Callable[[Path], None], how: str) -> None:
    with pytest.raises(contextsync.Changed, match=f"^f of the build context {how}"):
        sent(root, change)


@pytest.mark.parametrize("kind", ["vanished", "became a link", "became another kind of file"])
def test_what_is_no_file_any_more(root: Path, kind: str) -> None:
    pieces = contextsync.Directory(str(root)).archive(["f"])
    (root / "f").unlink()
    if kind == "became a link":
        (root / "f").symlink_to("/etc/passwd")
    elif kind == "became another kind of file":
        os.mkfifo(root / "f")
    with pytest.raises(contextsync.Changed, match=kind):
        next(pieces)
