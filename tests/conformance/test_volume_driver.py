"""The published suite, on the engine's own volume driver."""

from __future__ import annotations

from pathlib import Path

from firkin.conformance import volumes
from firkin.volumes import driver, local


class TestLocal(volumes.DriverSuite):
    def make(self, directory: Path) -> driver.Driver:
        return local.Local(str(directory / "volumes"))
