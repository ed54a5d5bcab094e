"""``system df``: it says what du says, and asking costs no walk of what did not change."""

from __future__ import annotations

import concurrent.futures
import io
import os
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import rig
import unixhttp
from firkin.linux import projectquota

pytestmark = pytest.mark.root
MIB = 1 << 20
DOCKERFILE = b"""FROM shared
RUN dd if=/dev/urandom of=/built bs=1M count=5 2>/dev/null
RUN --mount=type=cache,target=/cache dd if=/dev/urandom of=/cache/kept bs=1M count=3 2>/dev/null
RUN dd if=/dev/urandom of=/dropped bs=1M count=2 2>/dev/null && rm /built
"""


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[rig.Engine]:
    with rig.running(tmp_path_factory.mktemp("df"), f"fku{os.getpid()}") as engine:
        yield engine


def _du(*paths: Path) -> int:
    words = ["du", "--summarize", "--block-size=1", "--total", *paths]
    done = subprocess.run(words, check=True, capture_output=True, text=True)
    return int(done.stdout.splitlines()[-1].split()[0])


def _df(engine: rig.Engine, query: str = "") -> dict[str, Any]:
    status, found = unixhttp.ask(engine.socket, "GET", f"/v1.52/system/df{query}")
    assert status == 200, found
    assert isinstance(found, dict)
    return found


def _near(told: int, real: int) -> None:
    assert abs(told - real) <= real / 100, f"df says {told}, du says {real}"


