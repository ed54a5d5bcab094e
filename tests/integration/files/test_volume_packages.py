"""A volume driver from another Python package: in its author's hands, and in the engine."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

import rig

pytestmark = pytest.mark.root

_PACKAGE = '''
"""Volumes in directories, which a mount makes visible at another place.

The kernel counts their users: each mount is one on top of the one before.
"""

import os
import pathlib
import shutil

from firkin import errdefs
from firkin.linux import mount


class Store:
    scope = "local"
    exclusive = True

    def __init__(self, context):
        self.kept = pathlib.Path(context.state_dir)
        self.shown = pathlib.Path(context.run_dir)

    def create(self, name, options):
        if unknown := set(options) - {"greeting"}:
            raise errdefs.InvalidParameter(f"mystore has no option {unknown.pop()}")
        place = self.kept / name
        if not place.exists():
            place.mkdir(mode=0o755)
            if "greeting" in options:
                (place / "hello").write_text(options["greeting"])

    def mount(self, name, options):
        if not (self.kept / name).is_dir():
            raise errdefs.NotFound(f"mystore has no {name}")
        place = self.path(name)
        os.makedirs(place, exist_ok=True)
        mount.mount(str(self.kept / name), place, flags=mount.MS_BIND)
        return place

    def unmount(self, name):
        if any(mount.mounted_below(self.path(name))):
            mount.unmount(self.path(name))

    def path(self, name):
        return str(self.shown / name)

    def remove(self, name):
        while any(mount.mounted_below(self.path(name))):
            self.unmount(name)
        shutil.rmtree(self.kept / name, ignore_errors=True)

    def list(self):
        return [entry.name for entry in self.kept.iterdir()]
'''

_ITS_TEST = """
import mystore
from firkin import extensions
from firkin.conformance import volumes


class TestStore(volumes.DriverSuite):
    def make(self, directory):
        for name in ("state", "run"):
            (directory / name).mkdir(parents=True, exist_ok=True)
        return mystore.Store(extensions.Context(
            name="mystore", state_dir=str(directory / "state"), run_dir=str(directory / "run")))
"""


@pytest.fixture
def packages(tmp_path: Path) -> Path:
    """Where the package is installed, with its metadata."""
    made = tmp_path / "packages"
    info = made / "mystore-1.0.dist-info"
    info.mkdir(parents=True)
    (made / "mystore.py").write_text(_PACKAGE)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: mystore\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text("[firkin.volume_drivers]\nmystore = mystore:Store\n")
    return made


@pytest.fixture
def own(tmp_path: Path, packages: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[rig.Engine]:
    """An engine beside which the package is installed."""
    monkeypatch.setenv("PYTHONPATH", str(packages))
    home = tmp_path / "engine"
    home.mkdir()
    with rig.running(home, f"fkp{os.getpid()}") as engine:
        yield engine


def test_its_author_runs_the_suite(tmp_path: Path, packages: Path) -> None:
    (tmp_path / "test_mystore.py").write_text(_ITS_TEST)
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "test_mystore.py"],
        cwd=tmp_path, env={**os.environ, "PYTHONPATH": str(packages)}, capture_output=True,
        text=True, timeout=120,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout


@pytest.mark.parametrize("client", ["firkin", "docker"])
def test_life_of_a_volume(own: rig.Engine, client: str) -> None:
    assert "mystore" in own.out("info", "-f", "{{.Plugins.Volume}}", client=client)
    wrong = own.run("volume", "create", "-d", "mystore", "-o", "x=1", "bad", client=client,
                    check=False)  # fmt: skip
    assert b"mystore has no option x" in wrong.stderr
    own.run("volume", "create", "-d", "mystore", "-o", "greeting=moin", "mine", client=client)
    assert own.out("volume", "inspect", "-f", "{{.Driver}}", "mine", client=client) == "mystore"
    own.run("run", "-d", "--name", "user", "-v", "mine:/m", "busybox", "sleep", "1000",
            client=client)  # fmt: skip
    assert own.out("exec", "user", "cat", "/m/hello") == "moin"
    own.end(9)
    own.start()
    own.run("exec", "user", "sh", "-c", "echo more >/m/more")
    assert own.run("volume", "rm", "mine", client=client, check=False).returncode == 1
    own.run("rm", "-f", "user")
    assert rig.settled(lambda: not own.mounts(own.exec / "extensions"))
    shown = own.out("run", "--rm", "--mount", "type=volume,src=mine,dst=/m,volume-driver=mystore",
                    "busybox", "cat", "/m/more", client=client)  # fmt: skip
    assert shown == "more"
    own.run("volume", "rm", "mine", client=client)
    assert not list((own.data / "extensions/volume_drivers/mystore").iterdir())
