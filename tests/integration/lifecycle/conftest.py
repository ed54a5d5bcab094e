"""One engine for the tests of containers' lives."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

import rig


@pytest.fixture(scope="module")
def module_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rig.Engine]:
    with rig.running(tmp_path_factory.mktemp("engine"), f"fkl{os.getpid()}") as made:
        yield made


@pytest.fixture
def engine(module_engine: rig.Engine) -> Iterator[rig.Engine]:
    """The module's engine, without containers afterwards."""
    yield module_engine
    if ids := module_engine.out("ps", "-aq").split():
        module_engine.run("rm", "-f", "-v", *ids)


@pytest.fixture(params=["firkin", "docker"])
def client(request: pytest.FixtureRequest) -> str:
    """Our client, and the official one."""
    return str(request.param)
