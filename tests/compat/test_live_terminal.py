"""What a terminal shows while it lasts: bars, tables that live, ^C; and none of it elsewhere."""

from __future__ import annotations

import contextlib
import io
import os
import re
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import terminal

from rig import Engine

pytestmark = pytest.mark.root


@contextlib.contextmanager
def at_terminal(engine: Engine, client: str, *words: str) -> Iterator[terminal.Terminal]:
    made = terminal.Terminal(engine, client, *words)
    try:
        yield made
    finally:
        made.close()


@pytest.fixture
def ticks(engine: Engine) -> str:
    script = "while :; do echo tick; sleep 0.2; done"
    engine.run("run", "-d", "--name", "ticks", "busybox", "sh", "-c", script)
    return "ticks"


def test_logs_that_are_interrupted(engine: Engine, client: str, ticks: str) -> None:
    with at_terminal(engine, client, "logs", "-f", ticks) as screen:
        screen.expect("tick\r\ntick\r\n")
        screen.type(b"\x03")
        assert screen.wait() == 130
    assert engine.out("inspect", "-f", "{{.State.Running}}", ticks) == "true"


def test_events_that_are_interrupted(engine: Engine, client: str) -> None:
    with at_terminal(engine, client, "events", "--since", "1h") as screen:
        engine.run("run", "--name", "told", "busybox", "true")
        screen.expect(r"container create .*name=told")
        screen.type(b"\x03")
        # The official client sometimes takes its own leaving for the end of the stream.
        assert screen.wait() in ((130,) if client == "firkin" else (130, 0))


def test_wait_that_is_interrupted(engine: Engine, client: str, ticks: str) -> None:
    with at_terminal(engine, client, "wait", ticks) as screen:
        with contextlib.suppress(AssertionError):
            screen.expect("never", 1)
        screen.type(b"\x03")
        assert screen.wait() == 130


def test_the_table_of_stats_lives(engine: Engine, client: str, ticks: str) -> None:
    with at_terminal(engine, client, "stats") as screen:
        screen.expect(r"CONTAINER ID +NAME +CPU %")
        screen.expect(rf"{ticks} +\d+\.\d\d%")
        engine.run("run", "-d", "--name", "newcomer", "busybox", "sleep", "1000")
        screen.expect(r"newcomer +\d+\.\d\d%", 30)
        engine.run("rm", "-f", "newcomer")
        screen.expect(rf"{ticks} +\d+\.\d\d%")
        screen.type(b"\x03")
        assert screen.wait() == 130


def test_bars_of_what_is_sent_and_none_in_a_pipe(engine: Engine, tmp_path: Path) -> None:
    tree, tar = tmp_path / "tree.tar", tmp_path / "image.tar"
    with tarfile.open(tree, "w") as archive:
        found = tarfile.TarInfo("noise")
        found.size = 8 << 20
        archive.addfile(found, io.BytesIO(os.urandom(found.size)))
    engine.run("import", str(tree), "noise")
    engine.run("save", "-o", str(tar), "noise")
    engine.run("rmi", "-f", "noise")
    try:
        for words, last in ((("load", "-i", str(tar)), "Loaded image: noise:latest"),
                            (("import", str(tree), "noise"), "sha256:[0-9a-f]{64}")):  # fmt: skip
            with at_terminal(engine, "firkin", *words) as screen:
                screen.expect(r"Sending +\S+/8\.\d+MB")
                screen.expect(last)
                assert screen.wait() == 0
            engine.run("rmi", "-f", "noise")
        quiet = engine.run("load", "-i", str(tar))
        assert quiet.stdout == b"Loaded image: noise:latest\n"
    finally:
        engine.run("rmi", "-f", "noise")


def test_colour_only_at_a_terminal_that_wants_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    colour = re.compile(rb"\x1b\[[0-9;]*m")
    for value, coloured in (("", True), ("1", False)):
        monkeypatch.setenv("NO_COLOR", value)
        screen = terminal.Terminal(engine, "firkin", "doctor")
        try:
            screen.wait(60)
            assert bool(colour.search(screen.seen)) is coloured
        finally:
            screen.close()
    assert not colour.search(engine.run("doctor", check=False).stdout)
