"""Containers find each other by name, whatever becomes of the engine or of the resolver."""

from __future__ import annotations

import contextlib
import os
import pathlib
import signal
import socket
import threading
import time
from collections.abc import Iterator

import dnslib
import pytest
from test_networks import DOCKER, create, docker, get, sleeper

import rig
from firkin.linux import netns

SERVER = ("127.0.0.11", 53)


def namespace(engine: rig.Engine, name: str) -> str:
    return str(get(engine, f"/containers/{name}/json")["NetworkSettings"]["SandboxKey"])


def query(
    path: str, name: str, kind: str = "A", *, tcp: bool = False, wait: float = 10
) -> dnslib.DNSRecord:
    """Ask a container's name server from within its namespace."""
    message = dnslib.DNSRecord.question(name, kind).pack()
    type_ = socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM
    with netns.within(path, lambda: socket.socket(socket.AF_INET, type_)) as one:
        one.settimeout(wait)
        one.connect(SERVER)
        if tcp:
            one.sendall(len(message).to_bytes(2, "big") + message)
            data = one.recv(65535)
            while len(data) < 2 or len(data) < 2 + int.from_bytes(data[:2], "big"):
                data += one.recv(65535)
            return dnslib.DNSRecord.parse(data[2:])
        one.send(message)
        return dnslib.DNSRecord.parse(one.recv(65535))


def found(path: str, name: str, kind: str = "A", **options: bool) -> list[str]:
    return [str(row.rdata) for row in query(path, name, kind, **options).rr]


