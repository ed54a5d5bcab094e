"""User-defined networks: every operation by raw HTTP and by the official client."""

from __future__ import annotations

import json
import subprocess
from typing import Any

import pytest

import rig
import unixhttp

DOCKER = "/usr/local/bin/docker"


def post(engine: rig.Engine, path: str, body: Any = None) -> tuple[int, Any]:
    return unixhttp.ask(engine.socket, "POST", path, body)


def get(engine: rig.Engine, path: str) -> Any:
    status, answer = unixhttp.ask(engine.socket, "GET", path)
    assert status == 200, answer
    return answer


def create(engine: rig.Engine, name: str, **body: Any) -> str:
    status, answer = post(engine, "/networks/create", {"Name": name, **body})
    assert status == 201, answer
    return str(answer["Id"])


def docker(engine: rig.Engine, *words: str) -> str:
    return engine.out(*words, client=DOCKER)


def refused(engine: rig.Engine, *words: str, client: str = DOCKER) -> str:
    done = engine.run(*words, client=client, check=False)
    assert done.returncode, (words, done.stdout)
    return done.stderr.decode()


def sleeper(engine: rig.Engine, name: str, *words: str) -> None:
    docker(engine, "run", "-d", "--name", name, "--init", *words, "busybox", "sleep", "600")


def place(engine: rig.Engine, name: str, network: str) -> dict[str, Any]:
    shown = get(engine, f"/containers/{name}/json")["NetworkSettings"]["Networks"]
    return dict(shown[network])


def default_route(engine: rig.Engine, name: str) -> str:
    lines = docker(engine, "exec", name, "ip", "route").splitlines()
    return "\n".join(line for line in lines if line.startswith("default"))


def test_everything_that_a_network_can_be_told(engine: rig.Engine) -> None:
    pools = [
        {"Subnet": "10.221.0.0/24", "IPRange": "10.221.0.128/25", "Gateway": "10.221.0.9",
         "AuxiliaryAddresses": {"printer": "10.221.0.129"}},
        {"Subnet": "fd00:221::/64", "Gateway": "fd00:221::9"},
    ]  # fmt: skip
    made = create(
        engine, "everything", Driver="bridge", EnableIPv6=True, Attachable=True,
        Labels={"team": "red"}, IPAM={"Driver": "default", "Config": pools, "Options": {"a": "b"}},
        Options={"com.docker.network.bridge.name": "fkun-br", "com.docker.network.driver.mtu":
                 "1400", "com.docker.network.bridge.enable_icc": "false"},
    )  # fmt: skip
    shown = get(engine, f"/networks/{made}")
    assert shown["IPAM"]["Config"] == pools
    assert shown["IPAM"]["Options"] == {"a": "b"}
    assert (shown["EnableIPv4"], shown["EnableIPv6"]) == (True, True)
    assert (shown["Attachable"], shown["Internal"]) == (True, False)
    assert shown["Labels"] == {"team": "red"}
    assert shown["Status"]["IPAM"]["Subnets"]["10.221.0.0/24"] == {
        "IPsInUse": 4, "DynamicIPsAvailable": 126,
    }  # fmt: skip
    sleeper(engine, "first", "--network", "everything")
    own = place(engine, "first", "everything")
    assert (own["IPAddress"], own["Gateway"], own["IPPrefixLen"]) == (
        "10.221.0.128", "10.221.0.9", 24,
    )  # fmt: skip
    assert (own["GlobalIPv6Address"], own["IPv6Gateway"], own["GlobalIPv6PrefixLen"]) == (
        "fd00:221::1", "fd00:221::9", 64,
    )  # fmt: skip
    sleeper(engine, "second", "--network", "everything", "--ip", "10.221.0.7",
            "--ip6", "fd00:221::77", "--mac-address", "02:00:00:00:00:07")  # fmt: skip
    assert docker(engine, "exec", "second", "cat", "/sys/class/net/eth0/mtu") == "1400"
    assert docker(engine, "exec", "second", "cat", "/sys/class/net/eth0/address").endswith(":07")
    addresses = docker(engine, "exec", "second", "ip", "addr", "show", "eth0")
    assert "10.221.0.7/24" in addresses and "fd00:221::77/64" in addresses
    docker(engine, "exec", "second", "ping", "-c1", "-W2", "10.221.0.9")
    docker(engine, "exec", "second", "ping", "-6", "-c1", "-W2", "fd00:221::9")
    # icc=false: neither by IPv4 nor by IPv6.
    for address in ("10.221.0.128", "fd00:221::1"):
        refused(engine, "exec", "second", "ping", "-c1", "-W1", address)
    assert "fkun-br" in subprocess.run(["ip", "-br", "link"], capture_output=True).stdout.decode()


