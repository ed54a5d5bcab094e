"""Image services, and a registry for each test."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import fakeregistry
import pytest

from firkin.images import service
from imagearchives import Home


@pytest.fixture(params=["overlay2"])
def home(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Home]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    place = Home(tmp_path, request.param)
    yield place
    place.close()


@pytest.fixture
async def images(home: Home) -> AsyncIterator[service.ImageService]:
    """A service that tries three times."""
    opened = await home.open(fakeregistry.SETTINGS)
    yield opened
    await opened.close()


@pytest.fixture
async def fake() -> AsyncIterator[fakeregistry.Fake]:
    async with fakeregistry.serving(fakeregistry.Fake()) as made:
        yield made
