"""Archives of contexts from strangers."""

from __future__ import annotations

import io
import json
import tarfile
import zipfile

import pytest

from firkin.cli import contextarchive, contextstore, errors

META = contextstore.new("old", "text", "tcp://h:1")
TLS = {"ca.pem": b"ca", "key.pem": b"key"}


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for info, content in members:
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    info = tarfile.TarInfo(name)
    info.type, info.linkname = kind, link
    return info


def test_there_and_back() -> None:
    packed = contextarchive.pack(META, TLS)
    meta, tls = contextarchive.unpack(packed, "new")
    assert meta == {**META, "Name": "new"}
    assert tls == TLS


def test_an_archive_without_its_last_padding() -> None:
    packed = contextarchive.pack(META, TLS)
    end = packed.rindex(b"key") + 3
    assert contextarchive.unpack(packed[:end], "new")[1] == TLS
    with pytest.raises(errors.CliError, match="cut off"):
        contextarchive.unpack(packed[: end - 1], "new")


def test_a_zip_file() -> None:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w") as archive:
        archive.writestr("meta.json", json.dumps(META))
        archive.writestr("tls/docker/ca.pem", "ca")
    meta, tls = contextarchive.unpack(out.getvalue(), "new")
    assert meta["Name"] == "new" and tls == {"ca.pem": b"ca"}


GOOD = (member("meta.json"), json.dumps(META).encode())


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"root:x:0:0\n" * 100,
        b"PK\x03\x04" + b"x" * 100,
        tar(),
        tar((member("meta.json"), b"[]")),
        tar((member("meta.json"), b"{")),
        tar((member("meta.json"), b'{"Endpoints": 3}')),
        tar(GOOD, (member("../x"), b"")),
        tar(GOOD, (member("/etc/passwd"), b"")),
        tar(GOOD, (member("tls/docker/../../x"), b"")),
        tar(GOOD, (member("tls/docker/other.pem"), b"")),
        tar(GOOD, (member("tls/docker/ca.pem", tarfile.SYMTYPE, "/etc/shadow"), b"")),
        tar((member("meta.json", tarfile.LNKTYPE, "/etc/passwd"), b"")),
        tar(GOOD, (member("tls/docker/ca.pem"), bytes((10 << 20) + 1))),
    ],
    ids=range(14),
)
def test_what_is_no_context_is_refused(data: bytes) -> None:
    with pytest.raises(errors.CliError):
        contextarchive.unpack(data, "new")


@pytest.mark.parametrize(
    "name", ["", "a", "default", "a/b", "../x", "-x", "ä1", "a b", ".a", "a\n"]
)
def test_names(name: str) -> None:
    with pytest.raises(errors.CliError):
        contextstore.check_name(name)


def test_good_names() -> None:
    for name in ("aa", "a1", "A_b.c+d-e", "0x"):
        contextstore.check_name(name)
