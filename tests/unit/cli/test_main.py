"""The entry point: choosing a command, and turning errors into messages and statuses."""

from __future__ import annotations

import subprocess
import sys

import pytest

from firkin.cli import main, registry
from firkin.cli.commands.container import create
from firkin.cli.commands.container import run as run_command


@pytest.mark.parametrize(
    ("argv", "status", "message"),
    [
        (["pss"], 1, "firkin: unknown command: firkin pss\n\nDid you mean this?\n    firkin ps"),
        (["container", "lss"], 1, "firkin: unknown command: firkin container lss"),
        (["rm"], 1, "firkin: 'firkin rm' requires at least 1 argument\n\nUsage:  firkin rm [O"),
        (["container", "rename", "a"], 1, "firkin: 'firkin container rename' requires 2 arg"),
        (["rm", "-x"], 125, "unknown shorthand flag: 'x' in -x\n\nUsage:  firkin rm [OPTIONS]"),
        (["--bogus"], 125, "unknown flag: --bogus"),
        (["run", "-p", "x:y", "b"], 125, "firkin: invalid container port: y"),
        (["run", "-d", "-a", "stdin", "b"], 1, "conflicting options: cannot specify both --att"),
        (["-H", "unix:///nonexistent", "ps"], 1, "Cannot connect to the Docker daemon at unix:"),
        (["-H", "unix:///nonexistent", "run", "b"], 125, "firkin: Cannot connect to the Docker"),
        (["-H", "gopher://x", "ps"], 1, "cannot use the engine address 'gopher://x'"),
    ],
)
def test_errors(
    argv: list[str], status: int, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main.run(argv) == status
    captured = capsys.readouterr()
    assert captured.err.startswith(message)
    assert captured.out == ""


def test_help_of_a_command_lists_flags_and_aliases(capsys: pytest.CaptureFixture[str]) -> None:
    assert main.run(["ps", "--help"]) == 0
    out = capsys.readouterr().out
    assert "firkin container ls, firkin container list, firkin container ps, firkin ps" in out
    assert "-a, --all" in out and "-n, --last int" in out and "(default -1)" in out


def test_every_command_of_containers_can_be_loaded() -> None:
    for verb in registry.GROUPS["container"][1]:
        assert registry.load("container", verb).COMMAND.short


def test_run_has_all_of_dockers_flags() -> None:
    visible = [flag.name for flag in run_command.COMMAND.flags if not flag.hidden]
    assert len(set(visible)) == len(visible) == 101  # And --help, which every command has.
    assert len([flag for flag in create.COMMAND.flags if not flag.hidden]) == 98


@pytest.mark.parametrize(
    ("message", "status"),
    [
        ('exec: "nosuch": executable file not found in $PATH', 127),
        ('exec: "/nosuch": stat /nosuch: no such file or directory', 127),
        ('exec: "/etc": is a directory: permission denied', 126),
        ("driver failed programming external connectivity", 125),
    ],
)
def test_status_of_a_start_that_fails(message: str, status: int) -> None:
    assert run_command.status_of_start_error(message) == status


@pytest.mark.parametrize(
    ("image", "parts"),
    [
        ("busybox", ("busybox", "latest")),
        ("host:5000/a/b", ("host:5000/a/b", "latest")),
        ("host:5000/a:1", ("host:5000/a", "1")),
        ("a@sha256:00", ("a", "sha256:00")),
    ],
)
def test_image_names(image: str, parts: tuple[str, str]) -> None:
    assert create.split_image(image) == parts


def test_ps_imports_nothing_heavy() -> None:
    heavy = "argparse asyncio aiohttp dataclasses inspect email ssl http.client msgspec subprocess"
    code = (
        "import sys; from firkin.cli import main;"
        "main.run(['-H', 'unix:///nonexistent', 'ps']);"
        f"print([name for name in {heavy.split()!r} if name in sys.modules])"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"