@pytest.mark.parametrize(
    ("body", "status", "text"),
    [
        ({"Name": ""}, 400, "needs a name"),
        ({"Name": "a/b"}, 400, "invalid network name"),
        ({"Name": "bridge"}, 403, "operation is not permitted on predefined bridge network"),
        ({"Name": "xx", "Driver": "host"}, 403, 'only one instance of "host" network is allowed'),
        ({"Name": "xx", "Driver": "nothing"}, 404, 'plugin "nothing" not found'),
        ({"Name": "xx", "Driver": "overlay"}, 503, "not a swarm manager"),
        ({"Name": "xx", "EnableIPv4": False}, 400, "IPv4 or IPv6 must be enabled"),
        ({"Name": "xx", "IPAM": {"Config": [{"Subnet": "10.0.0.300/24"}]}}, 400, "10.0.0.300/24"),
        ({"Name": "xx", "IPAM": {"Config": [{"Subnet": "10.221.9.0/24", "Gateway": "10.1.1.1"}]}},
         400, "gateway 10.1.1.1 is outside of the subnet 10.221.9.0/24"),
        ({"Name": "xx", "IPAM": {"Config": [{"Subnet": "10.221.9.0/24", "IPRange": "10.2.0.0/9"}]}},
         400, "ip-range 10.2.0.0/9"),
        ({"Name": "xx", "IPAM": {"Config": [{"Subnet": "10.221.9.0/24"},
                                            {"Subnet": "10.221.0.0/16"}]}}, 400, "overlap"),
        ({"Name": "xx", "IPAM": {"Driver": "mine"}}, 404, "IPAM driver mine"),
        ({"Name": "xx", "EnableIPv6": False, "IPAM": {"Config": [{"Subnet": "fd00:9::/64"}]}},
         400, "IPv6 is not enabled"),
        ({"Name": "xx", "Options": {"com.docker.network.driver.mtu": "12"}}, 400, "MTU 12"),
        ({"Name": "xx", "Options": {"com.docker.network.bridge.nam": "a"}}, 400, "unknown option"),
        ({"Name": "xx", "Options": {"com.docker.network.bridge.name": "a b"}}, 400, "'a b'"),
        ({"Name": "xx", "Options": {"com.docker.network.bridge.name": "lo"}}, 500, "not a bridge"),
        ({"Name": "xx", "ConfigFrom": {"Network": "nothing"}}, 404, "network nothing not found"),
    ],
)  # fmt: skip
def test_what_cannot_be(engine: rig.Engine, body: Any, status: int, text: str) -> None:
    before = get(engine, "/networks")
    found, answer = post(engine, "/networks/create", body)
    assert (found, text in answer["message"]) == (status, True), answer
    assert get(engine, "/networks") == before


