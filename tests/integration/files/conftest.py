"""One engine for the tests of files and volumes."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

import rig


@pytest.fixture(scope="module")
def files_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rig.Engine]:
    if os.geteuid() != 0:
        pytest.skip("needs root")
    with rig.running(tmp_path_factory.mktemp("files"), f"fkf{os.getpid()}") as engine:
        yield engine
        found = rig.leftovers(engine)
        assert not any(found.values()), found
        assert engine.mounts(engine.exec / "views") == []


@pytest.fixture
def engine(files_engine: rig.Engine) -> Iterator[rig.Engine]:
    """The engine, without containers and named volumes before and after."""
    yield files_engine
    if ids := files_engine.out("ps", "-aq").split():
        files_engine.run("rm", "-f", "-v", *ids)
    if names := files_engine.out("volume", "ls", "-q").split():
        files_engine.run("volume", "rm", *names)
