"""``system check``: an engine whose files, mounts and blobs were changed behind its back."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rig
import unixhttp

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rig.Engine]:
    with rig.running(tmp_path_factory.mktemp("check"), f"fkk{os.getpid()}") as engine:
        yield engine


@pytest.fixture
def engine(shared: rig.Engine) -> Iterator[rig.Engine]:
    assert _check(shared) == []
    yield shared
    if ids := shared.out("ps", "-aq").split():
        shared.run("rm", "-f", "-v", *ids)
    assert _check(shared) == []


def _check(engine: rig.Engine, *flags: str) -> list[dict[str, Any]]:
    done = engine.run("system", "check", "--format", "json", *flags, check=False)
    found = [json.loads(line) for line in done.stdout.splitlines()]
    unresolved = any(one["State"] == "open" for one in found)
    assert done.returncode == (1 if unresolved else 0), (done.stdout, done.stderr)
    return found


def _aged(path: Path) -> None:
    long_ago = time.time() - 3600
    os.utime(path, (long_ago, long_ago))


def test_a_volume_without_its_directory(engine: rig.Engine) -> None:
    engine.run("volume", "create", "kept")
    shutil.rmtree(engine.data / "volumes" / "kept")
    [found] = _check(engine)
    assert (found["Area"], found["Subject"], found["State"]) == ("volume", "kept", "open")
    assert "is gone" in found["Problem"]
    [mended] = _check(engine, "--repair")
    assert mended["State"] == "repaired"
    assert engine.run("run", "--rm", "-v", "kept:/v", "busybox", "touch", "/v/file")
    engine.run("volume", "rm", "kept")


def test_directories_of_no_container(engine: rig.Engine) -> None:
    stranger = "f" * 64
    paths = [engine.data / "containers" / stranger, engine.exec / "containers" / stranger]
    for path in paths:
        path.mkdir()
    assert _check(engine) == []  # they may be in the making
    for path in paths:
        _aged(path)
    assert {one["Subject"] for one in _check(engine)} == {str(path) for path in paths}
    assert {one["State"] for one in _check(engine, "--repair")} == {"repaired"}
    assert not any(path.exists() for path in paths)


def test_a_container_without_its_directory(engine: rig.Engine) -> None:
    name = engine.out("create", "--name", "homeless", "busybox", "echo", "hi")
    shutil.rmtree(engine.data / "containers" / name)
    assert [one["Subject"] for one in _check(engine)] == ["homeless"]
    assert [one["State"] for one in _check(engine, "--repair")] == ["repaired"]
    assert engine.out("start", "-a", "homeless") == "hi"


def test_a_running_container_whose_root_was_unmounted(engine: rig.Engine) -> None:
    identity = engine.out("run", "-d", "--name", "bare", "busybox", "sleep", "1000")
    rootfs = engine.exec / "containers" / identity / "rootfs"
    subprocess.run(["umount", "-l", rootfs], check=True)
    [found] = _check(engine)
    assert found["Problem"] == f"nothing is mounted at {rootfs}"
    assert found["Remedy"] == "firkin restart bare"
    engine.run("restart", "-t", "0", "bare")
    assert _check(engine) == []


def test_damaged_and_missing_blobs(engine: rig.Engine) -> None:
    engine.run("run", "--name", "source", "busybox", "touch", "/damaged")
    identity = engine.out("commit", "source", "damaged:1").removeprefix("sha256:")
    blob = engine.data / "content" / "blobs" / "sha256" / identity
    text = blob.read_bytes()
    blob.write_bytes(text[:-1] + b" ")
    assert _check(engine) == []
    [found] = _check(engine, "--deep")
    assert found["Area"] == "image"
    assert found["Subject"] == "damaged:1"
    assert f"the blob sha256:{identity} is damaged" in found["Problem"]
    blob.unlink()
    assert {f"the blob sha256:{identity} is gone"} == {one["Problem"] for one in _check(engine)}
    blob.write_bytes(text)
    engine.run("rmi", "damaged:1")


def test_what_belongs_to_nothing(engine: rig.Engine) -> None:
    blob = engine.data / "content" / "blobs" / "sha256" / ("ab" * 32)
    layer = engine.data / "snapshots" / "99999"
    mount = engine.data / "build" / "mounts" / "nobodys"
    volume = engine.data / "volumes" / "nobodys"
    for path in (layer, mount, volume):
        (path / "deep").mkdir(parents=True)
    blob.write_bytes(b"x")
    assert _check(engine) == []  # it may be in the making
    for path in (blob, layer, mount, volume):
        _aged(path)
    found = {one["Subject"]: one for one in _check(engine)}
    assert set(found) == {str(blob), str(layer), str(mount), "nobodys"}
    assert "move away" in found["nobodys"]["Remedy"]
    states = {one["Subject"]: one["State"] for one in _check(engine, "--repair")}
    assert states == {**dict.fromkeys(found, "repaired"), "nobodys": "open"}
    assert not any(path.exists() for path in (blob, layer, mount)) and volume.exists()
    shutil.rmtree(volume)


def test_a_layer_that_grew(engine: rig.Engine) -> None:
    """Sizes are recorded once; a deep check finds what somebody put into a layer."""
    layer = max((engine.data / "snapshots").iterdir(), key=lambda path: int(path.name))
    (layer / "fs" / "grown").write_bytes(os.urandom(100_000))
    assert _check(engine) == []
    [found] = _check(engine, "--deep")
    assert (found["Area"], found["Subject"]) == ("layer", str(layer))
    assert [one["State"] for one in _check(engine, "--deep", "--repair")] == ["repaired"]
    (layer / "fs" / "grown").unlink()
    assert len(_check(engine, "--deep", "--repair")) == 1


def test_a_network_without_its_bridge(engine: rig.Engine) -> None:
    option = f"com.docker.network.bridge.name=fkn{os.getpid()}"
    engine.run("network", "create", "-o", option, "bare")
    subprocess.run(["ip", "link", "delete", f"fkn{os.getpid()}"], check=True)
    [found] = _check(engine)
    assert (found["Area"], found["Subject"]) == ("network", "bare")
    engine.run("network", "rm", "bare")


def test_words_for_people_and_the_raw_answer(engine: rig.Engine) -> None:
    assert engine.out("system", "check") == "no differences"
    engine.run("volume", "create", "shown")
    shutil.rmtree(engine.data / "volumes" / "shown")
    done = engine.run("system", "check", check=False)
    assert done.returncode == 1
    first, second = done.stdout.decode().splitlines()
    assert first.startswith("volume shown: its directory ")
    assert second == "    firkin system check --repair"
    status, answer = unixhttp.ask(engine.socket, "POST", "/system/check?repair=1")
    assert status == 200
    assert answer["Differences"][0]["Repaired"] is True
    engine.run("volume", "rm", "shown")
