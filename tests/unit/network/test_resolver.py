"""Containers' names as DNS answers; no sockets, no root."""

from __future__ import annotations

import dnslib
import pytest
from hypothesis import given
from hypothesis import strategies as st

from firkin.network.resolver import answers, protocol, zone


def member(network: str, *names: str, ipv4: str = "", ipv6: str = "", **links: str):  # type: ignore[no-untyped-def]
    return protocol.Membership(
        network=network, network_name=network + "net", names=names, ipv4=ipv4, ipv6=ipv6,
        links=links, subnets=("10.9.0.0/24", "fd00:9::/64"),
    )  # fmt: skip


WEB1 = protocol.Client(id="w1", netns="", members=(member("a", "web1", "web", ipv4="10.9.0.2"),))
WEB2 = protocol.Client(
    id="w2", netns="", members=(member("a", "Web2", "web", ipv4="10.9.0.3", ipv6="fd00:9::3"),)
)
APP = protocol.Client(
    id="app", netns="",
    members=(member("b", "app", "web", ipv4="10.8.0.2"), member("a", "app", ipv4="10.9.0.4",
                                                                 db="web2")),
)  # fmt: skip
ALONE = protocol.Client(id="alone", netns="", members=(member("c", "alone", ipv4="10.7.0.2"),))


@pytest.fixture
def names() -> zone.Zone:
    made = zone.Zone()
    for client in (WEB1, WEB2, APP, ALONE):
        made.put(client)
    return made


def ask(names: zone.Zone, client: protocol.Client, name: str, kind: str = "A"):  # type: ignore[no-untyped-def]
    """What each of the answers that take turns says: its code and its data, or None."""
    query = dnslib.DNSRecord.question(name, kind).pack()
    found = answers.Question(query).local(names, client)
    if found is None:
        return None
    records = [dnslib.DNSRecord.parse(one) for one in found]
    return [(record.header.rcode, [str(row.rdata) for row in record.rr]) for record in records]


def test_names_are_those_of_the_own_networks(names: zone.Zone) -> None:
    assert ask(names, WEB1, "web2") == [(0, ["10.9.0.3"])]
    assert ask(names, WEB1, "WEB2.") == [(0, ["10.9.0.3"])]
    assert ask(names, WEB1, "web2.anet") == [(0, ["10.9.0.3"])]
    assert ask(names, ALONE, "web2") is None
    assert ask(names, ALONE, "alone") == [(0, ["10.7.0.2"])]
    assert ask(names, WEB1, "web2.bnet") is None


def test_several_containers_of_one_name_take_turns(names: zone.Zone) -> None:
    assert ask(names, WEB1, "web") == [
        (0, ["10.9.0.2", "10.9.0.3"]), (0, ["10.9.0.3", "10.9.0.2"]),
    ]  # fmt: skip


def test_the_first_network_that_has_a_name_answers(names: zone.Zone) -> None:
    assert ask(names, APP, "web") == [(0, ["10.8.0.2"])]
    assert ask(names, APP, "web1") == [(0, ["10.9.0.2"])]


def test_links_are_names_for_one_container_only(names: zone.Zone) -> None:
    assert ask(names, APP, "db") == [(0, ["10.9.0.3"])]
    assert ask(names, WEB1, "db") is None


def test_no_address_of_a_kind_is_no_missing_name(names: zone.Zone) -> None:
    assert ask(names, WEB1, "web1", "AAAA") == [(0, [])]
    assert ask(names, WEB1, "web2", "AAAA") == [(0, ["fd00:9::3"])]
    assert ask(names, WEB1, "web2", "MX") == [(0, [])]
    assert ask(names, WEB1, "web3", "AAAA") is None


def test_names_of_addresses(names: zone.Zone) -> None:
    assert ask(names, WEB1, "3.0.9.10.in-addr.arpa", "PTR") == [(0, ["Web2.anet."])]
    reversed_name = ".".join(reversed("fd0000090000000000000000000000" + "03")) + ".ip6.arpa"
    assert ask(names, WEB1, reversed_name, "PTR") == [(0, ["Web2.anet."])]
    assert ask(names, WEB1, "77.0.9.10.in-addr.arpa", "PTR") == [(dnslib.RCODE.NXDOMAIN, [])]
    assert ask(names, WEB1, "1.1.1.1.in-addr.arpa", "PTR") is None
    assert ask(names, WEB1, "x.y.in-addr.arpa", "PTR") is None


def test_who_is_gone_has_no_name(names: zone.Zone) -> None:
    names.drop("w2")
    names.drop("w2")
    assert ask(names, WEB1, "web") == [(0, ["10.9.0.2"])]
    assert ask(names, WEB1, "web2") is None
    names.put(WEB2)
    names.put(WEB2)
    assert len(ask(names, WEB1, "web")) == 2


def test_messages_that_are_no_questions(names: zone.Zone) -> None:
    query = bytearray(dnslib.DNSRecord.question("web1").pack())
    with pytest.raises(answers.Malformed):
        answers.Question(bytes(query[:11]))
    answer = bytearray(query)
    answer[2] |= 0x80
    with pytest.raises(answers.Malformed):
        answers.Question(bytes(answer))
    query[2] |= 0x10  # opcode 2
    found = answers.Question(bytes(query)).local(names, WEB1)
    assert found and dnslib.DNSRecord.parse(found[0]).header.rcode == dnslib.RCODE.NOTIMP
    torn = answers.Question(bytes(query[:-3])).local(names, WEB1)
    assert torn and dnslib.DNSRecord.parse(torn[0]).header.rcode == dnslib.RCODE.FORMERR


@given(st.binary(max_size=80))
def test_hostile_bytes_never_break_it(data: bytes) -> None:
    names = zone.Zone()
    names.put(WEB1)
    for message in (data, b"\0\1\1\0\0\1\0\0\0\0\0\0" + data):
        try:
            found = answers.Question(message).local(names, WEB1)
        except answers.Malformed:
            continue
        for one in found or ():
            dnslib.DNSRecord.parse(one)


def test_long_answers_are_truncated_over_udp() -> None:
    names = zone.Zone()
    for number in range(100):
        one = member("a", f"n{number}", "many", ipv4=f"10.9.0.{number + 2}")
        names.put(protocol.Client(id=str(number), netns="", members=(one,)))
    client = protocol.Client(id="c", netns="", members=(member("a", "c", ipv4="10.9.0.200"),))
    names.put(client)
    question = answers.Question(dnslib.DNSRecord.question("many").pack())
    whole = question.local(names, client)
    assert whole and len(whole[0]) > question.size == answers.PLAIN_SIZE
    short = dnslib.DNSRecord.parse(answers.truncated(whole[0]))
    assert short.header.tc == 1 and not short.rr and str(short.q.qname) == "many."


def test_answers_of_others_must_fit_the_question() -> None:
    query = dnslib.DNSRecord.question("a.example")
    good = query.reply()
    good.add_answer(dnslib.RR("a.example", rdata=dnslib.A("1.2.3.4")))
    assert answers.same_question(query.pack(), good.pack())
    assert answers.same_question(
        query.pack(), dnslib.DNSRecord.question("A.example").reply().pack()
    )
    assert not answers.same_question(
        query.pack(), dnslib.DNSRecord.question("b.example").reply().pack()
    )
    assert not answers.same_question(query.pack(), query.pack())
