"""What is wrong in a command line: the same words and the same exit status."""

from __future__ import annotations

import shlex
import shutil
from pathlib import Path

import normal
import pytest

from rig import Engine

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(shutil.which("docker") is None, reason="needs the official client"),
]

LINES = (Path(__file__).parent / "lines_errors.txt").read_text().splitlines()
"""Command lines."""


@pytest.mark.parametrize("line", LINES)
def test_says_the_same(world: Engine, line: str) -> None:
    ours, theirs = normal.both(world, shlex.split(line))
    assert ours == theirs
