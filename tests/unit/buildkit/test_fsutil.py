"""Trees of files as packets: a sender against a receiver, and senders that break the rules."""

from __future__ import annotations

import os
import pathlib
import stat

import pytest

from firkin import errdefs
from firkin.buildkit import fsutil
from firkin.buildkit.pb import fsutil_pb2

Packet = fsutil_pb2.Packet
Stat = fsutil_pb2.Stat
DIRECTORY = 1 << 31 | 0o755
SYMLINK = 1 << 27 | 0o777


def _tree(root: pathlib.Path) -> dict[str, tuple[int, str]]:
    """Every entry's mode, and its text or where it points."""
    found = {}
    for path in sorted(root.rglob("*")):
        status = path.lstat()
        if path.is_symlink():
            text = os.readlink(path)
        elif path.is_file():
            text = f"{path.read_text()} {status.st_mtime_ns}"
        else:
            text = ""
        found[str(path.relative_to(root))] = (status.st_mode, text)
    return found


def _own(item: Stat) -> None:
    item.uid, item.gid = os.getuid(), os.getgid()


def _sync(source: pathlib.Path, target: pathlib.Path) -> int:
    """Send one tree to the other; returns how many files were asked for."""
    sender, receiver = fsutil.Sender(str(source), _own), fsutil.Receiver(str(target))
    asked = 0
    try:
        waiting = list(sender.stats())
        while not receiver.done:
            answers = [answer for packet in waiting for answer in receiver.take(packet)]
            asked += sum(answer.type == Packet.REQ for answer in answers)
            waiting = [packet for answer in answers for packet in sender.answer(answer)]
    finally:
        receiver.close()
    assert sender.done
    return asked


@pytest.fixture
def source(tmp_path: pathlib.Path) -> pathlib.Path:
    root = tmp_path / "source"
    (root / "sub" / "deep").mkdir(parents=True)
    (root / "sub-before").mkdir()
    (root / "a").write_text("alpha")
    (root / "sub" / "empty").write_text("")
    (root / "sub" / "deep" / "run").write_text("#!/bin/sh\n")
    (root / "sub" / "deep" / "run").chmod(0o4755)
    (root / "sub" / "link").symlink_to("../../outside")
    os.utime(root / "a", ns=(1_000_000_007, 1_000_000_007))
    return root


@pytest.fixture
def target(tmp_path: pathlib.Path) -> pathlib.Path:
    root = tmp_path / "target"
    root.mkdir()
    return root


def test_a_tree_arrives_whole_and_only_changes_come_again(
    source: pathlib.Path, target: pathlib.Path
) -> None:
    assert _sync(source, target) == 3
    assert _tree(target) == _tree(source)
    assert _sync(source, target) == 0
    (source / "a").write_text("ALPHA")
    (source / "sub" / "link").unlink()
    (source / "sub" / "link").write_text("a file now")
    (source / "sub" / "empty").unlink()
    (source / "sub" / "empty").mkdir()
    assert _sync(source, target) == 2
    assert _tree(target) == _tree(source)


def test_what_the_sender_has_not_is_removed(source: pathlib.Path, target: pathlib.Path) -> None:
    outside = target.parent / "outside"
    outside.mkdir()
    (outside / "kept").write_text("x")
    (target / "old").mkdir()
    (target / "old" / "file").write_text("x")
    (target / "sub").symlink_to(outside)
    _sync(source, target)
    assert _tree(target) == _tree(source)
    assert (outside / "kept").read_text() == "x"


def test_hard_links(target: pathlib.Path) -> None:
    receiver = fsutil.Receiver(str(target))
    uid, gid = os.getuid(), os.getgid()
    first = Stat(path="a", mode=0o644, uid=uid, gid=gid, size=1, mod_time=5)
    assert receiver.take(Packet(stat=first)) == [Packet(type=Packet.REQ, id=0)]
    link = Stat(path="b", mode=0o644, uid=uid, gid=gid, linkname="a")
    assert receiver.take(Packet(stat=link)) == []
    assert receiver.take(Packet(type=Packet.DATA, id=0, data=b"x")) == []
    assert receiver.take(Packet(type=Packet.DATA, id=0)) == []
    assert receiver.take(Packet(type=Packet.STAT)) == [Packet(type=Packet.FIN)]
    receiver.take(Packet(type=Packet.FIN))
    receiver.close()
    assert (target / "b").read_text() == "x"
    assert (target / "a").stat().st_nlink == 2


