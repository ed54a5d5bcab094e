"""An engine that is made to suffer."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

import rig


@pytest.fixture
def engine(tmp_path: rig.Path) -> Iterator[rig.Engine]:
    """A fresh engine with a busybox image."""
    with rig.running(tmp_path, f"fkf0{os.getpid()}") as made:
        yield made
