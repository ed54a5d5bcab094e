"""The conformance suite of ``firkin.volumes.driver.Driver``."""

from __future__ import annotations

import os
import stat
from pathlib import Path

from firkin import errdefs
from firkin.volumes import driver as drivers


def _raises(kind: type[Exception], work: object) -> None:
    try:
        work()  # type: ignore[operator]
    except kind:
        return
    raise AssertionError(f"{kind.__name__} was not raised")


class DriverSuite:
    """Derive ``Test...`` from this and override :meth:`make`."""

    options: dict[str, str] = {}
    """Options that ``create`` needs to succeed."""

    def make(self, directory: Path) -> drivers.Driver:
        """A driver that keeps its state below ``directory``; called again, it finds it again."""
        raise NotImplementedError

    def clear(self, driver: drivers.Driver) -> None:
        """Take away what is left after a test that may have failed."""
        for name in driver.list():
            driver.unmount(name)
            driver.remove(name)

    def test_created_volumes_are_listed(self, tmp_path: Path) -> None:
        driver = self.make(tmp_path)
        try:
            assert driver.list() == []
            driver.create("one", self.options)
            driver.create("two", self.options)
            assert sorted(driver.list()) == ["one", "two"]
        finally:
            self.clear(driver)

    def test_create_of_an_existing_volume_keeps_its_files(self, tmp_path: Path) -> None:
        driver = self.make(tmp_path)
        try:
            driver.create("v", self.options)
            (Path(driver.mount("v", self.options)) / "file").write_text("kept")
            driver.create("v", self.options)
            assert (Path(driver.mount("v", self.options)) / "file").read_text() == "kept"
            driver.unmount("v")
            driver.unmount("v")
        finally:
            self.clear(driver)

    def test_mount_gives_a_writable_directory(self, tmp_path: Path) -> None:
        driver = self.make(tmp_path)
        try:
            driver.create("v", self.options)
            place = driver.mount("v", self.options)
            assert os.path.isabs(place)
            assert stat.S_ISDIR(os.stat(place).st_mode)
            assert driver.path("v") == place
            os.mkdir(os.path.join(place, "directory"))
            driver.unmount("v")
        finally:
            self.clear(driver)

    def test_mount_twice_shows_the_same_files(self, tmp_path: Path) -> None:
        driver = self.make(tmp_path)
        try:
            driver.create("v", self.options)
            first = Path(driver.mount("v", self.options))
            second = Path(driver.mount("v", self.options))
            (first / "file").write_text("text")
            assert (second / "file").read_text() == "text"
            driver.unmount("v")
            assert (second / "file").read_text() == "text"
            driver.unmount("v")
        finally:
            self.clear(driver)

    def test_files_outlive_unmount_and_restart(self, tmp_path: Path) -> None:
        driver = self.make(tmp_path)
        try:
            driver.create("v", self.options)
            (Path(driver.mount("v", self.options)) / "file").write_bytes(b"\0" * 4096 + b"end")
            driver.unmount("v")
            again = self.make(tmp_path)
            place = Path(again.mount("v", self.options))
            assert (place / "file").read_bytes().endswith(b"end")
            again.unmount("v")
        finally:
            self.clear(driver)

    def test_volumes_do_not_share_files(self, tmp_path: Path) -> None:
        driver = self.make(tmp_path)
        try:
            for name in ("a", "a.b", "a-b", "A" * 255):
                driver.create(name, self.options)
                place = driver.mount(name, self.options)
                assert os.listdir(place) == []
                (Path(place) / "file").write_text(name)
            for name in ("a", "a.b", "a-b", "A" * 255):
                assert (Path(driver.path(name)) / "file").read_text() == name
                driver.unmount(name)
        finally:
            self.clear(driver)

    def test_remove_deletes_and_is_idempotent(self, tmp_path: Path) -> None:
        driver = self.make(tmp_path)
        try:
            driver.create("v", self.options)
            inner = Path(driver.mount("v", self.options)) / "a" / "b"
            inner.mkdir(parents=True)
            (inner / "file").write_text("x")
            driver.unmount("v")
            driver.remove("v")
            driver.remove("v")
            driver.remove("never-made")
            assert driver.list() == []
            driver.create("v", self.options)
            assert os.listdir(driver.mount("v", self.options)) == []
            driver.unmount("v")
        finally:
            self.clear(driver)

    def test_remove_follows_no_link_out_of_the_volume(self, tmp_path: Path) -> None:
        outside = tmp_path / "outside"
        outside.mkdir()
        (outside / "file").write_text("kept")
        driver = self.make(tmp_path / "state")
        try:
            driver.create("v", self.options)
            os.symlink(outside, os.path.join(driver.mount("v", self.options), "link"))
            driver.unmount("v")
            driver.remove("v")
            assert (outside / "file").read_text() == "kept"
        finally:
            self.clear(driver)

    def test_unknown_options_are_refused(self, tmp_path: Path) -> None:
        driver = self.make(tmp_path)
        try:
            wrong = {**self.options, "no-such-option": "1"}
            _raises(errdefs.InvalidParameter, lambda: driver.create("v", wrong))
            assert driver.list() == []
        finally:
            self.clear(driver)