@pytest.mark.parametrize(
    "stats",
    [
        [Stat(path="../a", mode=0o644)],
        [Stat(path="/etc/passwd", mode=0o644)],
        [Stat(path="", mode=0o644)],
        [Stat(path="a/./b", mode=0o644)],
        [Stat(path="a\0b", mode=0o644)],
        [Stat(path="no/parent", mode=0o644)],
        [Stat(path="b", mode=0o644), Stat(path="a", mode=0o644)],
        [Stat(path="a", mode=0o644), Stat(path="a", mode=0o644)],
        [Stat(path="a", mode=SYMLINK, linkname="/"), Stat(path="a/b", mode=0o644)],
    ],
)
def test_hostile_paths_are_refused(target: pathlib.Path, stats: list[Stat]) -> None:
    receiver = fsutil.Receiver(str(target))
    for item in stats:
        item.uid, item.gid = os.getuid(), os.getgid()
    with pytest.raises(errdefs.InvalidParameter):
        for item in stats:
            receiver.take(Packet(stat=item))
    receiver.close()


def test_a_link_that_appears_meanwhile_is_not_followed(target: pathlib.Path) -> None:
    """Somebody with access to the directory turns a received directory into a link."""
    outside = target.parent / "outside"
    outside.mkdir()
    receiver = fsutil.Receiver(str(target))
    uid, gid = os.getuid(), os.getgid()
    receiver.take(Packet(stat=Stat(path="d", mode=DIRECTORY, uid=uid, gid=gid)))
    receiver.take(Packet(stat=Stat(path="d/f", mode=0o644, uid=uid, gid=gid, size=1)))
    (target / "d").rmdir()
    (target / "d").symlink_to(outside)
    with pytest.raises(OSError):
        receiver.take(Packet(type=Packet.DATA, id=1, data=b"x"))
    receiver.close()
    assert list(outside.iterdir()) == []


@pytest.mark.parametrize(
    ("packets", "words"),
    [
        ([Packet(type=Packet.DATA, id=7, data=b"x")], "nobody asked"),
        ([Packet(type=Packet.FIN)], "before all files"),
        ([Packet(type=Packet.ERR, data=b"no such directory")], "no such directory"),
        ([Packet(type=Packet.REQ, id=0)], "unexpected packet"),
        ([Packet(stat=Stat(path="b", linkname="zz", mode=0o644)), Packet(type=Packet.STAT)],
         "a link to 'zz'"),
    ],
)  # fmt: skip
def test_broken_conversations(target: pathlib.Path, packets: list[Packet], words: str) -> None:
    receiver = fsutil.Receiver(str(target))
    with pytest.raises(errdefs.InvalidParameter, match=words):
        for packet in packets:
            receiver.take(packet)
    receiver.close()


def test_the_sender_refuses_ids_that_it_never_gave(source: pathlib.Path) -> None:
    sender = fsutil.Sender(str(source))
    with pytest.raises(errdefs.InvalidParameter, match="asked for a file 0"):
        list(sender.answer(Packet(type=Packet.REQ, id=0)))


@pytest.mark.parametrize(
    "mode", [stat.S_IFREG | 0o4755, stat.S_IFREG | 0o2711, stat.S_IFDIR | 0o1777]
)
def test_modes_keep_their_special_bits(mode: int) -> None:
    assert fsutil.permissions(fsutil.go_mode(mode)) == stat.S_IMODE(mode)


def _announced(tmp_path: pathlib.Path, size: int) -> fsutil.Receiver:
    """A receiver that waits for the one file of a tree."""
    receiver = fsutil.Receiver(str(tmp_path))
    item = Stat(path="f", mode=0o644, size=size, uid=os.getuid(), gid=os.getgid())
    asked = receiver.take(Packet(type=Packet.STAT, stat=item))
    assert [one.type for one in asked] == [Packet.REQ]
    receiver.take(Packet(type=Packet.STAT))
    return receiver


def test_a_file_that_grows_is_what_was_announced(tmp_path: pathlib.Path) -> None:
    receiver = _announced(tmp_path, 5)
    for data in (b"123", b"4567", b"89", b""):
        receiver.take(Packet(type=Packet.DATA, data=data))
    receiver.close()
    assert (tmp_path / "f").read_bytes() == b"12345"


def test_a_file_that_shrinks_is_told(tmp_path: pathlib.Path) -> None:
    receiver = _announced(tmp_path, 5)
    receiver.take(Packet(type=Packet.DATA, data=b"123"))
    with pytest.raises(errdefs.InvalidParameter, match="f became shorter"):
        receiver.take(Packet(type=Packet.DATA))
    receiver.close()
