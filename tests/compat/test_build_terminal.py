"""``firkin build`` on a terminal: the table as it looks, and the other views of a build."""

from __future__ import annotations

import json
import os
import re
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from terminal import Terminal

from firkin.cli import buildview
from rig import BIN, Engine

pytestmark = pytest.mark.root

_PARTS = re.compile(r"\x1b\[(\d*)([A-Za-z])|(\r\n|\n|\r)|([^\x1b\r\n]+)")


class Screen:
    """What a terminal of that width shows, lines that have scrolled away included."""

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.lines = [""]
        self.row = 0
        self.colours: set[str] = set()

    def feed(self, text: str) -> None:
        for number, letter, newline, plain in _PARTS.findall(text):
            if letter == "A":
                self.row = max(0, self.row - int(number or 1))
            elif letter == "J":
                del self.lines[self.row :]
                self.lines.append("")
            elif letter == "m":
                self.colours.add(number)
            elif newline and newline != "\r":
                self._down()
            for character in plain:
                self._put(character)

    def _down(self) -> None:
        self.row += 1
        while len(self.lines) <= self.row:
            self.lines.append("")

    def _put(self, character: str) -> None:
        line = self.lines[self.row] + character
        if buildview.width(line) > self.columns:
            self._down()
            line = character
        self.lines[self.row] = line

    @property
    def text(self) -> str:
        return "\n".join(self.lines)


@pytest.fixture
def build(engine: Engine, tmp_path: Path) -> Iterator[Build]:
    made = Build(engine, tmp_path)
    yield made
    if made.terminal is not None:
        made.terminal.close()


class Build:
    """A build in a terminal."""

    def __init__(self, engine: Engine, root: Path) -> None:
        self.engine = engine
        self.root = root
        self.terminal: Terminal | None = None
        self.raw = ""

    def start(self, dockerfile: str, *words: str, rows: int = 24, cols: int = 80) -> Terminal:
        (self.root / "Dockerfile").write_text(dockerfile)
        self.terminal = Terminal(
            self.engine, "firkin", "build", "--no-cache", *words, str(self.root), rows=rows,
            cols=cols,
        )  # fmt: skip
        return self.terminal

    def finish(self, cols: int = 80) -> tuple[int, Screen]:
        """Its exit code and the screen when it has ended."""
        assert self.terminal is not None
        code = self.terminal.wait(60)
        os.set_blocking(self.terminal.master, False)
        try:
            while data := os.read(self.terminal.master, 65536):
                self.terminal.seen += data
        except OSError:
            pass
        screen = Screen(cols)
        screen.feed(self.terminal.seen.decode("utf-8", "replace"))
        return code, screen


def test_a_table_of_parallel_steps(build: Build) -> None:
    build.start(
        "FROM busybox AS a\nRUN echo from a; sleep 1; echo a > /a\n"
        "FROM busybox AS b\nRUN echo from b; sleep 1; echo b > /b\n"
        "FROM scratch\nCOPY --from=a /a /\nCOPY --from=b /b /\n"
    )
    code, screen = build.finish()
    assert code == 0
    lines = [line for line in screen.lines if line]
    assert re.fullmatch(r"\[\+\] Building \d+\.\ds \(\d/\d\) FINISHED", lines[0]), lines
    assert lines[0].split("(")[1][0] == lines[0].split("/")[1][0]
    assert sum("RUN echo from" in line for line in lines) == 2, lines
    assert all(re.search(r" \d+\.\ds$", line) for line in lines[1:]), lines
    assert all(buildview.width(line) <= 79 for line in lines)
    assert "=> =>" not in screen.text  # logs of steps that are done have made room
    seconds = [float(line.split()[-1][:-1]) for line in lines if "RUN echo from" in line]
    assert all(one >= 1 for one in seconds)
    assert "34" in screen.colours


def test_it_ticks_and_shows_the_log_while_it_runs(build: Build) -> None:
    terminal = build.start("FROM busybox\nRUN echo some words; sleep 3\n")
    terminal.expect("=> => # some words")
    first = float(terminal.expect(r"Building (\d+\.\d)s")[1])
    later = float(terminal.expect(r"Building (\d+\.\d)s")[1])
    assert later > first
    assert build.finish()[0] == 0


