"""What every storage of the registry must do. Add a driver to ``open_storage``."""

from __future__ import annotations

import contextlib
import hashlib
import io
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import s3rig
from firkin import errdefs
from firkin.registry import config
from firkin.registry.storage import local, s3, storage

Open = Callable[[], storage.Storage]


@pytest.fixture(scope="module")
def endpoint() -> Iterator[str]:
    with s3rig.serving() as found:
        yield found


@pytest.fixture(params=["local", "s3"])
def reopen(request: pytest.FixtureRequest, tmp_path: Path) -> Open:
    if request.param == "local":
        return lambda: local.LocalStorage(str(tmp_path / "blobs"))
    where = request.getfixturevalue("endpoint")
    settings = config.S3(
        bucket=s3rig.BUCKET, endpoint=where, prefix=tmp_path.name, attempts=2, **s3rig.KEYS
    )
    return lambda: s3.S3Storage(settings)


def put(store: storage.Storage, tmp_path: Path, data: bytes, algorithm: str = "sha256") -> str:
    file = tmp_path / "upload"
    file.write_bytes(data)
    digest = f"{algorithm}:{hashlib.new(algorithm, data).hexdigest()}"
    store.put(digest, str(file), len(data))
    assert not file.exists()
    return digest


def read(store: storage.Storage, digest: str, offset: int = 0, length: int = -1) -> bytes:
    made = io.BytesIO()
    with contextlib.closing(store.open(digest, offset, length)) as reader:
        while piece := reader.read(100_000):
            made.write(piece)
    return made.getvalue()


@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
@pytest.mark.parametrize("size", [0, 1, 5000, 3_000_000])
def test_life(reopen: Open, tmp_path: Path, size: int, algorithm: str) -> None:
    store, data = reopen(), os.urandom(size)
    digest = put(store, tmp_path, data, algorithm)
    store = reopen()
    info = store.stat(digest)
    assert (info.digest, info.size) == (digest, size)
    assert abs(info.modified - time.time()) < 3600
    assert read(store, digest) == data
    assert [found.digest for found in store.walk()] == [digest]
    assert store.delete(digest)
    assert not store.delete(digest)
    assert list(store.walk()) == []


def test_ranges(reopen: Open, tmp_path: Path) -> None:
    store, data = reopen(), os.urandom(10_000)
    digest = put(store, tmp_path, data)
    assert read(store, digest, 9000) == data[9000:]
    for offset, length in ((0, 1), (5, 100), (9999, 1)):
        assert read(store, digest, offset, length)[:length] == data[offset : offset + length]


def test_unknown_blobs(reopen: Open) -> None:
    store = reopen()
    digest = "sha256:" + "0" * 64
    for ask in (store.stat, store.open):
        with pytest.raises(errdefs.NotFound):
            ask(digest)
    assert not store.delete(digest)


@pytest.mark.parametrize("digest", ["", "sha256:../../etc/passwd", "md5:" + "0" * 32, "x"])
def test_only_digests_are_names(reopen: Open, tmp_path: Path, digest: str) -> None:
    store = reopen()
    file = tmp_path / "file"
    file.write_bytes(b"x")
    for ask in (store.stat, store.open, store.delete, lambda d: store.put(d, str(file), 1)):
        with pytest.raises(errdefs.FirkinError):
            ask(digest)
    assert list(store.walk()) == []


def test_again(reopen: Open, tmp_path: Path) -> None:
    store = reopen()
    digest = put(store, tmp_path, b"same")
    assert put(store, tmp_path, b"same") == digest
    assert read(store, digest) == b"same"
    assert len(list(store.walk())) == 1


def test_many(reopen: Open, tmp_path: Path) -> None:
    store = reopen()
    made = {put(store, tmp_path, str(number).encode()) for number in range(40)}
    assert {info.digest for info in store.walk()} == made


def test_links(reopen: Open, tmp_path: Path) -> None:
    import urllib.request

    store = reopen()
    digest = put(store, tmp_path, b"fetched")
    if link := store.url(digest, 60):
        with urllib.request.urlopen(link) as answer:
            assert answer.read() == b"fetched"


def test_check(reopen: Open) -> None:
    reopen().check()


def test_parts_of_cut_uploads_are_dropped(endpoint: str) -> None:
    client = s3rig.client(endpoint)
    client.create_multipart_upload(Bucket=s3rig.BUCKET, Key="cut/sha256/aa/x")
    settings = config.S3(bucket=s3rig.BUCKET, endpoint=endpoint, prefix="cut", **s3rig.KEYS)
    store = s3.S3Storage(settings)
    assert store.drop_parts() == 1
    assert store.drop_parts() == 0


def test_no_bucket(endpoint: str) -> None:
    settings = config.S3(bucket="none", endpoint=endpoint, attempts=1, **s3rig.KEYS)
    with pytest.raises(errdefs.Unavailable, match="none"):
        s3.S3Storage(settings).check()


def test_nobody_answers() -> None:
    settings = config.S3(
        bucket="x", endpoint="http://127.0.0.1:1", attempts=1, timeout=1.0, **s3rig.KEYS
    )
    store = s3.S3Storage(settings)
    for ask in (store.stat, store.open, store.delete):
        with pytest.raises(errdefs.Unavailable):
            ask("sha256:" + "0" * 64)
