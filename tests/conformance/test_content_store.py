"""What every content store must do. Add a driver to ``DRIVERS``."""

import hashlib
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from firkin import errdefs
from firkin.content import local, store

Open = Callable[[], store.Store]
DRIVERS = {"local": local.LocalStore}


@pytest.fixture(params=DRIVERS)
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    return lambda: DRIVERS[request.param](str(tmp_path / "content"))


def digest(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def files(path: Path) -> int:
    return sum(len(names) for _, _, names in os.walk(path))


def test_life_of_a_blob(reopen: Open) -> None:
    content = reopen()
    writer = content.writer()
    writer.write(b"hello ")
    writer.writev([b"wor", memoryview(b"ld"), b""])
    assert writer.size == 11
    assert not content.exists(digest(b"hello world"))
    info = writer.commit(digest(b"hello world"), 11)
    assert info == (digest(b"hello world"), 11)
    content = reopen()
    assert content.exists(info.digest)
    assert content.info(info.digest) == info
    assert list(content.walk()) == [info]
    with content.open(info.digest) as blob:
        assert content.delete(info.digest)
        assert blob.read() == b"hello world"
    assert not content.delete(info.digest)
    assert not content.exists(info.digest)


def test_unexpected_content_is_refused(reopen: Open, tmp_path: Path) -> None:
    content = reopen()
    for expected, size in ((digest(b"other"), -1), ("", 4), (digest(b"data!"), 3)):
        writer = content.writer()
        writer.write(b"data!")
        with pytest.raises(errdefs.InvalidParameter, match="announced"):
            writer.commit(expected, size)
    assert list(content.walk()) == []
    assert files(tmp_path) == 0


def test_abort_leaves_nothing(reopen: Open, tmp_path: Path) -> None:
    writer = reopen().writer()
    writer.write(b"x")
    writer.abort()
    writer.abort()
    assert files(tmp_path) == 0


def test_abort_after_commit_does_nothing(reopen: Open) -> None:
    content = reopen()
    writer = content.writer()
    info = writer.commit()
    writer.abort()
    assert content.exists(info.digest)


def test_leftover_ingests_are_dropped(reopen: Open, tmp_path: Path) -> None:
    reopen().writer().write(b"never committed")
    reopen()
    assert files(tmp_path) == 0


def test_same_blob_twice(reopen: Open) -> None:
    content = reopen()
    assert store.put(content, b"x") == store.put(content, b"x")
    assert len(list(content.walk())) == 1


@pytest.mark.parametrize(
    "name", ["", "sha256:", "sha256:../../etc/passwd", "md5:" + "a" * 64, "sha256:" + "A" * 64]
)
def test_names_that_are_no_digests(reopen: Open, name: str) -> None:
    content = reopen()
    for call in (content.open, content.exists, content.info, content.delete):
        with pytest.raises(errdefs.InvalidParameter):
            call(name)


def test_missing(reopen: Open) -> None:
    content = reopen()
    for call in (content.open, content.info):
        with pytest.raises(errdefs.NotFound):
            call(digest(b""))


def test_read_has_a_limit(reopen: Open) -> None:
    content = reopen()
    info = store.put(content, b"12345")
    assert store.read(content, info.digest, 5) == b"12345"
    with pytest.raises(errdefs.InvalidParameter):
        store.read(content, info.digest, 4)


def test_suspended_blob_goes_on(reopen: Open, tmp_path: Path) -> None:
    data = os.urandom(3 << 20) + b"tail"
    writer = reopen().resume(digest(data))
    assert writer.size == 0
    assert list(writer.replay()) == []
    writer.write(data[: (2 << 20) + 5])
    writer.suspend()
    content = reopen()
    assert not content.exists(digest(data))
    assert content.begun(digest(data)) == 2 << 20
    writer = content.resume(digest(data))
    assert writer.size == 2 << 20
    assert b"".join(writer.replay()) == data[: writer.size]
    writer.write(data[writer.size :])
    assert writer.commit(size=len(data)).digest == digest(data)
    writer.suspend()
    with content.open(digest(data)) as blob:
        assert blob.read() == data
    assert files(tmp_path) == 1


def test_resumed_blob_is_verified(reopen: Open, tmp_path: Path) -> None:
    content = reopen()
    writer = content.resume(digest(b"right"))
    list(writer.replay())
    writer.write(b"wrong")
    with pytest.raises(errdefs.InvalidParameter):
        writer.commit()
    assert files(tmp_path) == 0


def test_one_writer_resumes(reopen: Open) -> None:
    content = reopen()
    writer = content.resume(digest(b"x"))
    with pytest.raises(errdefs.Conflict):
        content.resume(digest(b"x"))
    writer.abort()
    content.resume(digest(b"x")).suspend()
    assert content.begun(digest(b"x")) == 0


def test_partials_can_be_dropped(reopen: Open, tmp_path: Path) -> None:
    content = reopen()
    data = bytes(2 << 20)
    for open_still in (False, True):
        writer = content.resume(digest(data))
        list(writer.replay())
        writer.write(data)
        if not open_still:
            writer.suspend()
            assert content.drop_partials(3600) == 0
            assert content.drop_partials() == len(data)
            assert files(tmp_path) == 0
    assert content.drop_partials() == 0
    writer.suspend()
