"""The firewall's text: what is an element of what, and what can never get into it."""

from __future__ import annotations

import ipaddress
import re

import pytest

from firkin import errdefs
from firkin.network import ruleset

SUBNETS = (ipaddress.IPv4Network("10.9.0.0/24"),)
NETWORK = ruleset.Network(bridge="br-0", subnets=SUBNETS, masquerade=SUBNETS)


def redirect(host_ip: str = "0.0.0.0", proto: str = "tcp", port: int = 8080) -> ruleset.Redirect:
    return ruleset.Redirect(
        proto=proto,
        host_ip=ipaddress.IPv4Address(host_ip),
        host_port=port,
        container_ip=ipaddress.IPv4Address("10.9.0.2"),
        container_port=80,
    )


def elements(text: str, name: str) -> list[str]:
    """The elements of one set or map of a whole ruleset."""
    match = re.search(rf"(?:set|map) {name} \{{(.*?)\n    (?:set|map|\n|chain|\}})", text, re.S)
    assert match, name
    found = re.search(r"elements = \{ (.*?) \};", match.group(1))
    return found.group(1).split(", ") if found else []


def test_each_redirect_is_in_the_map_of_its_host_address() -> None:
    text = ruleset.whole(
        "t", [NETWORK], [redirect(), redirect("127.0.0.1", port=1), redirect("192.0.2.1", "udp")]
    )
    assert elements(text, "everywhere") == ["tcp . 8080 : 10.9.0.2 . 80"]
    assert elements(text, "on_loopback") == ["127.0.0.1 . tcp . 1 : 10.9.0.2 . 80"]
    assert elements(text, "on_address") == ["192.0.2.1 . udp . 8080 : 10.9.0.2 . 80"]


def test_packets_from_outside_never_see_the_loopback_map() -> None:
    text = ruleset.whole("t", [NETWORK], [])
    chains = dict(re.findall(r"chain (\w+) \{(.*?)\n    \}", text, re.S))
    assert "@on_loopback" in chains["output"]
    assert "ip daddr != 127.0.0.0/8 jump published" in chains["prerouting"]
    assert "@on_loopback" not in chains["prerouting"] + chains["published"]


def test_networks_are_elements() -> None:
    other = (ipaddress.IPv4Network("10.8.0.0/24"),)
    private = ruleset.Network(bridge="br-1", subnets=other, icc=False)
    text = ruleset.whole("t", [NETWORK, private], [])
    assert elements(text, "bridges") == ['"br-0"', '"br-1"']
    assert elements(text, "subnets") == ["10.8.0.0/24", "10.9.0.0/24"]
    assert elements(text, "outgoing") == ["10.9.0.0/24"]
    assert elements(text, "icc") == ['"br-0" . "br-0"']


def test_the_table_is_replaced_in_one_transaction() -> None:
    lines = ruleset.whole("t", [], []).strip().splitlines()
    assert lines[:3] == ["table inet t", "delete table inet t", "table inet t {"]


def test_changes_are_elements_only() -> None:
    both = [redirect(), redirect("127.0.0.1", "udp", 53)]
    assert ruleset.publish("t", both).splitlines() == [
        "add element inet t everywhere { tcp . 8080 : 10.9.0.2 . 80 }",
        "add element inet t on_loopback { 127.0.0.1 . udp . 53 : 10.9.0.2 . 80 }",
    ]
    assert ruleset.withdraw("t", both).splitlines() == [
        "delete element inet t everywhere { tcp . 8080 }",
        "delete element inet t on_loopback { 127.0.0.1 . udp . 53 }",
    ]


def test_a_protocol_without_ports_is_refused() -> None:
    with pytest.raises(errdefs.InvalidParameter, match="icmp"):
        ruleset.publish("t", [redirect(proto="icmp")])


@pytest.mark.parametrize("name", ["", "a b", "a;b", "1a", "a{", "é", "x" * 64, "a\n"])
def test_table_names(name: str) -> None:
    ruleset.check_table("firkin-test")
    with pytest.raises(errdefs.InvalidParameter, match="firewall table"):
        ruleset.check_table(name)
