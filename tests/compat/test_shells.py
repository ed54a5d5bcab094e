"""Completion in the shells themselves: a Tab in bash, zsh and fish, at a terminal."""

from __future__ import annotations

import contextlib
import fcntl
import os
import pty
import re
import select
import shutil
import subprocess
import termios
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rig import BIN, Engine

pytestmark = pytest.mark.root

_ESCAPES = re.compile(rb"\x1b(?:\[[0-9;?]*[a-zA-Z]|\][^\x07]*\x07|[=>()][0B]?)")
STARTS = {
    "bash": ["bash", "--noprofile", "--rcfile"],
    "zsh": ["zsh", "-d", "-i"],
}
SETTINGS = {
    "bash": "PS1='$ '\nbind 'set bell-style none'\nsource <(firkin completion bash)\n",
    "zsh": "PS1='$ '\nautoload -U compinit\ncompinit -u -d $HOME/dump\n"
           "source <(firkin completion zsh)\n",
}  # fmt: skip


class Shell:
    """An interactive shell."""

    def __init__(self, kind: str, home: Path, environment: dict[str, str]) -> None:
        words = list(STARTS[kind])
        if kind == "bash":
            (home / "rc").write_text(SETTINGS[kind])
            words.append(str(home / "rc"))
        elif kind == "zsh":
            (home / ".zshrc").write_text(SETTINGS[kind])
        self.master, slave = pty.openpty()
        self.seen = b""
        self.process = subprocess.Popen(
            words, stdin=slave, stdout=slave, stderr=slave, env=environment, cwd=home,
            start_new_session=True, preexec_fn=lambda: fcntl.ioctl(slave, termios.TIOCSCTTY, 0),
        )  # fmt: skip
        os.close(slave)

    def type(self, text: str) -> None:
        os.write(self.master, text.encode())

    def expect(self, pattern: str) -> None:
        deadline = time.monotonic() + 60
        while not re.search(pattern.encode(), _ESCAPES.sub(b"", self.seen)):
            assert time.monotonic() < deadline, (pattern, self.seen)
            if select.select([self.master], [], [], 0.2)[0]:
                self.seen += os.read(self.master, 65536)
        self.seen = b""

    def close(self) -> None:
        self.process.kill()
        self.process.wait()
        os.close(self.master)


@contextlib.contextmanager
def at_prompt(kind: str, home: Path, engine: Engine) -> Iterator[Shell]:
    environment = {
        **engine.environment(), "HOME": str(home), "PATH": f"{BIN}:{os.environ['PATH']}",
        "TERM": "xterm", "DOCKER_HOST": engine.host,
    }  # fmt: skip
    shell = Shell(kind, home, environment)
    try:
        shell.expect(r"\$ $")
        yield shell
    finally:
        shell.close()


@pytest.mark.parametrize("kind", ["bash", "zsh"])
def test_a_tab(engine: Engine, kind: str, tmp_path: Path) -> None:
    if shutil.which(kind) is None:
        pytest.skip(f"{kind} is not installed")
    engine.run("run", "-d", "--name", "onlyone", "busybox", "sleep", "1000")
    engine.run("volume", "create", "somevolume")
    engine.run("tag", "busybox", "busybox:other")
    with at_prompt(kind, tmp_path, engine) as shell:
        for typed, shown in (
            ("firkin netw", r"firkin network $"),
            ("firkin exec onl", r"firkin exec onlyone $"),
            ("firkin volume rm some", r"firkin volume rm somevolume $"),
            ("firkin rmi busybox:o", r"firkin rmi busybox:other $"),
            ("firkin run --net", r"--network"),
        ):
            shell.type(typed + "\t")
            shell.expect(shown)
            shell.type("\x15")  # the line is cleared
            time.sleep(0.2)
    engine.run("rmi", "busybox:other")
    engine.run("volume", "rm", "somevolume")


def test_fish(engine: Engine, tmp_path: Path) -> None:
    """``complete -C`` is what a Tab asks."""
    if shutil.which("fish") is None:
        pytest.skip("fish is not installed")
    engine.run("run", "-d", "--name", "onlyone", "busybox", "sleep", "1000")
    (tmp_path / "a-file").write_text("")
    environment = {
        **engine.environment(), "HOME": str(tmp_path), "PATH": f"{BIN}:{os.environ['PATH']}",
    }  # fmt: skip
    for typed, expected in (
        ("firkin netw", ["network"]),
        ("firkin exec onl", ["onlyone"]),
        ("firkin rmi busyb", ["busybox:latest"]),
        ("firkin load -i a-f", ["a-file"]),
    ):
        code = f"firkin completion fish | source; complete -C {typed!r}"
        done = subprocess.run(
            ["fish", "--no-config", "-c", code], env=environment, cwd=tmp_path,
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        assert [line.split("\t")[0] for line in done.stdout.splitlines()] == expected, done.stderr