def _rootfs(*files: tuple[str, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, data in files:
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
        link = tarfile.TarInfo("linked")
        link.type, link.linkname = tarfile.LNKTYPE, files[0][0]
        archive.addfile(link)
    return out.getvalue()


def _directories(engine: rig.Engine, kind: str) -> list[Path]:
    """The directories of the snapshots of a kind."""
    with engine.database() as connection:
        rows = connection.execute("SELECT dir FROM snapshots WHERE kind = ?", (kind,)).fetchall()
    return [engine.data / "snapshots" / str(row[0]) for row in rows]


def _everything(engine: rig.Engine) -> None:
    """A data root with some of all that there is."""
    engine.run("import", "-", "base", stdin=_rootfs(("a", os.urandom(4 * MIB)), ("b", b"b" * 700)))
    engine.run("run", "--name", "layered", "busybox", "sh", "-c",
               "dd if=/dev/urandom of=/one bs=1M count=3; mkdir /d; "
               "for i in $(seq 300); do echo $i > /d/$i; done; ln /one /two")  # fmt: skip
    engine.run("commit", "layered", "shared")
    for name in ("left", "right"):
        engine.run("run", "--name", name, "shared", "sh", "-c",
                   f"dd if=/dev/urandom of=/{name} bs=1M count=2")  # fmt: skip
        engine.run("commit", name, name)
    engine.run("run", "-d", "--name", "sparse", "-v", "kept:/v", "shared", "sh", "-c",
               "truncate -s 2G /hole; dd if=/dev/urandom of=/v/f bs=1M count=4; ln /v/f /v/g; "
               "truncate -s 1G /v/hole; seq 200000; exec sleep 1000")  # fmt: skip
    engine.run("volume", "create", "unused")
    engine.run("run", "--rm", "-v", "unused:/v", "busybox", "dd", "if=/dev/zero", "of=/v/z",
               "bs=1M", "count=2")  # fmt: skip
    engine.run("build", "-t", "built", "-", stdin=DOCKERFILE)
    engine.run("rmi", "built")
    assert rig.settled(lambda: engine.out("logs", "--tail", "1", "sparse").endswith("200000"))


def test_it_says_what_du_says(engine: rig.Engine) -> None:
    _everything(engine)
    found = _df(engine)
    root = found["DataRoot"]
    assert root["Path"] == str(engine.data)
    _near(root["Size"], _du(engine.data))
    of_containers = [*_directories(engine, "active"), *(engine.data / "containers").iterdir()]
    _near(found["ContainerUsage"]["TotalSize"], _du(*of_containers))
    _near(found["VolumeUsage"]["TotalSize"], _du(engine.data / "volumes"))
    layers = _du(*_directories(engine, "committed"), engine.data / "content")
    cache = _du(engine.data / "build")
    _near(found["ImageUsage"]["TotalSize"] + found["BuildCacheUsage"]["TotalSize"], layers + cache)
    assert found["BuildCacheUsage"]["TotalSize"] > 10 * MIB

    shown = {item["Names"][0]: item for item in found["Containers"]}
    log = (engine.data / "containers" / shown["/sparse"]["Id"] / "container.log").stat().st_size
    assert log > MIB and shown["/sparse"]["SizeRw"] >= log
    assert shown["/sparse"]["SizeRw"] < 100 * MIB  # the hole is none of it
    volumes = {item["Name"]: item["UsageData"] for item in found["Volumes"]}
    assert 4 * MIB <= volumes["kept"]["Size"] < 5 * MIB  # neither a hole nor a second name
    assert (volumes["kept"]["RefCount"], volumes["unused"]["RefCount"]) == (1, 0)

    images = {(item["RepoTags"] or [""])[0]: item for item in found["Images"]}
    both = images["left:latest"], images["right:latest"]
    for one in both:
        assert one["Size"] - one["SharedSize"] >= 4 * MIB  # its own layer, and that as a blob
        assert one["SharedSize"] >= images["shared:latest"]["Size"] - 64 * 1024
    assert found["LayersSize"] < sum(item["Size"] for item in images.values())

    # Reclaimable is what prune gives back, and du agrees.
    assert found["ImageUsage"]["Reclaimable"] >= 12 * MIB
    assert found["ImageUsage"]["ActiveCount"] == 2  # busybox and shared
    before = _du(engine.data)
    _, pruned = unixhttp.ask(engine.socket, "POST", "/v1.52/build/prune?all=1")
    assert pruned["SpaceReclaimed"] == found["BuildCacheUsage"]["Reclaimable"]
    _near(before - _du(engine.data), pruned["SpaceReclaimed"])
    _near(_df(engine)["DataRoot"]["Size"], _du(engine.data))
    before = _du(engine.data)
    _, pruned = unixhttp.ask(
        engine.socket, "POST", '/v1.52/images/prune?filters={"dangling":["false"]}'
    )
    _near(before - _du(engine.data), pruned["SpaceReclaimed"])
    _near(_df(engine)["DataRoot"]["Size"], _du(engine.data))


@pytest.mark.skipif(shutil.which("docker") is None, reason="needs the official client")
def test_both_clients_show_it(engine: rig.Engine) -> None:
    ours, theirs = (engine.out("system", "df", "-v", client=c) for c in ("firkin", "docker"))
    assert "Local Volumes space usage" in ours and "Local Volumes space usage" in theirs
    assert "Containers" in engine.out("system", "df", client="docker")


def test_a_container_that_ends_or_is_copied_into_is_measured_again(engine: rig.Engine) -> None:
    def written() -> int:
        (found,) = [one for one in _df(engine)["Containers"] if one["Names"] == ["/again"]]
        return int(found["SizeRw"])

    def own() -> int:
        _, found = unixhttp.ask(engine.socket, "GET", "/v1.52/containers/again/json?size=1")
        return int(found["SizeRw"])

    engine.run("create", "--name", "again", "busybox", "dd", "if=/dev/zero", "of=/f", "bs=1M",
               "count=2")  # fmt: skip
    assert written() < MIB and own() == 0
    engine.run("start", "-a", "again")
    assert written() >= 2 * MIB and own() >= 2 * MIB
    engine.run("cp", "-", "again:/", stdin=_rootfs(("copied", bytes(3 * MIB))))
    assert written() >= 5 * MIB
    whole = own()
    engine.end(9)
    engine.start()
    assert own() == whole
    text = engine.out("ps", "-as", "--filter", "name=again", "--format", "{{.Size}}")
    assert text.startswith("5.2")
    engine.run("rm", "again")


def test_a_storm_of_questions_gets_one_answer(engine: rig.Engine) -> None:
    engine.run("volume", "create", "crowded")
    engine.run("run", "--rm", "-v", "crowded:/v", "busybox", "sh", "-c",
               "for i in $(seq 2000); do echo $i > /v/$i; done")  # fmt: skip
    engine.run("run", "-d", "--name", "user", "-v", "crowded:/v", "busybox", "sleep", "1000")

    def moment(_: int) -> str:
        found = _df(engine, "?type=volume")["Volumes"]
        (data,) = [one["UsageData"] for one in found if one["Name"] == "crowded"]
        assert data["Size"] >= 2000 * 4096
        return str(data["SizeMeasuredAt"])

    with concurrent.futures.ThreadPoolExecutor(50) as clients:
        moments = list(clients.map(moment, range(50)))
    assert len(set(moments)) < 10
    engine.run("rm", "-f", "user")
    one = moment(0)
    assert {moment(n) for n in range(5)} == {one}  # nobody can have changed it


def test_the_kernel_counts_where_it_can(tmp_path: Path) -> None:
    """On a file system with project quotas the figures are the kernel's, and the same."""
    image, place = tmp_path / "disk", tmp_path / "data"
    place.mkdir()
    image.touch()
    os.truncate(image, 128 * MIB)
    subprocess.run(["mkfs.ext4", "-q", "-O", "quota,project", image], check=True)
    mount = ["mount", "-o", "loop,prjquota", image, place]
    if subprocess.run(mount, check=False, capture_output=True).returncode:
        pytest.skip("this kernel has no project quotas on ext4")
    engine = rig.Engine(tmp_path, f"fkx{os.getpid()}")
    try:
        engine.start()
        engine.add_busybox()
        engine.run("run", "-d", "--name", "counted", "-v", "counted:/v", "busybox", "sh", "-c",
                   "dd if=/dev/urandom of=/f bs=1M count=5; mkdir /d; mv /f /d/g; ln /d/g /h; "
                   "rm /etc/passwd; dd if=/dev/urandom of=/v/f bs=1M count=7; "
                   "exec sleep 1000")  # fmt: skip
        snapshot = _directories(engine, "active")[0]
        volume = engine.data / "volumes" / "counted" / "_data"
        assert rig.settled(lambda: _du(volume) >= 7 * MIB, 60)  # all is written
        for path in (snapshot, volume):
            used = projectquota.used(str(path))
            assert used is not None and used.size == _du(path)
        _near(_df(engine)["DataRoot"]["Size"], _du(engine.data))
        assert engine.out("ps", "-s", "--format", "{{.Size}}").startswith("5.2")
        engine.run("rm", "-f", "-v", "counted")
    finally:
        engine.end()
        rig.clear(engine)  # the file system too, which is mounted below its directory