def test_a_bridge_that_was_there_before_stays(engine: rig.Engine) -> None:
    sleeper(engine, "runs")
    names = {"com.docker.network.bridge.name": engine.bridge}
    status, answer = post(engine, "/networks/create", {"Name": "thief", "Options": names})
    assert (status, "already used by network bridge" in answer["message"]) == (403, True)
    docker(engine, "exec", "runs", "ping", "-c1", "-W2", place(engine, "runs", "bridge")["Gateway"])
    links = ("ip", "link", "show", "fkun-old")
    subprocess.run(["ip", "link", "add", "fkun-old", "mtu", "1450", "type", "bridge"], check=True)
    try:
        # Whether the creation fails or not, and whatever subnet it is.
        names["com.docker.network.bridge.name"] = "fkun-old"
        own = place(engine, "runs", "bridge")
        taken = f"{own['IPAddress']}/{own['IPPrefixLen']}"
        for subnet, expected in ((taken, 403), ("10.221.13.0/24", 201)):
            body = {"Name": "guest", "Options": names, "IPAM": {"Config": [{"Subnet": subnet}]}}
            assert post(engine, "/networks/create", body)[0] == expected
            assert subprocess.run(links, check=False, capture_output=True).returncode == 0
        docker(engine, "network", "rm", "guest")
        assert b"mtu 1450" in subprocess.run(links, check=True, capture_output=True).stdout
    finally:
        subprocess.run(["ip", "link", "del", "fkun-old"], check=False)


def test_subnets_that_are_taken(engine: rig.Engine) -> None:
    create(engine, "one", IPAM={"Config": [{"Subnet": "10.221.4.0/24"}]})
    body = {"Name": "two", "IPAM": {"Config": [{"Subnet": "10.221.0.0/16"}]}}
    status, answer = post(engine, "/networks/create", body)
    assert status == 403
    assert "Pool overlaps with other one on this address space" in answer["message"]
    assert "network one" in answer["message"]
    route = json.loads(subprocess.run(["ip", "-j", "-4", "route", "show", "scope", "link"],
                                      capture_output=True, check=True).stdout)  # fmt: skip
    on_host = next(one["dst"] for one in route if one["dev"] == "eth0")
    said = refused(engine, "network", "create", "--subnet", on_host, "two")
    assert on_host in said and "eth0" in said
    said = refused(engine, "network", "create", "one")
    assert "network with name one already exists" in said


def test_names_ids_and_their_beginnings(engine: rig.Engine) -> None:
    made = create(engine, "named")
    for reference in (made, made[:12], made[:5], "named"):
        assert get(engine, f"/networks/{reference}")["Id"] == made
    assert (
        refused(engine, "network", "inspect", "nothing")
        .strip()
        .endswith("network nothing not found")
    )
    # A name comes before the beginning of an id.
    other = create(engine, made[:6])
    assert get(engine, f"/networks/{made[:6]}")["Id"] == other
    assert docker(engine, "network", "rm", made[:12], other[:12]) == f"{made[:12]}\n{other[:12]}"


def test_filters(engine: rig.Engine) -> None:
    create(engine, "fblue", Labels={"colour": "blue"})
    create(engine, "fred", Labels={"colour": "red"})
    sleeper(engine, "user", "--network", "fred")

    def names(*words: str) -> list[str]:
        found = [
            engine.out("network", "ls", "--format", "{{.Name}}", *words, client=client).split()
            for client in ("firkin", DOCKER)
        ]
        assert found[0] == found[1]
        return found[0]

    assert names("--filter", "type=builtin") == ["bridge", "host", "none"]
    assert names("--filter", "type=custom") == ["fblue", "fred"]
    assert names("--filter", "label=colour=red") == ["fred"]
    assert names("--filter", "label=colour", "--filter", "name=bl") == ["fblue"]
    assert names("--filter", "driver=null") == ["none"]
    assert names("--filter", "dangling=true") == ["fblue"]
    assert "fred" in names("--filter", "dangling=false")
    assert names("--filter", "scope=swarm") == []
    red = get(engine, "/networks/fred")["Id"]
    assert names("--filter", f"id={red[:10]}") == ["fred"]
    for wrong in ("type=odd", "colour=red", "dangling=perhaps"):
        assert "invalid filter" in refused(engine, "network", "ls", "--filter", wrong)
    assert docker(engine, "ps", "--filter", "network=fred", "--format", "{{.Names}}") == "user"


