"""Host ports held by real sockets; no root needed."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator

import pytest

from firkin import errdefs
from firkin.network import portmapper
from firkin.types.network import PublishedPort

LOOPBACK = "127.0.0.1"


def port(number: int, end: int = 0, proto: str = "tcp", ip: str = LOOPBACK) -> PublishedPort:
    return PublishedPort(
        proto=proto, container_port=80, host_ip=ip, host_port=number, host_port_end=end
    )


def free_run(count: int) -> int:
    """The first of ``count`` neighbouring ports that nobody uses at the moment."""
    for first in range(21000, 29000, count):
        with contextlib.ExitStack() as stack, contextlib.suppress(OSError):
            for number in range(first, first + count):
                for kind in (socket.SOCK_STREAM, socket.SOCK_DGRAM):
                    one = stack.enter_context(socket.socket(socket.AF_INET, kind))
                    one.bind(("0.0.0.0", number))
            return first
    raise AssertionError("no free ports")


@pytest.fixture
def mapper() -> Iterator[portmapper.PortMapper]:
    made = portmapper.PortMapper()
    yield made
    made.close()


@pytest.mark.parametrize("proto", ["tcp", "udp"])
@pytest.mark.parametrize("reuse", [0, 1])
def test_a_held_port_is_nobody_elses(mapper: portmapper.PortMapper, proto: str, reuse: int) -> None:
    (held,) = mapper.reserve("a", [port(0, proto=proto)])
    kind = socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM
    for address in (LOOPBACK, "0.0.0.0"):
        with socket.socket(socket.AF_INET, kind) as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, reuse)
            with pytest.raises(OSError, match="in use"):
                other.bind((address, held.host_port))
    with pytest.raises(portmapper.InUse, match=r"^Bind for .* failed: port is already") as failed:
        mapper.reserve("b", [port(held.host_port, proto=proto)])
    assert (failed.value.proto, failed.value.holder) == (proto, "a")
    mapper.release("a")
    mapper.reserve("b", [port(held.host_port, proto=proto)])


def test_a_held_tcp_port_refuses_connections(mapper: portmapper.PortMapper) -> None:
    (held,) = mapper.reserve("a", [port(0)])
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((LOOPBACK, held.host_port), 2)


def test_a_held_udp_port_keeps_nothing(mapper: portmapper.PortMapper) -> None:
    (held,) = mapper.reserve("a", [port(0, proto="udp")])
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as client:
        client.sendto(b"x", (LOOPBACK, held.host_port))
    (deaf,) = mapper._held["a"].values()
    deaf.setblocking(False)
    with pytest.raises(BlockingIOError):
        deaf.recv(10)


def test_a_port_whose_former_connections_are_closing_can_be_taken(
    mapper: portmapper.PortMapper,
) -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((LOOPBACK, 0))
        server.listen()
        number = server.getsockname()[1]
        client = socket.create_connection((LOOPBACK, number))
        served, _ = server.accept()
        served.close()  # the side that closes first is left in TIME_WAIT
        client.close()
    with socket.socket() as naive, pytest.raises(OSError, match="in use"):
        naive.bind((LOOPBACK, number))
    assert mapper.reserve("a", [port(number)]) == (port(number),)
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((LOOPBACK, number), 2)
    with socket.socket() as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        with pytest.raises(OSError, match="in use"):
            other.bind((LOOPBACK, number))
            other.listen()


def test_a_foreign_listener_is_nobodys_container(mapper: portmapper.PortMapper) -> None:
    with socket.socket() as server:
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        server.bind((LOOPBACK, 0))
        server.listen()
        number = server.getsockname()[1]
        with pytest.raises(portmapper.InUse) as failed:
            mapper.reserve("a", [port(number)])
        assert (failed.value.number, failed.value.holder) == (number, "")


def test_all_or_none(mapper: portmapper.PortMapper) -> None:
    first = free_run(3)
    mapper.reserve("a", [port(first + 2)])
    with pytest.raises(errdefs.System):
        mapper.reserve("b", [port(first), port(first + 1), port(first + 2)])
    assert mapper.reserve("c", [port(first)]) == (port(first),)


def test_the_same_port_twice(mapper: portmapper.PortMapper) -> None:
    number = free_run(1)
    with pytest.raises(portmapper.InUse) as failed:
        mapper.reserve("a", [port(number, ip=""), port(number)])
    assert failed.value.holder == "a"
    mapper.reserve("b", [port(number)])


def test_a_range_gives_its_first_free_port(mapper: portmapper.PortMapper) -> None:
    first = free_run(3)
    mapper.reserve("a", [port(first)])
    results = mapper.reserve("b", [port(first, first + 2), port(first + 1)])
    assert [one.host_port for one in results] == [first + 2, first + 1]
    assert all(one.host_port_end == 0 for one in results)
    with pytest.raises(errdefs.System, match=f"{first}-{first + 2} failed: port is already"):
        mapper.reserve("c", [port(first, first + 2)])


def test_a_random_port_lies_in_the_kernels_range(mapper: portmapper.PortMapper) -> None:
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as file:
        low, high = map(int, file.read().split())
    results = mapper.reserve("a", [port(0, ip="") for _ in range(5)])
    assert len({one.host_port for one in results}) == 5
    assert all(low <= one.host_port <= high for one in results)


def test_both_versions_by_the_same_number(mapper: portmapper.PortMapper) -> None:
    both = {"tcp": (4, 6), "sctp": (4,)}
    results = mapper.reserve("a", [port(0, ip="")], both)
    assert [one.host_ip for one in results] == ["", "::"]
    assert len({one.host_port for one in results}) == 1
    with pytest.raises(portmapper.InUse) as failed:
        mapper.reserve("b", [port(results[0].host_port, ip="::1")])
    assert failed.value.holder == "a"


def test_a_socket_that_the_relay_kept_is_held_again(mapper: portmapper.PortMapper) -> None:
    (held,) = mapper.reserve("a", [port(0, proto="udp", ip="::1")])
    key = ("udp", "::1", held.host_port)
    kept = mapper.hearing("a", key)
    assert kept is not None
    again = portmapper.PortMapper()
    again.restore("a", [held], {key: kept.dup()})
    mapper.release("a")
    with pytest.raises(portmapper.InUse):
        mapper.reserve("b", [held])
    again.close()


def test_same_number_for_tcp_and_udp(mapper: portmapper.PortMapper) -> None:
    first = free_run(1)
    mapper.reserve("a", [port(first), port(first, proto="udp")])


def test_an_address_that_is_not_ours(mapper: portmapper.PortMapper) -> None:
    with pytest.raises(errdefs.System, match=r"198\.51\.100\.7 is not an address of this host"):
        mapper.reserve("a", [port(0, ip="198.51.100.7")])


@pytest.mark.parametrize(
    ("wrong", "kind"),
    [
        (port(70000), errdefs.InvalidParameter),
        (port(-1), errdefs.InvalidParameter),
        (port(90, 80), errdefs.InvalidParameter),
        (port(0, 80), errdefs.InvalidParameter),
        (port(80, proto="icmp"), errdefs.InvalidParameter),
        (port(80, ip="not.an.address"), errdefs.InvalidParameter),
        (port(80, ip="224.0.0.1"), errdefs.InvalidParameter),
        (port(80, ip="fe80::1"), errdefs.InvalidParameter),
        (PublishedPort(proto="tcp", container_port=0), errdefs.InvalidParameter),
    ],
)
def test_impossible_requests(
    mapper: portmapper.PortMapper, wrong: PublishedPort, kind: type[Exception]
) -> None:
    with pytest.raises(kind, match="cannot publish"):
        mapper.reserve("a", [port(0), wrong])
    assert not mapper._held.get("a")


def test_restoring_a_port_that_was_taken_is_logged_not_fatal(
    mapper: portmapper.PortMapper, caplog: pytest.LogCaptureFixture
) -> None:
    with socket.socket() as server:
        server.bind((LOOPBACK, 0))
        server.listen()
        number = server.getsockname()[1]
        mapper.restore("a", [port(number), port(0)], {})
    assert f"port {number}/tcp still leads to container" in caplog.text
    assert len(mapper._held["a"]) == 1
