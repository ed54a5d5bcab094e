"""What daemon.json and flags say of the default bridge and of new networks, seen on the wire."""

from __future__ import annotations

import contextlib
import json
import pathlib
import subprocess
from collections.abc import Iterator
from typing import Any

import pytest

import rig
import unixhttp

DOCKER = "/usr/local/bin/docker"


@contextlib.contextmanager
def engine(tmp_path: pathlib.Path, *words: str, **config: object) -> Iterator[rig.Engine]:
    made = rig.Engine(tmp_path, "fkdb0")
    (tmp_path / "daemon.json").write_text(json.dumps(config))
    try:
        made.start(*words)
        made.add_busybox()
        yield made
    finally:
        if made.process and made.process.poll() is None:
            if ids := made.out("ps", "-aq").split():
                made.run("rm", "-f", *ids)
            for name in made.out("network", "ls", "-q", "--filter", "type=custom").split():
                made.run("network", "rm", name)
            made.end()
        rig.clear(made)


def bridge(made: rig.Engine, name: str = "bridge") -> dict[str, Any]:
    status, shown = unixhttp.ask(made.socket, "GET", f"/networks/{name}")
    assert status == 200
    return dict(shown)


def sleeper(made: rig.Engine, name: str, *words: str) -> dict[str, Any]:
    made.run("run", "-d", "--name", name, *words, "busybox", "sleep", "1000", client=DOCKER)
    shown = json.loads(made.out("inspect", name, client=DOCKER))[0]
    return dict(shown["NetworkSettings"]["Networks"].get("bridge", {}))


def reaches(made: rig.Engine, name: str, address: str) -> bool:
    words = ("exec", name, "ping", "-c1", "-W1", address)
    return made.run(*words, check=False).returncode == 0


def routes(made: rig.Engine, name: str, *words: str) -> str:
    return made.out("exec", name, "ip", *words, "route", "show", "default")


def test_addresses_of_both_kinds(tmp_path: pathlib.Path) -> None:
    asked: dict[str, Any] = {
        "bip": "10.225.0.1/24", "fixed-cidr": "10.225.0.64/26", "default-gateway": "10.225.0.9",
        "ipv6": True, "bip6": "fd77:225::1/64", "fixed-cidr-v6": "fd77:225::8000/113",
        "default-gateway-v6": "fd77:225::9", "host-gateway-ips": ["10.225.0.1", "fd77:225::1"],
    }  # fmt: skip
    with engine(tmp_path, **asked) as made:
        shown = bridge(made)
        assert shown["EnableIPv6"]
        assert shown["IPAM"]["Config"] == [
            {"Subnet": "10.225.0.0/24", "IPRange": "10.225.0.64/26", "Gateway": "10.225.0.1",
             "AuxiliaryAddresses": {"DefaultGatewayIPv4": "10.225.0.9"}},
            {"Subnet": "fd77:225::/64", "IPRange": "fd77:225::8000/113", "Gateway": "fd77:225::1",
             "AuxiliaryAddresses": {"DefaultGatewayIPv6": "fd77:225::9"}},
        ]  # fmt: skip
        place = sleeper(made, "one")
        assert place["IPAddress"] == "10.225.0.64" and place["Gateway"] == "10.225.0.9"
        assert place["GlobalIPv6Address"].startswith("fd77:225::8")
        assert place["IPv6Gateway"] == "fd77:225::9"
        assert "via 10.225.0.9" in routes(made, "one")
        known = made.out("run", "--rm", "--add-host", "up:host-gateway", "busybox", "cat",
                         "/etc/hosts", client=DOCKER)  # fmt: skip
        assert "10.225.0.1\tup\nfd77:225::1\tup" in known
        assert reaches(made, "one", "10.225.0.1") and reaches(made, "one", "fd77:225::1")
        # The containers stay as they are when the engine comes back without IPv6.
        made.end(9)
        (tmp_path / "daemon.json").write_text(json.dumps({"bip": "10.225.0.1/24"}))
        made.start()
        assert not bridge(made)["EnableIPv6"]
        assert "AuxiliaryAddresses" not in bridge(made)["IPAM"]["Config"][0]
        second = sleeper(made, "two")
        assert second["GlobalIPv6Address"] == "" and second["Gateway"] == "10.225.0.1"
        assert reaches(made, "two", "10.225.0.64")


