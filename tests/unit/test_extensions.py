"""Drivers from installed packages."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from firkin import extensions


@pytest.fixture
def package(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed distribution with three entry points, of which one works."""
    info = tmp_path / "site" / "mystore-1.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mystore\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[firkin.volume_drivers]\n"
        "mystore = mystore_driver:Store\n"
        "torn = mystore_driver:missing\n"
        "local = mystore_driver:Store\n"
    )
    (tmp_path / "site" / "mystore_driver.py").write_text(
        "class Store:\n    def __init__(self, context):\n        self.context = context\n"
    )
    monkeypatch.syspath_prepend(str(tmp_path / "site"))
    monkeypatch.delitem(sys.modules, "mystore_driver", raising=False)
    return tmp_path


def _load(root: Path, group: str) -> extensions.Loaded:
    return extensions.load(
        group, data_root=str(root / "data"), exec_root=str(root / "run"), reserved={"local"}
    )


def test_an_entry_point_becomes_a_driver_with_a_directory_of_its_own(package: Path) -> None:
    loaded = _load(package, extensions.VOLUME_DRIVERS)
    driver = loaded.drivers["mystore"]
    assert driver.name == "mystore"
    state = Path(driver.context.state_dir)
    assert state.is_dir() and state.stat().st_mode & 0o777 == 0o700


def test_what_cannot_be_loaded_is_told_and_harms_nobody(package: Path) -> None:
    loaded = _load(package, extensions.VOLUME_DRIVERS)
    assert list(loaded.drivers) == ["mystore"]
    assert "mystore failed: AttributeError" in loaded.broken["torn"]
    assert "taken" in loaded.broken["local"]


def test_groups_are_apart(package: Path) -> None:
    assert _load(package, extensions.LOG_DRIVERS) == extensions.Loaded({}, {})
