"""An engine that is killed while it pulls."""

from __future__ import annotations

import gzip
import json
import os
import random
import signal
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import fakeregistry
import pytest

import rig
from imagearchives import entry, tar

pytestmark = pytest.mark.root

SIZE = 3 << 20


@pytest.fixture
def engine(tmp_path: Path) -> Iterator[rig.Engine]:
    made = rig.Engine(tmp_path, "fkdist2")
    try:
        made.start()
        yield made
    finally:
        if made.process and made.process.poll() is None:
            made.end()
        rig.clear(made)


def layers(fake: fakeregistry.Fake) -> tuple[str, list[bytes]]:
    plain = [tar(entry(f"f{number}", os.urandom(SIZE))) for number in range(6)]
    stored = [gzip.compress(data, 1) for data in plain]
    fake.image("a:1", *stored, plain=tuple(plain), suffix="+gzip")
    return f"{fake.host}/a:1", stored


def check(engine: rig.Engine) -> None:
    """No image, or a whole one; the engine itself finds nothing to complain about."""
    for name in engine.out("images", "-aq").split():
        image = json.loads(engine.out("inspect", name))[0]
        assert len(image["RootFS"]["Layers"]) == 6
        assert image["Size"] == 6 * SIZE


def test_pull_goes_on_after_each_kill(engine: rig.Engine) -> None:
    with fakeregistry.in_thread(fakeregistry.Fake()) as fake:
        name, stored = layers(fake)
        fake.delay = 0.004
        total = sum(len(data) for data in stored)
        source = random.Random(7)
        for _ in range(5):
            pulling = subprocess.Popen(
                [rig.BIN / "firkin", "pull", "-q", name], env=engine.environment(),
                stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            before = fake.served
            goal = before + source.randrange(1 << 20, 5 << 20)
            deadline = time.monotonic() + 60
            while fake.served < goal and pulling.poll() is None:
                assert time.monotonic() < deadline
                time.sleep(0.01)
            engine.end(signal.SIGKILL)
            pulling.wait(60)
            engine.start()
            check(engine)
        fake.delay = 0
        engine.run("pull", name)
        check(engine)
        # Of each kill at most what was in memory is fetched again: a few buffers a layer.
        assert fake.served < total + 5 * 3 * (6 << 20)
        top = engine.out("inspect", "-f", "{{.GraphDriver.Data.UpperDir}}", name)
        assert os.path.getsize(Path(top) / "f5") == SIZE
        engine.run("rmi", name)
        content = engine.data / "content"
        assert [*(content / "blobs/sha256").iterdir(), *(content / "partial").iterdir()] == []
        assert list((engine.data / "snapshots").iterdir()) == []


def test_client_that_leaves(engine: rig.Engine) -> None:
    """The pull ends with its client; what has arrived is for the next."""
    with fakeregistry.in_thread(fakeregistry.Fake()) as fake:
        name, stored = layers(fake)
        fake.delay = 0.05
        pulling = subprocess.Popen(
            [rig.BIN / "firkin", "pull", name], env=engine.environment(),
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        while fake.served < 6 << 20:
            time.sleep(0.01)
        pulling.send_signal(signal.SIGINT)
        pulling.wait(60)
        time.sleep(1)
        settled = fake.served
        time.sleep(0.5)
        assert fake.served - settled < 1 << 20
        assert engine.out("images", "-aq") == ""
        fake.delay = 0
        engine.run("pull", name)
        assert fake.served < sum(map(len, stored)) + (9 << 20)


def test_mirrors_of_the_configuration(engine: rig.Engine) -> None:
    with fakeregistry.in_thread(fakeregistry.Fake()) as fake:
        fake.image("library/thing:latest", tar(entry("x", b"y")))
        fake.image("cache/org/thing:1", tar(entry("x", b"z")))
        settings = {
            "registry-mirrors": [f"http://{fake.host}"],
            "mirrors": {"reg.example": [f"http://{fake.host}/cache"]},
            "max-download-attempts": 1,
        }
        (engine.directory / "daemon.json").write_text(json.dumps(settings))
        assert engine.process
        os.kill(engine.process.pid, signal.SIGHUP)
        deadline = time.monotonic() + 30
        while engine.run("pull", "thing", check=False).returncode:
            assert time.monotonic() < deadline
            time.sleep(0.1)
        engine.run("pull", "reg.example/org/thing:1")
        assert "reg.example/org/thing" in engine.out("images")
        (engine.directory / "daemon.json").write_text('{"mirrors": {"x y": ["http://a"]}}')
        os.kill(engine.process.pid, signal.SIGHUP)
        while "is not a registry" not in (engine.directory / "log").read_text():
            assert time.monotonic() < deadline
            time.sleep(0.1)
        engine.run("pull", "thing")
