"""``images --tree``: the official client's columns and colours, but for what it says of itself."""

from __future__ import annotations

import os
import re
import shutil
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import terminal

import rig
from rig import Engine

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("docker") is None, reason="needs the official client"),
]

LONG = "a-name/that-is/longer/than/every/terminal/of/this/test:and-its-tag"


@pytest.fixture
def tags(engine: Engine) -> Iterator[None]:
    engine.run("tag", "busybox", LONG)
    engine.run("tag", "busybox", "busybox:second")
    engine.run("run", "--name", "user", "busybox", "true")
    nameless = engine.out("commit", "user")
    yield
    engine.run("rm", "user")
    engine.run("rmi", LONG, "busybox:second", nameless)


def drawn(engine: Engine, client: str, columns: int, *words: str) -> str:
    """What a client writes to a terminal that wide."""
    screen = terminal.Terminal(engine, client, "images", "--tree", *words, cols=columns)
    try:
        assert screen.wait() == 0
        os.set_blocking(screen.master, False)
        try:
            while more := os.read(screen.master, 65536):
                screen.seen += more
        except BlockingIOError:
            pass
        text = screen.seen.decode()
    finally:
        screen.close()
    text = re.sub(r"[^\n]*WARNING: This is an experimental[^\n]*\n", "", text)
    return text.replace("\x1b[0m\x1b[0m", "\x1b[0m")


def same(engine: Engine, columns: int, *words: str) -> str:
    """What both clients write, once sizes have settled after what other tests left behind."""
    for _ in range(10):
        ours = drawn(engine, "firkin", columns, *words)
        theirs = drawn(engine, "docker", columns, *words)
        if ours == theirs:
            break
        time.sleep(0.5)
    assert ours == theirs
    return ours


@pytest.mark.parametrize("columns", [10, 25, 50, 80, 140])
@pytest.mark.usefixtures("tags")
def test_at_a_terminal(engine: Engine, columns: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("NO_COLOR", raising=False)
    ours = same(engine, columns)
    assert "<untagged>" not in ours
    same(engine, columns, "-a")
    assert "linux/" in ours or columns < 25
    monkeypatch.setenv("NO_COLOR", "1")
    assert "\x1b" not in drawn(engine, "firkin", columns)


@pytest.mark.usefixtures("tags")
def test_in_a_pipe(engine: Engine) -> None:
    def equal() -> bool:
        theirs = engine.run("images", "--tree", client="docker").stdout.decode()
        theirs = re.sub(r"\x1b\[[0-9;]*m", "", theirs).partition("\n")[2]
        return engine.run("images", "--tree").stdout.decode() == theirs

    assert rig.settled(equal)


def test_of_an_image_with_attestations(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text("FROM scratch\nCOPY Dockerfile /\n")
    engine.run("build", "--provenance=max", "-t", "att:1", str(tmp_path))
    same(engine, 140, "att")
    engine.run("rmi", "att:1")
