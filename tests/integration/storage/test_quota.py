"""The data root's quota: what is collected, what never, and what does not fit is refused whole."""

from __future__ import annotations

import contextlib
import io
import json
import os
import signal
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import registryrig
import rig
import unixhttp

pytestmark = pytest.mark.root
MIB = 1 << 20


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rig.Engine]:
    with rig.running(tmp_path_factory.mktemp("quota"), f"fkv{os.getpid()}") as engine:
        yield engine


@pytest.fixture
def engine(shared: rig.Engine) -> Iterator[rig.Engine]:
    yield shared
    _configure(shared)
    if ids := shared.out("ps", "-aq").split():
        shared.run("rm", "-f", "-v", *ids)
    shared.run("volume", "prune", "-af")
    shared.run("builder", "prune", "-af")
    for name in shared.out("images", "-q", "--no-trunc").split():
        if name not in shared.out("images", "-q", "--no-trunc", "busybox"):
            shared.run("rmi", "-f", name, check=False)


def _configure(engine: rig.Engine, **keys: Any) -> None:
    """Let the engine read these keys of daemon.json."""
    config = {name.replace("_", "-"): value for name, value in keys.items()}
    (engine.directory / "daemon.json").write_text(json.dumps(config))
    before = _used(engine)["Reloads"]
    assert engine.process is not None
    engine.process.send_signal(signal.SIGHUP)
    assert rig.settled(lambda: _used(engine)["Reloads"] > before)


def _used(engine: rig.Engine) -> dict[str, int]:
    _, found = unixhttp.ask(engine.socket, "GET", "/v1.52/system/df")
    return {"Size": found["DataRoot"]["Size"], "Reloads": len(_events(engine, "reload"))}


def _events(engine: rig.Engine, action: str) -> list[dict[str, Any]]:
    text = engine.out("events", "--since", "1", "--until", "0s", "--filter", f"event={action}",
                      "--format", "{{json .}}")  # fmt: skip
    return [json.loads(line) for line in text.splitlines()]


def _room(engine: rig.Engine, size: int, **more: Any) -> None:
    """Set a quota that leaves ``size`` bytes."""
    _configure(engine, data_root_quota=f"{(_used(engine)['Size'] + size) // 1024}k", **more)


