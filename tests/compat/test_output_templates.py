"""Templates, filters and flags of everything that lists or inspects: the same bytes."""

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

LINES = (Path(__file__).parent / "lines_templates.txt").read_text().splitlines()
"""Command lines."""


@pytest.mark.parametrize("line", LINES)
def test_says_the_same(world: Engine, line: str) -> None:
    ours, theirs = normal.both(world, shlex.split(line.replace("\\\\t", "\\t")))
    assert ours == theirs