def test_long_and_wide_lines(build: Build) -> None:
    build.start(
        f"FROM busybox\nRUN echo {'漢字' * 60}; echo 'a\tb\x1b[31m'; sleep 1; echo {'x' * 300}\n"
        "RUN echo e\u0301e\u0301 > /dev/null\n",
        cols=60,
    )
    code, screen = build.finish(60)
    assert code == 0
    lines = [line for line in screen.lines if line]
    assert len(lines) == 4, lines
    assert all(buildview.width(line) <= 59 for line in lines)
    assert "..." in lines[2]
    assert "31" not in screen.colours


def test_more_steps_than_rows(build: Build) -> None:
    stages = "".join(
        f"FROM busybox AS s{n}\nRUN sleep 0.{n % 10}; echo {n} > /n\n" for n in range(20)
    )
    copies = "".join(f"COPY --from=s{n} /n /{n}\n" for n in range(20))
    terminal = build.start(f"{stages}FROM scratch\n{copies}", rows=10)
    code, screen = build.finish()
    assert code == 0
    assert screen.text.count("RUN sleep") == 20
    heads = [line for line in screen.lines if line.startswith("[+] Building")]
    assert len(heads) == 1, screen.text  # drawn over itself, never below
    assert terminal.process.returncode == 0


def test_a_terminal_that_changes_its_size(build: Build) -> None:
    terminal = build.start("FROM busybox\nRUN sleep 2; echo done\n", cols=120)
    terminal.expect("RUN sleep")
    terminal.resize(24, 40)
    time.sleep(0.6)
    terminal.seen = b""
    terminal.expect(r"Building")
    drawn = terminal.expect(r"RUN sl[^\r\n]*")[0].decode()
    assert len(drawn) < 40
    terminal.resize(24, 100)
    assert build.finish(100)[0] == 0


def test_a_failure_repeats_the_log(build: Build) -> None:
    build.start(
        "FROM busybox AS a\nRUN sleep 20\nFROM busybox AS b\n"
        "RUN for i in 1 2 3; do echo word $i; done; exit 3\n"
        "FROM scratch\nCOPY --from=a / /\nCOPY --from=b / /\n"
    )
    code, screen = build.finish()
    assert code == 1
    tail = screen.text[screen.text.index("------\n > [b 2/2]") :]
    assert "word 1\nword 2\nword 3\n------" in tail
    assert tail.rstrip().endswith("returned a non-zero code: 3") or "code: 3" in tail
    assert " => ERROR [b 2/2]" in screen.text
    assert " => CANCELED [a 2/2]" in screen.text
    assert {"31", "33"} <= screen.colours


def test_no_colours(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NO_COLOR", "1")
    build.start("FROM busybox\nRUN echo 1\n")
    code, screen = build.finish()
    assert code == 0
    assert screen.colours == set()
    assert "RUN echo 1" in screen.text


def test_a_dumb_terminal(build: Build, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "dumb")
    terminal = build.start("FROM busybox\nRUN echo 1\n")
    terminal.expect(r"#1 [\d.]+ 1\r\n#1 DONE [\d.]+s")
    assert build.finish()[0] == 0
    assert b"\x1b" not in terminal.seen


def test_an_interrupt(build: Build) -> None:
    terminal = build.start("FROM busybox\nRUN echo begun; sleep 100\n")
    terminal.expect("# begun")
    terminal.type(b"\x03")
    code, screen = build.finish()
    assert code in (130, -2)
    assert "CANCELED" in screen.text or "canceled" in screen.text.lower()


def views(engine: Engine, kind: str, **env: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [BIN / "firkin", "build", "--no-cache", f"--progress={kind}", "-"], capture_output=True,
        text=True, input="FROM busybox\nRUN echo words; sleep 0.2\n", timeout=60, check=False,
        env={**engine.environment(), **env},
    )  # fmt: skip


def test_other_views(engine: Engine) -> None:
    plain = views(engine, "plain").stderr
    assert re.search(
        r"#1 \[2/2\] RUN echo words; sleep 0.2\n#1 \d\.\d+ words\n#1 DONE [\d.]+s", plain
    )
    assert views(engine, "quiet").stderr == ""
    raw = [json.loads(line) for line in views(engine, "rawjson").stderr.splitlines()]
    assert {"log": 1, "stream": 1, "text": "words\n"} in raw
    start, end = (next(one for one in raw if one.get(key) == 1) for key in ("start", "end"))
    assert end["time"] - start["time"] >= 0.2
    bad = views(engine, "strange")
    assert bad.returncode == 1
    assert "invalid progress mode strange" in bad.stderr
