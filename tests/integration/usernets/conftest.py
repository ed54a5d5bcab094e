"""An engine for the tests of user-defined networks, driven by HTTP and by both clients."""

from __future__ import annotations

import os
import pathlib
from collections.abc import Iterator

import pytest

import rig


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = pathlib.Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.root)
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture(scope="package")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rig.Engine]:
    """One engine for all tests that leave nothing behind."""
    with rig.running(tmp_path_factory.mktemp("nets"), "fkun0") as made:
        yield made


@pytest.fixture
def engine(shared: rig.Engine) -> Iterator[rig.Engine]:
    """That engine; what a test has made there is removed."""
    yield shared
    if ids := shared.out("ps", "-aq").split():
        shared.run("rm", "-f", *ids)
    names = shared.out("network", "ls", "-q", "--filter", "type=custom").split()
    if names:
        shared.run("network", "rm", *names)