@contextlib.contextmanager
def upstream(address: str, path: str = "/proc/self/ns/net") -> Iterator[list[str]]:
    """A name server that knows far.example and long.example; yields the questions it gets.

    It is the host's, or that of another namespace.
    """
    asked: list[str] = []

    def answer(message: bytes, limit: int) -> bytes:
        question = dnslib.DNSRecord.parse(message)
        asked.append(f"{question.q.qname}{'/tcp' if limit > 512 else ''}")
        reply = question.reply()
        if str(question.q.qname) == "far.example." and question.q.qtype == dnslib.QTYPE.A:
            reply.add_answer(dnslib.RR("far.example", rdata=dnslib.A("192.0.2.77")))
        elif str(question.q.qname) == "long.example.":
            for number in range(100):
                reply.add_answer(dnslib.RR("long.example", rdata=dnslib.A(f"192.0.2.{number}")))
        elif str(question.q.qname) != "far.example.":
            reply.header.rcode = dnslib.RCODE.NXDOMAIN
        packed = bytes(reply.pack())
        return packed if len(packed) <= limit else bytes(reply.truncate().pack())

    udp = netns.within(path, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    tcp = netns.within(path, lambda: socket.socket(socket.AF_INET, socket.SOCK_STREAM))
    tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    for one in (udp, tcp):
        one.bind((address, 53))
        one.settimeout(0.1)
    tcp.listen()
    stop = threading.Event()

    def serve() -> None:
        while not stop.is_set():
            with contextlib.suppress(TimeoutError):
                message, peer = udp.recvfrom(4096)
                udp.sendto(answer(message, 512), peer)
            with contextlib.suppress(TimeoutError):
                client, _ = tcp.accept()
                with client:
                    client.settimeout(2)
                    data = client.recv(4096)
                    packed = answer(data[2:], 65535)
                    client.sendall(len(packed).to_bytes(2, "big") + packed)

    thread = threading.Thread(target=serve)
    thread.start()
    try:
        yield asked
    finally:
        stop.set()
        thread.join()
        udp.close()
        tcp.close()


def test_names_aliases_ids_links_and_addresses(engine: rig.Engine) -> None:
    create(engine, "names", EnableIPv6=True, IPAM={"Config": [{"Subnet": "10.221.20.0/24"}]})
    create(engine, "other", IPAM={"Config": [{"Subnet": "10.221.21.0/24"}]})
    sleeper(engine, "web1", "--network", "names", "--network-alias", "web")
    sleeper(engine, "web2", "--network", "names", "--network-alias", "web", "--hostname", "host2")
    sleeper(engine, "user", "--network", "names", "--link", "web2:db")
    sleeper(engine, "apart", "--network", "other")
    user = namespace(engine, "user")
    short = docker(engine, "ps", "-q", "--filter", "name=web1")
    assert found(user, "web1") == found(user, short) == found(user, "WEB1") == ["10.221.20.2"]
    assert found(user, "host2") == found(user, "db") == found(user, "web2.names") == ["10.221.20.3"]
    firsts = {found(user, "web")[0] for _ in range(4)}
    assert firsts == {"10.221.20.2", "10.221.20.3"}
    assert found(user, "web1", tcp=True) == ["10.221.20.2"]
    assert found(user, "web1", "AAAA")[0].startswith("fd")
    assert found(user, "2.20.221.10.in-addr.arpa", "PTR") == ["web1.names."]
    assert query(user, "99.20.221.10.in-addr.arpa", "PTR").header.rcode == dnslib.RCODE.NXDOMAIN
    assert found(namespace(engine, "web1"), "user") == ["10.221.20.4"]
    apart = namespace(engine, "apart")
    assert query(apart, "apart", "AAAA").header.rcode == dnslib.RCODE.NOERROR
    assert found(apart, "apart", "AAAA") == []
    docker(engine, "network", "connect", "--alias", "guest", "names", "apart")
    assert found(user, "guest") == found(user, "apart") == ["10.221.20.5"]
    assert found(apart, "web1") == ["10.221.20.2"]
    docker(engine, "network", "disconnect", "names", "apart")
    docker(engine, "rename", "web1", "renamed")
    assert found(user, "renamed") == ["10.221.20.2"]
    docker(engine, "rm", "-f", "web2")
    assert found(user, "web") == ["10.221.20.2"]


def test_the_files_in_etc(engine: rig.Engine) -> None:
    create(engine, "files", IPAM={"Config": [{"Subnet": "10.221.22.0/24"}]})
    words = ("run", "--rm", "--network", "files", "--dns-search", "corp.example", "--dns-option",
             "timeout:1", "--add-host", "up:host-gateway", "--hostname", "me", "--domainname",
             "here.example", "busybox", "cat", "/etc/resolv.conf", "/etc/hosts")  # fmt: skip
    for client in (DOCKER, "firkin"):
        text = engine.out(*words, client=client)
        assert "nameserver 127.0.0.11\nsearch corp.example\noptions timeout:1 ndots:0" in text
        assert "10.221.22.1\tup" in text
        assert "\tme.here.example me" in text
    plain = docker(engine, "run", "--rm", "busybox", "cat", "/etc/resolv.conf")
    assert "127.0.0.11" not in plain


def test_a_container_may_be_a_name_server_itself(engine: rig.Engine) -> None:
    create(engine, "own", IPAM={"Config": [{"Subnet": "10.221.23.0/24"}]})
    sleeper(engine, "dnsd", "--network", "own")
    sleeper(engine, "asker", "--network", "own", "--dns", "10.221.23.2")
    asker, server = namespace(engine, "asker"), namespace(engine, "dnsd")
    with upstream("0.0.0.0", server) as asked:
        # Reached from the container's own network, by the resolver, which answers for containers.
        assert found(asker, "far.example") == ["192.0.2.77"]
        assert found(asker, "dnsd") == ["10.221.23.2"]
        assert found(server, "asker") == ["10.221.23.3"]
        assert asked == ["far.example."]


def test_names_outlive_the_engine_and_the_resolver(engine: rig.Engine) -> None:
    create(engine, "lasting", IPAM={"Config": [{"Subnet": "10.221.24.0/24"}]})
    sleeper(engine, "one", "--network", "lasting")
    sleeper(engine, "two", "--network", "lasting")
    path = namespace(engine, "one")

    def resolver() -> int:
        for entry in pathlib.Path("/proc").iterdir():
            with contextlib.suppress(OSError):
                words = (entry / "cmdline").read_bytes().split(b"\0")
                log = os.readlink(entry / "fd/1")
                if b"firkin.network.resolver.server" in words and str(engine.exec) in log:
                    return int(entry.name)
        raise AssertionError("no resolver")

    first = resolver()
    engine.end(signal.SIGKILL)
    assert found(path, "two") == ["10.221.24.3"]
    engine.start()
    assert resolver() == first
    assert found(path, "two") == ["10.221.24.3"]
    sleeper(engine, "three", "--network", "lasting")
    assert found(path, "three") == ["10.221.24.4"]
    os.kill(first, signal.SIGKILL)
    deadline = time.monotonic() + 30
    while True:
        with contextlib.suppress(OSError):
            if found(path, "three") == ["10.221.24.4"]:
                break
        assert time.monotonic() < deadline
        time.sleep(0.2)
    os.kill(resolver(), signal.SIGSTOP)
    stopped = resolver()
    os.kill(stopped, signal.SIGCONT)
    docker(engine, "rm", "-f", "three")
    assert found(path, "one") == ["10.221.24.2"]


def test_questions_for_others(tmp_path_factory: pytest.TempPathFactory) -> None:
    with upstream("127.0.0.77") as asked:
        made = rig.Engine(tmp_path_factory.mktemp("dns"), "fkun1")
        try:
            made.start("--dns", "127.0.0.77")
            made.add_busybox()
            create(made, "out", IPAM={"Config": [{"Subnet": "10.221.25.0/24"}]})
            create(made, "in", Internal=True, IPAM={"Config": [{"Subnet": "10.221.26.0/24"}]})
            sleeper(made, "goer", "--network", "out")
            sleeper(made, "stayer", "--network", "in")
            sleeper(made, "plain")
            goer = namespace(made, "goer")
            assert found(goer, "far.example") == ["192.0.2.77"]
            assert asked == ["far.example."]
            none = query(goer, "far.example", "AAAA")
            assert (none.header.rcode, none.rr) == (dnslib.RCODE.NOERROR, [])
            assert query(goer, "not.example").header.rcode == dnslib.RCODE.NXDOMAIN
            assert query(goer, "long.example").header.tc == 1
            assert len(found(goer, "long.example", tcp=True)) == 100
            assert asked[-1] == "long.example./tcp"
            # On the default network too, when the host's servers are on its loopback only.
            assert "nameserver 127.0.0.11" in docker(
                made, "exec", "plain", "cat", "/etc/resolv.conf"
            )
            assert found(namespace(made, "plain"), "far.example") == ["192.0.2.77"]
            assert query(namespace(made, "plain"), "goer").header.rcode == dnslib.RCODE.NXDOMAIN
            before = len(asked)
            stayer = namespace(made, "stayer")
            assert query(stayer, "far.example").header.rcode == dnslib.RCODE.NXDOMAIN
            assert len(asked) == before
        finally:
            if made.process and made.process.poll() is None:
                made.run("rm", "-f", *made.out("ps", "-aq").split())
                made.run("network", "prune", "-f")
                made.end()
            rig.clear(made)


def test_five_thousand_questions(engine: rig.Engine) -> None:
    create(engine, "busy", IPAM={"Config": [{"Subnet": "10.221.27.0/24"}]})
    sleeper(engine, "loud", "--network", "busy")
    path = namespace(engine, "loud")
    query(path, "loud")
    kinds = ("A", "AAAA")
    messages = [bytes(dnslib.DNSRecord.question("loud", kind).pack()) for kind in kinds]
    with netns.within(path, lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM)) as one:
        one.settimeout(10)
        one.connect(SERVER)
        begin = time.perf_counter()
        for number in range(250):
            for offset in range(20):
                identity = (number * 20 + offset).to_bytes(2, "big")
                one.send(identity + messages[offset % 2][2:])
            for _ in range(20):
                answer = one.recv(512)
                assert answer[3] & 0x0F == 0
        print(f"5000 questions in {time.perf_counter() - begin:.2f} s")
