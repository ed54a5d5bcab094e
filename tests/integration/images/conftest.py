"""Image services on real directories."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from imagearchives import Home


@pytest.fixture(params=["overlay2", "vfs"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    place = Home(tmp_path, request.param)
    yield place
    place.close()
