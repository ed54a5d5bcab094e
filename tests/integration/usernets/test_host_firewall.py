"""An engine on a host whose own firewall drops what it forwards, as ufw does by default.

The host is a network namespace, with a neighbour on a wire. Its tables are never changed; a drop of
theirs is final, so the engine says what to allow. All that an engine sets up is back after kills,
flushes and repairs.
"""

from __future__ import annotations

import contextlib
import json
import pathlib
import signal
import subprocess
from collections.abc import Iterator

import pytest

import rig
from firkin.linux import netns

DOCKER = "/usr/local/bin/docker"
BRIDGE = "fkhf0"
OUTSIDE, NEIGHBOUR = "10.227.0.1", "10.227.0.2"
OUTSIDE6 = "fd77:227::1"


class Host:
    """The namespaces of the host and of its neighbour."""

    def __init__(self, host: str, neighbour: str, engine: rig.Engine) -> None:
        self._paths = {"host": host, "neighbour": neighbour}
        self.engine = engine

    def run(self, where: str, *words: str, check: bool = True) -> str:
        done = subprocess.run(
            ["nsenter", f"--net={self._paths[where]}", *words],
            check=check, capture_output=True, text=True,
        )  # fmt: skip
        return done.stdout

    def status(self, where: str, address: str) -> str:
        """What HTTP says of a published port: 404 when the container's server answers."""
        return self.run(where, "curl", "-s", "-m", "2", "-o", "/dev/null", "-w", "%{http_code}",
                        f"http://{address}:28500/", check=False)  # fmt: skip

    def eventually(self, where: str, address: str) -> bool:
        return rig.settled(lambda: self.status(where, address) == "404", 15)

    def tables(self) -> str:
        """The host's own rules, without counters."""
        return self.run("host", "iptables-save") + self.run("host", "ip6tables-save")


@pytest.fixture
def host(tmp_path: pathlib.Path) -> Iterator[Host]:
    here, there = str(tmp_path / "host"), str(tmp_path / "neighbour")
    (tmp_path / "engine").mkdir()
    engine = rig.Engine(tmp_path / "engine", BRIDGE)
    engine.prefix = ("nsenter", f"--net={here}")
    with contextlib.ExitStack() as stack:
        for path in (here, there):
            netns.create(path, lambda: None)
            stack.callback(netns.remove, path)
        made = Host(here, there, engine)
        for where, words in (
            ("host", "ip link set lo up"),
            ("host", f"ip link add eth9 type veth peer name wire netns {there}"),
            ("host", f"ip addr add {OUTSIDE}/24 dev eth9"),
            ("host", f"ip addr add {OUTSIDE6}/64 dev eth9 nodad"),
            ("host", "ip link set eth9 up"),
            ("neighbour", f"ip addr add {NEIGHBOUR}/24 dev wire"),
            ("neighbour", "ip addr add fd77:227::2/64 dev wire nodad"),
            ("neighbour", "ip link set wire up"),
        ):
            made.run(where, *words.split())
        stack.callback(end, engine)
        engine.start()
        engine.add_busybox()
        yield made


def end(engine: rig.Engine) -> None:
    if engine.process and engine.process.poll() is None:
        if ids := engine.out("ps", "-aq").split():
            engine.run("rm", "-f", *ids)
        engine.end()
    rig.clear(engine)


def serve(engine: rig.Engine) -> None:
    """A server on a network of both kinds, and one that only goes out."""
    engine.run("network", "create", "--ipv6", "own", client=DOCKER)
    engine.run("run", "-d", "--name", "web", "--network", "own", "-p", "28500:80", "busybox",
               "httpd", "-f", "-p", "80", client=DOCKER)  # fmt: skip
    engine.run("run", "-d", "--name", "goer", "busybox", "sleep", "1000", client=DOCKER)