def test_ipv6_and_where_addresses_come_from_alone(tmp_path: pathlib.Path) -> None:
    with engine(tmp_path, "--ipv6", "--fixed-cidr", "10.225.8.0/24") as made:
        pools = bridge(made)["IPAM"]["Config"]
        assert pools[0] == {"Subnet": "10.225.8.0/24", "Gateway": "10.225.8.1"}
        assert pools[1]["Subnet"].startswith("fd") and pools[1]["Subnet"].endswith("/64")
        made.run("run", "-d", "--name", "web", "-p", "28210:80", "busybox", "httpd", "-f", "-p",
                 "80", client=DOCKER)  # fmt: skip
        for address in ("127.0.0.1", "[::1]"):
            answered = subprocess.run(["curl", "-s", "-o", "/dev/null", "-w", "%{http_code}",
                                       f"http://{address}:28210/"],
                                      capture_output=True, check=True)  # fmt: skip
            assert answered.stdout == b"404"


def test_no_words_between_containers_and_no_masquerade(tmp_path: pathlib.Path) -> None:
    with engine(tmp_path, "--icc=false", "--ip-masq=false", "--userland-proxy=false") as made:
        options = bridge(made)["Options"]
        assert options["com.docker.network.bridge.enable_icc"] == "false"
        assert options["com.docker.network.bridge.enable_ip_masquerade"] == "false"
        first, second = sleeper(made, "one", "-p", "28211:80"), sleeper(made, "two")
        assert not reaches(made, "one", second["IPAddress"])
        assert reaches(made, "one", first["Gateway"])
        assert made.out("port", "one", client=DOCKER) == "80/tcp -> 0.0.0.0:28211"
        table = subprocess.run(["nft", "list", "set", "inet", made.table(), "outgoing"],
                               capture_output=True, check=True)  # fmt: skip
        assert b"elements" not in table.stdout
        made.run("network", "create", "own", client=DOCKER)
        sleeper(made, "three", "--network", "own")
        there = json.loads(made.out("inspect", "three"))[0]["NetworkSettings"]["Networks"]["own"]
        sleeper(made, "four", "--network", "own")
        assert reaches(made, "four", there["IPAddress"])


def test_options_of_new_networks(tmp_path: pathlib.Path) -> None:
    options = {"com.docker.network.driver.mtu": "1400",
               "com.docker.network.bridge.host_binding_ipv4": "127.0.0.1"}  # fmt: skip
    with engine(
        tmp_path,
        "--default-network-opt", "macvlan=parent=eth9",
        "--default-address-pool", "base=10.226.0.0/16,size=24",
        bip="10.225.9.1/24",
    ) as made:  # fmt: skip
        made.end()
        (tmp_path / "daemon.json").write_text(
            json.dumps({"default-network-opts": {"bridge": options}})
        )
        made.start("--default-address-pool", "base=10.226.0.0/16,size=24")
        made.run("network", "create", "first", client=DOCKER)
        made.run("network", "create", "-o", "com.docker.network.driver.mtu=1300", "second",
                 client=DOCKER)  # fmt: skip
        assert bridge(made, "first")["Options"] == options
        assert bridge(made, "first")["IPAM"]["Config"][0]["Subnet"].startswith("10.226.")
        assert bridge(made, "second")["Options"]["com.docker.network.driver.mtu"] == "1300"
        sleeper(made, "one", "--network", "first", "-p", "28212:80")
        assert "mtu 1400" in made.out("exec", "one", "ip", "link", "show", "eth0")
        assert made.out("port", "one", client=DOCKER) == "80/tcp -> 127.0.0.1:28212"


@pytest.mark.parametrize("wanted", ["fkdb0", "none"])
def test_no_default_bridge(tmp_path: pathlib.Path, wanted: str) -> None:
    made = rig.Engine(tmp_path, wanted)
    try:
        made.start()
        names = made.out("network", "ls", "--format", "{{.Name}}", client=DOCKER).split()
        assert ("bridge" in names) == (wanted != "none")
        made.end()
    finally:
        made.bridge = "fkdb0"
        rig.clear(made)