def test_connect_and_disconnect_while_running(engine: rig.Engine) -> None:
    create(engine, "anet", IPAM={"Config": [{"Subnet": "10.221.1.0/24"}]})
    create(engine, "bnet", IPAM={"Config": [{"Subnet": "10.221.2.0/24"}]})
    sleeper(engine, "mover", "--network", "bnet", "-p", "28180:80")
    docker(engine, "exec", "-d", "mover", "sh", "-c", "mkdir /w; echo here >/w/x; httpd -h /w")

    def page() -> str:
        done = subprocess.run(["wget", "-qO-", "-T2", "-t5", "--retry-connrefused", "http://127.0.0.1:28180/x"],
                              capture_output=True, check=False)  # fmt: skip
        return done.stdout.decode().strip()

    def default() -> str:
        return default_route(engine, "mover")

    assert page() == "here"
    assert "via 10.221.2.1 dev eth0" in default()
    docker(engine, "network", "connect", "--ip", "10.221.1.50", "--alias", "other", "anet", "mover")
    shown = place(engine, "mover", "anet")
    assert shown["IPAddress"] == "10.221.1.50"
    assert shown["Aliases"] == ["other"]
    assert shown["IPAMConfig"] == {"IPv4Address": "10.221.1.50"}
    # Among equal priorities the first name is the way out, and published ports follow.
    assert "via 10.221.1.1 dev eth1" in default()
    assert page() == "here"
    assert "10.221.1.50" in docker(engine, "exec", "mover", "cat", "/etc/hosts")
    inside = get(engine, "/networks/anet")["Containers"]
    assert [(one["Name"], one["IPv4Address"]) for one in inside.values()] == [
        ("mover", "10.221.1.50/24")
    ]
    again = refused(engine, "network", "connect", "anet", "mover")
    assert "endpoint with name mover already exists in network anet" in again
    assert "has active endpoints" in refused(engine, "network", "rm", "anet")
    docker(engine, "network", "disconnect", "anet", "mover")
    assert "via 10.221.2.1 dev eth0" in default()
    assert page() == "here"
    assert "10.221.1.50" not in docker(engine, "exec", "mover", "cat", "/etc/hosts")
    assert "is not connected to network anet" in refused(
        engine, "network", "disconnect", "anet", "mover"
    )
    docker(engine, "network", "connect", "--gw-priority", "-1", "anet", "mover")
    assert "via 10.221.2.1 dev eth0" in default()
    docker(engine, "network", "disconnect", "bnet", "mover")
    assert "via 10.221.1.1" in default()
    assert page() == "here"
    docker(engine, "network", "disconnect", "anet", "mover")
    assert default() == ""
    assert page() == ""
    docker(engine, "network", "connect", "bnet", "mover")
    assert page() == "here"


def test_connect_and_disconnect_while_stopped(engine: rig.Engine) -> None:
    create(engine, "cnet", IPAM={"Config": [{"Subnet": "10.221.3.0/24"}]})
    docker(engine, "create", "--name", "later", "busybox", "sleep", "600")
    docker(engine, "network", "connect", "--ip", "10.221.3.33", "cnet", "later")
    assert place(engine, "later", "cnet")["IPAMConfig"] == {"IPv4Address": "10.221.3.33"}
    assert place(engine, "later", "cnet")["IPAddress"] == ""
    docker(engine, "network", "disconnect", "bridge", "later")
    docker(engine, "start", "later")
    networks = get(engine, "/containers/later/json")["NetworkSettings"]["Networks"]
    assert list(networks) == ["cnet"]
    assert networks["cnet"]["IPAddress"] == "10.221.3.33"
    assert docker(engine, "exec", "later", "ls", "/sys/class/net").split() == ["eth0", "lo"]


def test_networks_that_cannot_be_together(engine: rig.Engine) -> None:
    create(engine, "dnet")
    sleeper(engine, "alone", "--network", "none")
    sleeper(engine, "guest", "--network", "host")
    sleeper(engine, "owner", "--network", "dnet")
    sleeper(engine, "sharer", "--network", "container:owner")
    assert "private (none) mode" in refused(engine, "network", "connect", "dnet", "alone")
    assert "host network" in refused(engine, "network", "connect", "dnet", "guest")
    assert "sharing network namespace" in refused(engine, "network", "connect", "dnet", "sharer")
    assert "No such container" in refused(engine, "network", "connect", "dnet", "nobody")
    assert "network nothing not found" in refused(engine, "network", "connect", "nothing", "owner")
    create(engine, "dnet2")
    assert "no configured subnet contains" in refused(
        engine, "network", "connect", "--ip", "1.2.3.4", "dnet2", "owner"
    )
    guests = get(engine, "/networks/host")["Containers"]
    assert [one["Name"] for one in guests.values()] == ["guest"]