def test_a_host_that_drops_what_it_forwards(host: Host) -> None:
    engine = host.engine
    for tool in ("iptables", "ip6tables"):
        host.run("host", tool, "-P", "FORWARD", "DROP")
        host.run("host", tool, "-A", "INPUT", "-m", "conntrack", "--ctstate",
                 "ESTABLISHED,RELATED", "-j", "ACCEPT")  # fmt: skip
    before = host.tables()
    serve(engine)
    # The host itself needs no forwarding; a neighbour does.
    for address in ("127.0.0.1", "[::1]", OUTSIDE, f"[{OUTSIDE6}]"):
        assert host.status("host", address) == "404", address
    for address in (OUTSIDE, f"[{OUTSIDE6}]"):
        assert host.status("neighbour", address) == "000", address
    warnings = json.loads(engine.out("info", "--format", "{{json .Warnings}}", client=DOCKER))
    said = [text for text in warnings if "filter/FORWARD drops" in text]
    assert len(said) == 2 and all(BRIDGE in text for text in said), warnings
    assert host.tables().split("COMMIT")[0].count("-A") == before.split("COMMIT")[0].count("-A")
    # What it says to allow is enough.
    bridges = host.run("host", "ip", "-o", "link", "show", "type", "bridge")
    names = [line.split(": ")[1] for line in bridges.splitlines()]
    assert all(name in said[0] for name in names)
    for tool in ("iptables", "ip6tables"):
        for name in names:
            for way in ("-i", "-o"):
                host.run("host", tool, "-A", "FORWARD", way, name, "-j", "ACCEPT")
    for address in (OUTSIDE, f"[{OUTSIDE6}]"):
        assert host.status("neighbour", address) == "404", address
    assert engine.run("exec", "goer", "ping", "-c1", "-W2", NEIGHBOUR).returncode == 0
    # Nobody but those who may gets in, as ever.
    web = json.loads(engine.out("inspect", "web"))[0]["NetworkSettings"]["Networks"]["own"]
    own = web["IPAddress"]
    host.run("neighbour", "ip", "route", "add", f"{own}/32", "via", OUTSIDE)
    asked = ("curl", "-s", "-m", "2", "-o", "/dev/null", "-w", "%{http_code}", f"http://{own}/")
    assert host.run("host", *asked) == "404"
    assert host.run("neighbour", *asked, check=False) == "000"


def test_everything_is_back_after_kills_flushes_and_repairs(host: Host) -> None:
    engine = host.engine
    serve(engine)
    ways = (("host", "127.0.0.1"), ("host", "[::1]"),
            ("neighbour", OUTSIDE), ("neighbour", f"[{OUTSIDE6}]"))  # fmt: skip
    shown = json.loads(engine.out("inspect", "web"))[0]["NetworkSettings"]

    def all_is_well(when: str) -> None:
        for where, address in ways:
            assert host.eventually(where, address), (when, where, address)
        assert engine.run("exec", "goer", "ping", "-c1", "-W2", NEIGHBOUR).returncode == 0, when
        again = json.loads(engine.out("inspect", "web"))[0]["NetworkSettings"]
        assert again == shown, when

    all_is_well("at first")
    engine.end(signal.SIGKILL)
    for where, address in ways:
        assert host.status(where, address) == "404", ("without an engine", where, address)
    engine.start()
    all_is_well("after a kill")
    host.run("host", "nft", "flush", "ruleset")
    all_is_well("after a flush")
    engine.end(signal.SIGKILL)
    host.run("host", "nft", "flush", "ruleset")
    engine.start()
    all_is_well("after a kill and a flush")
    engine.run("system", "check")
    engine.run("system", "check", "--repair")
    all_is_well("after a check")
    engine.run("network", "reload")
    all_is_well("after a reload")
    host.run("host", "ip", "link", "set", BRIDGE, "down")
    host.run("host", "sysctl", "-qw", "net.ipv4.ip_forward=0")
    engine.end(signal.SIGKILL)
    engine.start()
    all_is_well("after somebody took the bridge down and forwarding off")
    own = json.loads(engine.out("network", "inspect", "own"))[0]["Id"]
    host.run("host", "ip", "link", "del", f"br-{own[:12]}")
    said = engine.run("system", "check", check=False)
    assert said.returncode and b"network own: its bridge" in said.stdout
    engine.end()
    engine.start()
    all_is_well("after somebody deleted a bridge")


def test_forwarding_is_left_alone_when_the_engine_is_told_so(host: Host) -> None:
    engine = host.engine
    engine.end()
    for version in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
        host.run("host", "sysctl", "-qw", f"{version}=0")
    engine.start("--ip-forward=false", "--ipv6")
    serve(engine)
    for version in ("net.ipv4.ip_forward", "net.ipv6.conf.all.forwarding"):
        assert host.run("host", "sysctl", "-n", version).strip() == "0"
    warnings = engine.out("info", "--format", "{{json .Warnings}}", client=DOCKER)
    assert "IPv4 forwarding is disabled" in warnings
    made = engine.run("create", "--name", "unreached", "busybox", client=DOCKER)
    assert b"WARNING: IPv4 forwarding is disabled. Networking will not work." in made.stderr
    assert host.status("host", "127.0.0.1") == "404"  # the host's own packets are not forwarded
    assert host.status("neighbour", OUTSIDE) == "000"
