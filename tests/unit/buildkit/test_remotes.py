"""Definitions of files from elsewhere, and looking into what they bring."""

from __future__ import annotations

from pathlib import Path

import pytest

from firkin import errdefs
from firkin.builder import graph
from firkin.buildkit import looking, remotes
from firkin.buildkit.pb import common_pb2 as pb


def definition(*ops: pb.Op) -> pb.Definition:
    last = pb.Op(inputs=[pb.Input(digest="sha256:0")])
    return pb.Definition(ops=[op.SerializeToString() for op in (*ops, last)])


def source(identifier: str, **attrs: str) -> pb.Op:
    named = {key.replace("_", ".", 1): value for key, value in attrs.items()}
    return pb.Op(source=pb.SourceOp(identifier=identifier, attrs=named))


def copied(unpack: bool = True) -> pb.Op:
    copy = pb.FileActionCopy(attempt_unpack=unpack)
    return pb.Op(file=pb.FileOp(actions=[pb.FileAction(copy=copy)]))


def test_a_commit() -> None:
    found = remotes.read(
        definition(
            source(
                "git://host/r.git#v1:a/b",
                git_fullurl="ssh://u@host/r.git",
                git_keepgitdir="true",
                git_checksum="abc",
                git_mountsshsock="default",
            )
        )
    )
    assert found.op == graph.Checkout(
        url="ssh://u@host/r.git", ref="v1", subdir="a/b", keep_git_dir=True, checksum="abc"
    )
    plain = remotes.read(definition(source("git://host/r.git")))
    assert plain.op == graph.Checkout(url="https://host/r.git")


def test_a_file_and_an_archive() -> None:
    file = source("https://host/x.tar?a=b", http_filename="context")
    assert remotes.read(definition(file)) == remotes.Remote(
        graph.Download(url="https://host/x.tar?a=b", filename="context")
    )
    assert remotes.read(definition(file, copied())).unpacked
    named = remotes.read(definition(source("https://host/a%20b"))).op
    assert isinstance(named, graph.Download) and named.filename == "a b"


@pytest.mark.parametrize(
    "ops",
    [
        (),
        (source("docker-image://busybox"),),
        (source("git://host/r"), source("git://host/q")),
        (source("git://host/r"), copied(unpack=False)),
        (source("git://host/r"), pb.Op(exec=b"")),
        (source("git://host/r", git_bundle="x"),),
        (source("https://host/f", http_sig="x"),),
        (source("https://host/f", http_filename="../f"),),
        (source("git://host/r#m:../x"),),
    ],
)
def test_what_is_more_is_refused(ops: tuple[pb.Op, ...]) -> None:
    with pytest.raises((errdefs.NotImplemented, errdefs.InvalidParameter)):
        remotes.read(definition(*ops))
    with pytest.raises(errdefs.InvalidParameter):
        remotes.read(pb.Definition(ops=[b"\xff\xff"]))


def test_looking_stays_in_the_tree(tmp_path: Path) -> None:
    (tmp_path / "outside").write_text("no")
    root = tmp_path / "tree"
    (root / "dir").mkdir(parents=True)
    (root / "file").write_text("0123456789")
    (root / "out").symlink_to("/../../outside")
    (root / "in").symlink_to("/file")
    assert looking.read(str(root), "/file", 0, 0) == b"0123456789"
    assert looking.read(str(root), "in", 2, 3) == b"234"
    assert looking.stat(str(root), "in").size == 10
    assert [one.path for one in looking.entries(str(root), "/", "")] == ["dir", "file", "in", "out"]
    assert [one.linkname for one in looking.entries(str(root), ".", "i*")] == ["/file"]
    for path in ("out", "none", "../outside"):
        with pytest.raises(errdefs.NotFound, match="no such file"):
            looking.read(str(root), path, 0, 0)
        with pytest.raises(errdefs.NotFound, match="no such file"):
            looking.stat(str(root), path)
    with pytest.raises(errdefs.InvalidParameter, match="is a directory"):
        looking.read(str(root), "dir", 0, 0)
