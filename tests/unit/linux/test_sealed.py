"""Programs in sealed memory."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

from firkin.linux import sealed

MARK = b"_LIBCONTAINER_CLONED_BINARY"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A program that prints its arguments, with the mark of one that copies itself."""
    target = tmp_path / "program"
    shutil.copy("/bin/echo", target)
    with target.open("ab") as file:
        file.write(MARK)
    return target


def test_it_is_executed_from_memory(path: Path) -> None:
    program = sealed.Program(str(path))
    own = program.own()
    assert subprocess.run([own, "x"], capture_output=True).stdout == b"x\n"
    assert os.readlink(own) == "/memfd:program (deleted)"
    assert Path(own).read_bytes() == path.read_bytes()
    name, inherited = program.inherited()
    script = ["sh", "-c", f"{name} y"]
    assert subprocess.run(script, pass_fds=inherited, capture_output=True).stdout == b"y\n"


def test_nobody_can_change_it(path: Path) -> None:
    with open(sealed.Program(str(path)).own(), "r+b") as file, pytest.raises(PermissionError):
        os.write(file.fileno(), b"#!/bin/sh")


def test_another_file_is_another_program(path: Path) -> None:
    program = sealed.Program(str(path))
    before = program.own()
    assert program.own() == before
    shutil.copy("/bin/true", f"{path}.new")
    os.replace(f"{path}.new", path)
    assert program.own() == str(path)
    assert program.inherited() == (str(path), ())


@pytest.mark.parametrize("name", ["/bin/true", "/nonexistent"])
def test_others_are_executed_from_the_disk(name: str) -> None:
    program = sealed.Program(name)
    assert program.own() == name
    assert program.inherited() == (name, ())