def _rootfs(size: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        member = tarfile.TarInfo("data")
        member.size = size
        archive.addfile(member, io.BytesIO(os.urandom(size)))
    return out.getvalue()


def _du(engine: rig.Engine) -> int:
    done = subprocess.run(["du", "-sB1", engine.data], check=True, capture_output=True)
    return int(done.stdout.split()[0])


@contextlib.contextmanager
def _nothing_changes(engine: rig.Engine) -> Iterator[None]:
    def state() -> tuple[str, ...]:
        kinds = (["images", "-a"], ["ps", "-a"], ["volume", "ls"])
        return tuple(engine.out(*kind, "-q") for kind in kinds)

    before, size = state(), _du(engine)
    yield
    assert state() == before
    assert rig.settled(lambda: _du(engine) <= size + MIB), (_du(engine), size)


def test_what_does_not_fit_is_refused_and_leaves_nothing(engine: rig.Engine) -> None:
    archive = _rootfs(12 * MIB)
    engine.run("import", "-", "big", stdin=archive)
    saved = engine.run("save", "big").stdout
    engine.run("rmi", "big")
    engine.run("run", "--name", "writer", "busybox", "dd", "if=/dev/urandom", "of=/f", "bs=1M",
               "count=12")  # fmt: skip
    _room(engine, 16 * MIB)
    for method, target, body in (
        ("POST", "/v1.52/images/load?quiet=1", saved),
        ("POST", "/v1.52/images/create?fromSrc=-&repo=big", archive),
        ("POST", "/v1.52/commit?container=writer&repo=big", None),
    ):
        with _nothing_changes(engine):
            connection = unixhttp.Connection(engine.socket)
            kind = {} if body is None else {"Content-Type": "application/x-tar"}
            connection.request(method, target, body, kind)
            answer = connection.getresponse()
            message = json.loads(answer.read())["message"]
            connection.close()
            assert answer.status == 507, (target, message)
            assert "data-root-quota" in message and "raise the quota" in message
            assert str(engine.data) in message
    for client in ("firkin", "docker"):
        with _nothing_changes(engine):
            failed = engine.run("load", stdin=saved, client=client, check=False)
            assert failed.returncode == 1 and b"no space left in the data root" in failed.stderr
    _room(engine, 40 * MIB)
    engine.run("load", stdin=saved)
    assert "big" in engine.out("images")


def test_a_build_that_does_not_fit(engine: rig.Engine) -> None:
    _room(engine, 8 * MIB)
    text = b"FROM busybox\nRUN dd if=/dev/urandom of=/f bs=1M count=12 2>/dev/null\n"
    with _nothing_changes(engine):
        failed = engine.run("build", "-t", "big", "-", stdin=text, check=False)
        assert failed.returncode == 1
        assert b"data-root-quota" in failed.stderr + failed.stdout
    small = b"FROM busybox\nRUN echo fits > /f\n"
    engine.run("build", "-t", "small", "-", stdin=small)


def test_a_pull_that_does_not_fit_is_refused_before_it_begins(
    engine: rig.Engine, tmp_path: Path
) -> None:
    with registryrig.serving(tmp_path / "registry") as registry:
        name = f"127.0.0.1:{registry.port}/big:1"
        engine.run("import", "-", name, stdin=_rootfs(12 * MIB))
        engine.run("push", name)
        engine.run("rmi", name)
        _room(engine, 8 * MIB)
        with _nothing_changes(engine):
            failed = engine.run("pull", name, check=False)
            assert failed.returncode == 1 and b"data-root-quota" in failed.stderr
            assert b"Pulling fs layer" not in failed.stdout
        _room(engine, 18 * MIB)  # the blob fits, what it unpacks to does not
        with _nothing_changes(engine):
            failed = engine.run("pull", name, check=False)
            assert failed.returncode == 1 and b"data-root-quota" in failed.stderr
        _room(engine, 40 * MIB)
        engine.run("pull", name)


def test_what_goes_and_what_never(engine: rig.Engine, tmp_path: Path) -> None:
    engine.run("import", "-", "tagged", stdin=_rootfs(2 * MIB))
    engine.run("import", "-", "moved", stdin=_rootfs(3 * MIB))
    engine.run("import", "-", "moved", stdin=_rootfs(1 * MIB))  # the first has no name now
    engine.run("build", "-", stdin=b"FROM busybox\nRUN dd if=/dev/urandom of=/f bs=1M count=5\n"
               b"FROM busybox\nCOPY --from=0 /f /g\n")  # fmt: skip
    write = "dd if=/dev/urandom of=/f bs=1M count=1; dd if=/dev/urandom of=/v/f bs=1M count=1"
    engine.run("run", "--name", "ended", "-v", "/v", "busybox", "sh", "-c", write)
    engine.run("volume", "create", "named")
    anonymous = engine.out("volume", "create")
    dangling = engine.out("images", "-q", "--filter", "dangling=true").split()
    assert dangling and engine.out("builder", "du", "--format", "{{.ID}}")

    told = len(_events(engine, "collect"))
    _room(engine, 2 * MIB)
    archive = tmp_path / "next.tar"
    archive.write_bytes(_rootfs(6 * MIB))
    engine.run("import", str(archive), "next")
    events = _events(engine, "collect")[told:]
    assert {event["Type"] for event in events} == {"daemon"}
    told_of = [event["Actor"]["Attributes"] for event in events]
    assert sum(int(one["build-cache"]) for one in told_of) >= 1
    assert sum(int(one["reclaimed"]) for one in told_of) >= 5 * MIB

    def kept() -> None:
        assert engine.out("ps", "-aq", "--filter", "name=ended")
        volumes = engine.out("volume", "ls", "-q").split()
        assert {"named", anonymous} <= set(volumes) and len(volumes) == 3

    kept()
    # Nothing but images with names is left to go; they stay unless they may go too.
    _room(engine, 2 * MIB)
    failed = engine.run("import", "-", "more", stdin=_rootfs(6 * MIB), check=False)
    assert failed.returncode == 1 and b"data-root-quota" in failed.stderr
    assert not engine.out("images", "-q", "--filter", "dangling=true")
    for name in ("tagged", "moved", "next", "busybox"):
        assert engine.out("images", "-q", name)
    _room(engine, 2 * MIB, data_root_collect="none")
    assert engine.run("import", "-", "more", stdin=_rootfs(6 * MIB), check=False).returncode == 1
    _room(engine, 2 * MIB, data_root_collect="all")
    # Of a pipe it is not known how much will come: then what may go goes after the first refusal.
    again = engine.run("import", "-", "more", stdin=_rootfs(6 * MIB), check=False)
    if again.returncode:
        assert b"were collected now: try it again" in again.stderr
        engine.run("import", "-", "more", stdin=_rootfs(6 * MIB))
    assert not engine.out("images", "-q", "tagged")
    assert engine.out("images", "-q", "busybox")  # a container was made from it
    kept()


def test_it_is_shown(engine: rig.Engine) -> None:
    assert "Data root" not in engine.out("system", "df")
    _configure(engine, data_root_quota="1GB", data_root_reserve="1MB")
    for client in ("firkin", "docker"):
        text = engine.out("info", client=client)
        assert "Data Root Quota: 1GB (" in text and "Data Root Used: " in text
    assert "of 1.074GB used" in engine.out("system", "df")
    _, found = unixhttp.ask(engine.socket, "GET", "/v1.52/system/df")
    root = found["DataRoot"]
    assert (root["Quota"], root["Reserve"]) == (1 << 30, MIB)
    assert 0 < root["Left"] <= (1 << 30) - root["Size"]
    _configure(engine, data_root_quota="1MB")
    assert b"no space left in the data root" in engine.run("info").stderr


def test_a_reserve_on_the_disk(tmp_path: Path) -> None:
    image, home = tmp_path / "disk", tmp_path / "home"
    image.touch()
    os.truncate(image, 100 * MIB)
    home.mkdir()
    subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
    subprocess.run(["mount", "-o", "loop", image, home], check=True)
    try:
        with rig.running(home, f"fkw{os.getpid()}") as engine:
            _configure(engine, data_root_reserve="60%")
            with _nothing_changes(engine):
                failed = engine.run("import", "-", "big", stdin=_rootfs(24 * MIB), check=False)
                assert failed.returncode == 1 and b"data-root-reserve" in failed.stderr
            engine.run("import", "-", "small", stdin=_rootfs(4 * MIB))
    finally:
        subprocess.run(["umount", home], check=True)


def test_the_build_cache_has_rules_of_its_own(engine: rig.Engine) -> None:
    def size() -> int:
        _, found = unixhttp.ask(engine.socket, "GET", "/v1.52/system/df?type=build-cache")
        return int(found["BuildCacheUsage"]["TotalSize"])

    def build(number: int) -> None:
        text = f"FROM busybox\nRUN dd if=/dev/urandom of=/f{number} bs=1M count=4\n"
        engine.run("build", "-o", "type=cacheonly", "-", stdin=text.encode())

    build(1)
    build(2)
    assert size() > 8 * MIB
    _configure(engine, builder={"gc": {"policy": [{"keepStorage": "5MB", "all": True}]}})
    build(3)
    assert rig.settled(lambda: size() <= 5 * MIB)
    assert size() > 4 * MIB  # what was used last stays
    _configure(engine, builder={"gc": {"enabled": False}})
    build(4)
    assert size() > 8 * MIB