def test_prune(engine: rig.Engine) -> None:
    create(engine, "used")
    create(engine, "stale", Labels={"keep": "no"})
    create(engine, "fresh", Labels={"keep": "yes"})
    docker(engine, "create", "--name", "idle", "--network", "used", "busybox")
    status, answer = post(engine, '/networks/prune?filters={"until":["24h"]}')
    assert (status, answer) == (200, {"NetworksDeleted": None})
    assert docker(engine, "network", "prune", "-f", "--filter", "label!=keep=yes").split()[-1] == (
        "stale"
    )
    assert engine.out("network", "prune", "-f").split()[-1] == "fresh"
    assert engine.out("network", "ls", "-q", "--filter", "type=custom").split() != []


def test_config_only_networks(engine: rig.Engine) -> None:
    docker(engine, "network", "create", "--config-only", "--subnet", "10.221.5.0/24", "conf")
    docker(engine, "network", "create", "--config-from", "conf", "derived")
    shown = get(engine, "/networks/derived")
    assert shown["ConfigFrom"] == {"Network": "conf"}
    assert shown["IPAM"]["Config"][0]["Subnet"] == "10.221.5.0/24"
    assert "in use by network derived" in refused(engine, "network", "rm", "conf")
    assert "configuration network" in refused(engine, "run", "--network", "conf", "busybox")
    docker(engine, "rm", "-f", docker(engine, "ps", "-aq"))
    docker(engine, "network", "rm", "derived", "conf")


def test_events(engine: rig.Engine) -> None:
    since = docker(engine, "info", "--format", "{{.SystemTime}}")
    docker(engine, "network", "create", "enet")
    docker(engine, "run", "--rm", "--network", "enet", "busybox", "true")
    docker(engine, "network", "rm", "enet")
    until = docker(engine, "info", "--format", "{{.SystemTime}}")
    shown = docker(engine, "events", "--since", since, "--until", until, "--filter", "type=network",
                   "--format", "{{.Action}} {{.Actor.Attributes.name}}")  # fmt: skip
    assert shown.splitlines() == ["create enet", "connect enet", "disconnect enet", "destroy enet"]


def test_an_exhausted_subnet_says_so(engine: rig.Engine) -> None:
    create(engine, "tiny", IPAM={"Config": [{"Subnet": "10.221.6.0/30"}]})
    sleeper(engine, "whole", "--network", "tiny")
    assert "no address is left in 10.221.6.0/30" in refused(
        engine, "run", "--rm", "--network", "tiny", "busybox", "true"
    )
    docker(engine, "rm", "-f", "whole")
    docker(engine, "run", "--rm", "--network", "tiny", "busybox", "true")


def test_networks_apart_and_internal_ones(engine: rig.Engine) -> None:
    create(engine, "left", IPAM={"Config": [{"Subnet": "10.221.7.0/24"}]})
    create(engine, "right", IPAM={"Config": [{"Subnet": "10.221.8.0/24"}]})
    create(engine, "inner", Internal=True, IPAM={"Config": [{"Subnet": "10.221.10.0/24"}]})
    where = {"l1": "left", "l2": "left", "r1": "right", "i1": "inner", "i2": "inner"}
    for name, network in where.items():
        sleeper(engine, name, "--network", network)

    def reaches(source: str, address: str) -> bool:
        return (
            engine.run("exec", source, "ping", "-c1", "-W1", address, check=False).returncode == 0
        )

    at = {name: place(engine, name, network)["IPAddress"] for name, network in where.items()}
    assert reaches("l1", at["l2"]) and reaches("i1", at["i2"])
    assert not reaches("l1", at["r1"]) and not reaches("r1", at["l1"])
    assert not reaches("l1", at["i1"]) and not reaches("i1", at["l1"])
    assert reaches("i1", "10.221.10.1")
    assert default_route(engine, "i1") == ""
    docker(engine, "exec", "--privileged", "i1", "ip", "route", "add", "default", "via",
           "10.221.10.1")  # fmt: skip
    assert not reaches("i1", at["l1"])
    assert not reaches("i1", "10.221.7.1")
    docker(engine, "network", "connect", "right", "l1")
    assert reaches("l1", at["r1"])


