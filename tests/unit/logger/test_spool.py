"""Segments, positions, pruning, and what a forwarder makes of records."""

from __future__ import annotations

from pathlib import Path

from hypothesis import given
from hypothesis import strategies as some

from firkin.logger import forwarder, spool
from firkin.wire import logline

STAMP = b"2030-01-02T03:04:05.123456789+00:00"


def record(text: bytes, stream: bytes = b"stdout", tag: bytes = b"F") -> bytes:
    return b"%b %b %b %b\n" % (STAMP, stream, tag, text)


def write(path: Path, lines: int, start: int = 0) -> None:
    with path.open("ab") as file:
        for number in range(start, start + lines):
            file.write(record(b"line %d" % number))


def test_numbers_count_up_and_stay(tmp_path: Path) -> None:
    store = spool.Spool(str(tmp_path))
    assert store.segments() == []
    for expected in (1, 2, 3):
        write(tmp_path / "container.log", 10)
        (*_, live) = store.segments()
        assert (live.number, live.live) == (expected, True)
        store.rotate()
    store.compress(store.segments()[0])
    assert [(s.number, s.compressed) for s in store.segments()] == [
        (1, True), (2, False), (3, False),
    ]  # fmt: skip
    (tmp_path / "container.log.1").write_bytes(b"")  # a compression that was cut short
    assert not store.segments()[0].compressed


def test_the_position_numbers_a_live_segment_that_is_alone(tmp_path: Path) -> None:
    store = spool.Spool(str(tmp_path))
    store.save(spool.Position(segment=7, offset=3, state="x"))
    write(tmp_path / "container.log", 1)
    assert store.segments()[0].number == 7
    assert store.position() == spool.Position(segment=7, offset=3, state="x")
    (tmp_path / "log.position").write_bytes(b"{")
    assert store.position() == spool.Position()


def test_pruning_keeps_the_newest(tmp_path: Path) -> None:
    store = spool.Spool(str(tmp_path))
    for _ in range(5):
        write(tmp_path / "container.log", 20)
        store.rotate()
    limits = spool.Limits(size=1200, files=3, compress=False)
    assert spool.prune(store, limits) == 0
    assert [s.number for s in store.segments()] == [4, 5]


def test_a_burst_is_cut_to_its_end(tmp_path: Path) -> None:
    store = spool.Spool(str(tmp_path))
    write(tmp_path / "container.log", 1000)
    store.rotate()
    spool.prune(store, spool.Limits(size=1000, files=3, compress=False))
    (segment,) = store.segments()
    text = Path(segment.path).read_bytes()
    assert 1800 < len(text) <= 2000 and text.endswith(b"line 999\n")
    assert all(logline.parse(line) for line in text.splitlines(keepends=True))


def test_what_is_not_forwarded_stays_longer(tmp_path: Path) -> None:
    store = spool.Spool(str(tmp_path))
    for _ in range(6):
        write(tmp_path / "container.log", 20)
        store.rotate()
    limits = spool.Limits(size=1000, files=2, compress=False)
    assert spool.prune(store, limits, needed_from=1) == 0
    assert len(store.segments()) == 6
    for _ in range(4):
        write(tmp_path / "container.log", 20)
        store.rotate()
    lost = spool.prune(store, limits, needed_from=1)
    assert lost > 0
    assert store.position().segment == store.segments()[0].number


def test_parts_are_joined_up_to_16_kib() -> None:
    part = b"x" * 8000
    lines = [record(part, tag=b"P"), record(part, tag=b"P"), record(part, tag=b"P"),
             record(b"end"), record(b"next")]  # fmt: skip
    entries, used = forwarder.collect(lines, flush=False)
    assert used == sum(map(len, lines))
    assert [(len(e.line), e.partial) for e in entries] == [(24000, True), (3, False), (4, False)]


def test_a_part_without_its_end_waits() -> None:
    lines = [record(b"one"), record(b"pro", tag=b"P"), record(b"err", b"stderr")]
    entries, used = forwarder.collect(lines, flush=False)
    assert ([e.line for e in entries], used) == ([b"one"], len(lines[0]))
    entries, used = forwarder.collect(lines, flush=True)
    assert [(e.line, e.partial) for e in entries] == [
        (b"one", False), (b"err", False), (b"pro", True),
    ]  # fmt: skip
    assert used == sum(map(len, lines))


@given(some.lists(some.tuples(some.binary(max_size=40), some.booleans(), some.booleans())))
def test_no_byte_is_lost_whatever_the_order(parts: list[tuple[bytes, bool, bool]]) -> None:
    lines = [
        record(
            text.replace(b"\n", b"."), b"stderr" if error else b"stdout", b"F" if whole else b"P"
        )
        for text, error, whole in parts
    ]
    joined = {1: b"", 2: b""}
    rest, flush = lines, False
    while rest:
        entries, used = forwarder.collect(rest, flush=flush)
        for entry in entries:
            joined[entry.stream] += entry.line + (b"" if entry.partial else b"\n")
        while used:
            used -= len(rest[0])
            rest = rest[1:]
        flush = True
    for stream, error in ((1, False), (2, True)):
        wanted = b"".join(
            text.replace(b"\n", b".") + (b"\n" if whole else b"")
            for text, is_error, whole in parts
            if is_error is error
        )
        assert joined[stream] == wanted
