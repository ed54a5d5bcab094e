"""Containers on the wire of a host's interface, and networks by drivers of other packages."""

from __future__ import annotations

import pathlib
import subprocess
from collections.abc import Iterator

import pytest
from test_networks import DOCKER, docker, get, place, refused, sleeper

import rig

PARENT = "fkunp0"
FAR = "fkunp1"


def ip(*words: str) -> str:
    return subprocess.run(["ip", *words], capture_output=True, check=True, text=True).stdout


@pytest.fixture
def wire() -> Iterator[str]:
    """An interface of the host; at the other end of its wire is 10.221.40.1, in a namespace."""
    ip("netns", "add", "fkun-far")
    ip("link", "add", PARENT, "up", "type", "veth", "peer", "name", FAR, "netns", "fkun-far")
    for words in (["link", "set", FAR, "up"], ["addr", "add", "10.221.40.1/24", "dev", FAR]):
        ip("-n", "fkun-far", *words)
    yield PARENT
    ip("netns", "delete", "fkun-far")
    subprocess.run(["ip", "link", "delete", PARENT], capture_output=True, check=False)


def far_reaches(address: str) -> bool:
    words = ["ip", "netns", "exec", "fkun-far", "busybox", "ping", "-c1", "-W1", address]
    return subprocess.run(words, capture_output=True, check=False).returncode == 0


@pytest.mark.parametrize(("mode", "together"), [("bridge", True), ("private", False),
                                                ("vepa", False)])  # fmt: skip
def test_macvlan(engine: rig.Engine, wire: str, mode: str, together: bool) -> None:
    docker(engine, "network", "create", "-d", "macvlan", "--subnet", "10.221.40.0/24",
           "-o", f"parent={wire}", "-o", f"macvlan_mode={mode}", "lan")  # fmt: skip
    sleeper(engine, "m1", "--network", "lan", "--ip", "10.221.40.7")
    sleeper(engine, "m2", "--network", "lan", "-p", "28190:80")
    assert place(engine, "m1", "lan")["Gateway"] == "10.221.40.1"
    other = place(engine, "m2", "lan")["IPAddress"]
    assert far_reaches("10.221.40.7") and far_reaches(other)
    docker(engine, "exec", "m1", "ping", "-c1", "-W2", "10.221.40.1")
    done = engine.run("exec", "m1", "ping", "-c1", "-W1", other, check=False)
    assert (done.returncode == 0) == together
    # By name too: the resolver knows no difference.
    assert (
        other in engine.run("exec", "m1", "ping", "-c1", "-W1", "m2", check=False).stdout.decode()
    )
    assert docker(engine, "port", "m2") == ""
    engine.end(9)
    engine.start()
    assert far_reaches("10.221.40.7")
    docker(engine, "rm", "-f", "m1", "m2")
    docker(engine, "network", "rm", "lan")
    assert PARENT in ip("-br", "link")


def test_passthru_has_room_for_one(engine: rig.Engine, wire: str) -> None:
    docker(engine, "network", "create", "-d", "macvlan", "--subnet", "10.221.40.0/24",
           "-o", f"parent={wire}", "-o", "macvlan_mode=passthru", "one")  # fmt: skip
    sleeper(engine, "p1", "--network", "one")
    assert far_reaches(place(engine, "p1", "one")["IPAddress"])
    said = refused(engine, "run", "--rm", "--network", "one", "busybox", "true")
    assert "cannot put an interface on fkunp0 into the container" in said


def test_what_there_is_not(engine: rig.Engine, wire: str) -> None:
    create = ("network", "create", "-d", "macvlan")
    if subprocess.run(["ip", "link", "add", "fkdummy", "type", "dummy"], check=False).returncode:
        assert "no dummy interfaces" in refused(engine, *create, "xx")
    else:  # a network without an interface of the host leads nowhere
        ip("link", "del", "fkdummy")
        docker(engine, *create, "xx")
        docker(engine, "network", "rm", "xx")
    assert "no interface nothing0" in refused(engine, *create, "-o", "parent=nothing0", "xx")
    assert "'odd'" in refused(engine, *create, "-o", f"parent={wire}", "-o", "macvlan_mode=odd",
                              "xx")  # fmt: skip
    before = get(engine, "/networks")
    for words, kind in ((("-d", "ipvlan", "-o", f"parent={wire}"), "ipvlan"),
                        (("-d", "macvlan", "-o", f"parent={wire}.50"), "vlan")):  # fmt: skip
        done = engine.run("network", "create", *words, "maybe", client=DOCKER, check=False)
        if done.returncode:  # a kernel without them
            assert f"this kernel has no {kind} interfaces" in done.stderr.decode()
            assert get(engine, "/networks") == before
        else:
            docker(engine, "run", "--rm", "--network", "maybe", "busybox", "ip", "addr")
            docker(engine, "network", "rm", "maybe")
            assert f"{wire}.50" not in ip("-br", "link")


DRIVER = """
import msgspec
from firkin.network.drivers import none

class Kind:
    def __init__(self, context):
        self.name = context.name
    def network(self, stored):
        return Lonely(stored)

class Lonely(none.NoneDriver):
    exclusive = False
    async def connect(self, place, request, container_id):
        made = await super().connect(place, request, container_id)
        return msgspec.structs.replace(made, mac_address="02:00:00:00:00:99")
"""


def test_a_driver_from_another_package(
    tmp_path: pathlib.Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    packages = tmp_path / "packages"
    info = packages / "lonely-1.0.dist-info"
    info.mkdir(parents=True)
    (packages / "lonely_driver.py").write_text(DRIVER)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: lonely\nVersion: 1.0\n")
    (info / "entry_points.txt").write_text(
        "[firkin.network_drivers]\nlonely = lonely_driver:Kind\n"
    )
    monkeypatch.setenv("PYTHONPATH", str(packages))
    (tmp_path / "engine").mkdir()
    with rig.running(tmp_path / "engine", "fkun2") as made:
        assert "lonely" in docker(made, "info", "--format", "{{.Plugins.Network}}")
        docker(made, "network", "create", "-d", "lonely", "quiet")
        sleeper(made, "hermit", "--network", "quiet")
        assert place(made, "hermit", "quiet")["MacAddress"] == "02:00:00:00:00:99"
        assert docker(made, "exec", "hermit", "ls", "/sys/class/net") == "lo"
        docker(made, "rm", "-f", "hermit")
        docker(made, "network", "rm", "quiet")