def test_networks_come_back_after_a_kill(engine: rig.Engine) -> None:
    create(engine, "lasting", EnableIPv6=True, IPAM={"Config": [{"Subnet": "10.221.11.0/24"}]})
    create(engine, "second")
    sleeper(engine, "stays", "--network", "lasting", "--network", "second", "-p", "28181:80")
    before = get(engine, "/networks/lasting")
    placed = get(engine, "/containers/stays/json")["NetworkSettings"]
    engine.end(9)
    engine.start()
    assert get(engine, "/networks/lasting") == before
    assert get(engine, "/containers/stays/json")["NetworkSettings"] == placed
    docker(engine, "network", "disconnect", "lasting", "stays")
    docker(engine, "exec", "stays", "ping", "-c1", "-W2",
           place(engine, "stays", "second")["Gateway"])  # fmt: skip
    assert docker(engine, "port", "stays") == "80/tcp -> 0.0.0.0:28181\n80/tcp -> [::]:28181"
    sleeper(engine, "newcomer", "--network", "lasting")
    docker(engine, "network", "rm", "-f", "nothing-there")
    docker(engine, "rm", "-f", "stays", "newcomer")
    docker(engine, "network", "rm", "lasting", "second")
    links = subprocess.run(["ip", "-br", "link"], capture_output=True, check=True).stdout.decode()
    assert f"br-{before['Id'][:12]}" not in links


def test_which_addresses_reach_a_port(engine: rig.Engine) -> None:
    create(engine, "seen", EnableIPv6=True, IPAM={"Config": [{"Subnet": "10.221.12.0/24"}]})
    sleeper(engine, "open", "--network", "seen", "-p", "28182:80", "-p", "127.0.0.1:28183:81")
    sleeper(engine, "shut")
    lines = engine.out("port", "--reachable", "open").splitlines()
    assert "80/tcp -> 127.0.0.1:28182 (lo)" in lines
    assert "81/tcp -> 127.0.0.1:28183 (lo)" in lines
    assert any(line.startswith("80/tcp -> ") and line.endswith("(eth0)") for line in lines)
    assert [line for line in lines if line.startswith("81/")] == ["81/tcp -> 127.0.0.1:28183 (lo)"]
    assert "80/tcp -> [::1]:28182 (lo)" in lines
    assert engine.out("port", "--reachable", "open", "81") == "81/tcp -> 127.0.0.1:28183 (lo)"
    shown = engine.out("ps", "--reachable").splitlines()
    assert "REACHABLE AT" in shown[0]
    assert "127.0.0.1:28183 (lo)->81/tcp" in next(line for line in shown if "open" in line)
    assert engine.out("ps", "--format", "{{.Reachable}}", "--filter", "name=shut") == ""
    # What others parse stays as it is.
    columns = ("ps", "--format", "table {{.ID}}\t{{.Names}}\t{{.Ports}}")
    assert engine.out(*columns) == docker(engine, *columns)
    assert engine.out("port", "open") == docker(engine, "port", "open")
    ways = get(engine, "/info")["Exposure"]
    assert {way["Port"] for way in ways} == {28182, 28183}
    route = json.loads(subprocess.run(["ip", "-j", "-4", "addr", "show", "eth0"],
                                      capture_output=True, check=True).stdout)  # fmt: skip
    address = route[0]["addr_info"][0]["local"]
    assert address in {way["Address"] for way in ways if way["Port"] == 28182}
