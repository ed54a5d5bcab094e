import io
import tarfile
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from firkin import errdefs
from firkin.images import tarstream


def make(format: int, members: list[tuple[str, bytes]]) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=format) as archive:
        for name, data in members:
            info = tarfile.TarInfo(name)
            info.size = len(data)
            archive.addfile(info, io.BytesIO(data))
    return buffer.getvalue()


def reader(data: bytes, step: int) -> tarstream.Reader:
    chunks: Iterator[list[bytes]] = ([data[at : at + step]] for at in range(0, len(data), step))
    return tarstream.Reader(lambda: next(chunks, []))


def read(data: bytes, step: int = 1000) -> list[tuple[str, bytes]]:
    source = reader(data, step)
    return [(member.name, source.content()) for member in source.members()]


@pytest.mark.parametrize("format", [tarfile.USTAR_FORMAT, tarfile.GNU_FORMAT, tarfile.PAX_FORMAT])
@pytest.mark.parametrize("step", [1, 511, 1 << 20])
def test_reads_all_formats(format: int, step: int) -> None:
    members = [("a", b""), ("d/" * 60 + "long", b"x" * 513), ("é", b"y" * 512), ("z", b"end")]
    assert read(make(format, members), step) == members


def test_what_is_not_read_is_skipped() -> None:
    data = make(tarfile.GNU_FORMAT, [("a", b"x" * 5000), ("b", b"")])
    assert [member.name for member in reader(data, 700).members()] == ["a", "b"]


def header(size: bytes) -> bytes:
    block = bytearray(tarfile.TarInfo("x").tobuf(tarfile.GNU_FORMAT))
    block[124:136] = size
    block[148:156] = b" " * 8
    block[148:156] = b"%06o\0 " % sum(block)
    return bytes(block)


@pytest.mark.parametrize(
    "size", [b"\x80" + b"\xff" * 11, b"\xff" * 12, b"notanumber\0\0", b"77777777777\0"]
)
def test_impossible_sizes(size: bytes) -> None:
    with pytest.raises(errdefs.InvalidParameter, match=r"impossible size|not a number|truncated"):
        read(header(size))


@pytest.mark.parametrize("cut", [100, 512, 700, 1024 + 100])
def test_truncated(cut: int) -> None:
    data = make(tarfile.GNU_FORMAT, [("a", b"x" * 600), ("b", b"y" * 100)])
    with pytest.raises(errdefs.InvalidParameter, match="truncated"):
        read(data[:cut])


def test_wrong_checksum() -> None:
    data = bytearray(make(tarfile.GNU_FORMAT, [("a", b"")]))
    data[0] ^= 1
    with pytest.raises(errdefs.InvalidParameter, match="checksum"):
        read(bytes(data))


def test_gigantic_extended_header() -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, 1 << 30
    with pytest.raises(errdefs.InvalidParameter, match="extended header has"):
        read(info.tobuf(tarfile.GNU_FORMAT))


@given(st.binary(max_size=3000))
def test_any_bytes_are_read_or_refused(data: bytes) -> None:
    try:
        read(data)
    except errdefs.InvalidParameter:
        pass


@given(st.binary(max_size=600))
def test_any_pax_header_is_read_or_refused(data: bytes) -> None:
    info = tarfile.TarInfo("x")
    info.type, info.size = tarfile.XHDTYPE, len(data)
    padded = info.tobuf(tarfile.GNU_FORMAT) + data + b"\0" * (-len(data) % 512)
    try:
        read(padded + make(tarfile.GNU_FORMAT, [("a", b"1")]))
    except errdefs.InvalidParameter:
        pass
