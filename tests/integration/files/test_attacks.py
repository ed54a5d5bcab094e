"""A hostile container and hostile archives never reach files of the host."""

from __future__ import annotations

import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import tars

import rig

pytestmark = pytest.mark.root

SECRET = b"a secret of the host"


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A directory of the host that must be neither read nor changed."""
    (tmp_path / "secret").write_bytes(SECRET)
    yield tmp_path
    assert sorted(path.name for path in tmp_path.iterdir()) == ["secret"]
    assert (tmp_path / "secret").read_bytes() == SECRET


def test_links_are_followed_inside_the_container(engine: rig.Engine, outside: Path) -> None:
    script = f"ln -s {outside} /abs; ln -s ../../../../../../..{outside} /rel; ln -s / /top"
    for state in ("running", "stopped"):
        engine.run("run", "-d", "--name", "box", "busybox", "sh", "-c", f"{script}; sleep 999")
        engine.run("exec", "box", "sh", "-c", "until [ -e /top ]; do sleep 0.1; done")
        if state == "stopped":
            engine.run("stop", "-t", "0", "box")
        for link in ("abs", "rel"):
            assert tars.get(engine, "box", f"/{link}/secret")[0] == 404
            assert tars.get(engine, "box", f"/{link}/")[0] == 404
            assert tars.put(engine, "box", f"/{link}", tars.archive(tars.entry("x")))[0] == 404
            assert tars.head(engine, "box", f"/{link}")[1]["linkTarget"] == str(outside)
        assert tars.get(engine, "box", f"/../../..{outside}/secret")[0] == 404
        assert tars.get(engine, "box", f"/top/..{outside}/secret")[0] == 404
        assert b"root:" in tars.get(engine, "box", "/top/../top/etc/passwd")[3]["passwd"]
        engine.run("rm", "-f", "box")


def test_archives_can_not_lead_out(engine: rig.Engine, outside: Path) -> None:
    engine.run("create", "--name", "box", "busybox")
    up = "../" * 12
    bad = (
        [tars.entry(f"{up}{outside}/planted", b"x")],
        [tars.entry("l", type=tarfile.LNKTYPE, linkname=f"{up}{outside}/secret")],
    )
    for members in bad:
        assert tars.put(engine, "box", "/tmp", tars.archive(*members))[0] == 400
    inside = (
        [tars.entry(f"{outside}/planted", b"x")],
        [
            tars.entry("s", type=tarfile.SYMTYPE, linkname=str(outside)),
            tars.entry("s/planted", b"x"),
        ],
        [tars.entry("h", type=tarfile.LNKTYPE, linkname=f"{outside}/secret")],
    )
    for members in inside:
        status, answer = tars.put(engine, "box", "/tmp", tars.archive(*members))
        assert status in (200, 400), answer
    assert SECRET not in b"".join(tars.get(engine, "box", "/tmp")[3].values())


@pytest.mark.parametrize("state", ["running", "stopped"])
def test_links_swapped_during_the_copy(engine: rig.Engine, outside: Path, state: str) -> None:
    """The container turns a directory into a link to the host and back, without end.

    The race runs in a volume of a second container, so that it goes on while the first is stopped.
    """
    swap = (
        f"mkdir -p /w/a /w/keep; echo ours >/w/a/secret; ln -s {outside} /w/link; cd /w; "
        "while :; do mv a b; mv link a; mv a link; mv b a; done"
    )
    engine.run("run", "-d", "--name", "racer", "-v", "race:/w", "busybox", "sh", "-c", swap)
    engine.run("create", "--name", "box", "-v", "race:/w", "busybox", "sleep", "999")
    if state == "running":
        engine.run("start", "box")
    data = tars.archive(tars.entry("secret", b"overwritten"), tars.entry("planted", b"x"))
    reached = tries = 0
    while tries < 25 or not reached:  # the file is where it is asked for a quarter of the time
        tries += 1
        assert tries < 1000
        status, _, _, contents = tars.get(engine, "box", "/w/a/secret")
        assert SECRET not in contents.values()
        reached += status == 200
        _, _, _, contents = tars.get(engine, "box", "/w")
        assert SECRET not in contents.values()
        tars.put(engine, "box", "/w/a", data)


def test_a_mount_point_that_is_a_link(engine: rig.Engine, outside: Path) -> None:
    """The volume of a stopped container is mounted where the link leads inside of it."""
    engine.run("create", "--name", "first", "busybox")
    link = tars.archive(tars.entry("mnt", type=tarfile.SYMTYPE, linkname=str(outside)))
    tars.put(engine, "first", "/", link)
    engine.run("commit", "first", "linked")
    engine.run("create", "--name", "box", "-v", "vol1:/mnt/data", "linked", "sh")
    data = tars.archive(tars.entry("x", b"into the volume"))
    assert tars.put(engine, "box", "/mnt/data", data)[0] == 200
    assert (engine.data / "volumes/vol1/_data/x").read_bytes() == b"into the volume"
    engine.run("rm", "-f", "first", "box")
    engine.run("rmi", "linked")


def test_the_host_is_not_behind_proc(engine: rig.Engine, outside: Path) -> None:
    """Not even of a container that sees the host's processes."""
    engine.run("run", "-d", "--name", "box", "--pid", "host", "busybox", "sh", "-c",
               f"ln -s /proc/1/root{outside} /esc; sleep 999")  # fmt: skip
    engine.run("exec", "box", "sh", "-c", "until [ -L /esc ]; do sleep 0.1; done")
    assert tars.get(engine, "box", "/esc/secret")[0] == 404
    assert tars.get(engine, "box", f"/proc/1/root{outside}/secret")[0] == 404
    assert tars.put(engine, "box", "/esc", tars.archive(tars.entry("x")))[0] == 404


def test_no_code_of_the_container_is_run(engine: rig.Engine) -> None:
    """The worker loads nothing by name once it is in the container."""
    trap = b"import os\nos.write(2, b'trapped')\nos._exit(99)\n"
    version = f"python{tarfile.sys.version_info.major}.{tarfile.sys.version_info.minor}"  # type: ignore[attr-defined]
    places = [f"usr/lib/{version}/{name}.py" for name in ("stringprep", "pwd", "grp", "bz2")]
    places += [f"usr/lib/{version}/encodings/{name}.py" for name in ("idna", "cp437", "latin_1")]
    engine.run("create", "--name", "box", "busybox")
    data = tars.archive(*(tars.entry(place, trap) for place in places))
    assert tars.put(engine, "box", "/", data)[0] == 200
    odd = tars.archive(tars.entry("caf\u00e9\udcff", b"x"), tars.entry("n" * 180, b"y"))
    assert tars.put(engine, "box", "/tmp", odd)[0] == 200
    status, _, members, _ = tars.get(engine, "box", "/")
    assert status == 200 and len(members) > 200
    assert tars.put(engine, "box", "/tmp", b"broken" * 200)[0] == 400
