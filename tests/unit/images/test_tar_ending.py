"""What lacks at the end of a tar."""

from __future__ import annotations

import io
import tarfile

import pytest

from firkin.images import tarstream


def archive(*sizes: int, form: int = tarfile.PAX_FORMAT, name: str = "f") -> bytes:
    """A tar with files of these sizes, without its end mark."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for number, size in enumerate(sizes):
            info = tarfile.TarInfo(f"{name}{number}")
            info.size = size
            tar.addfile(info, io.BytesIO(b"x" * size))
        end = tar.offset
    return out.getvalue()[:end]


def lacking(data: bytes, step: int = 1 << 20) -> int:
    ending = tarstream.Ending()
    for at in range(0, len(data), step):
        ending.feed(data[at : at + step])
    return ending.padding


@pytest.mark.parametrize("step", [1, 7, 512, 4096])
@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
@pytest.mark.parametrize("name", ["f", "long" * 80])
def test_padding_alone(step: int, form: int, name: str) -> None:
    whole = archive(600, 47, form=form, name=name)
    assert lacking(whole, step) == 0
    assert lacking(whole[:-465], step) == 465
    assert lacking(whole[:-5], step) == 5
    assert lacking(whole[:-466], step) == 0  # a byte of the file itself lacks
    assert lacking(whole[:-700], step) == 0


def test_what_is_no_tar() -> None:
    assert lacking(b"FROM busybox\n" * 100) == 0
    assert lacking(b"") == 0
    assert lacking(archive(512) + bytes(1024) + b"x" * 700) == 0
