"""Who reaches a container, and whom it reaches: real packets between real namespaces."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable

import pytest
from netlab import (
    HOST_ADDRESS,
    NEIGHBOUR_ADDRESS,
    NOT,
    WAIT,
    Engine,
    Host,
    command,
)

from firkin.types.network import Endpoint, EndpointRequest, JoinRequest, PublishedPort

PORTS = (
    PublishedPort(proto="tcp", container_port=80, host_port=28080),
    PublishedPort(proto="udp", container_port=53, host_port=28053),
    PublishedPort(proto="tcp", container_port=81, host_port=28081, host_ip="127.0.0.1"),
    PublishedPort(proto="udp", container_port=54, host_port=28054, host_ip="127.0.0.1"),
    PublishedPort(proto="tcp", container_port=82, host_port=28082, host_ip=HOST_ADDRESS),
)


class World:
    """A container with published ports, another without, the host and a neighbour."""

    def __init__(self, neighbour: Host, endpoint: Endpoint, other: Endpoint) -> None:
        self.address = endpoint.ipv4_address
        self.gateway = endpoint.gateway
        self.other_address = other.ipv4_address
        self.container = Host(endpoint.netns)
        self.other = Host(other.netns)
        self.host = Host("")
        self.neighbour = neighbour

    def close(self) -> None:
        for one in (self.container, self.other, self.host):
            one.close()


def request(container: str, *ports: PublishedPort) -> JoinRequest:
    return JoinRequest(
        container_id=container, endpoints=(EndpointRequest(network="bridge"),), ports=ports
    )


async def ask(where: Host, *words: object, **options: object) -> str:
    work: Callable[..., str] = where.ask
    return await asyncio.to_thread(work, *words, **options)


@pytest.fixture
async def world(engine: Engine, neighbour: Host) -> AsyncIterator[World]:
    controller = await engine.start()
    bridge = (EndpointRequest(network="bridge"),)
    (endpoint,) = await controller.join(
        JoinRequest(container_id="c1", endpoints=bridge, ports=PORTS)
    )
    (other,) = await controller.join(JoinRequest(container_id="c2", endpoints=bridge))
    made = World(neighbour, endpoint, other)
    for port in (80, 81, 82, 90):
        made.container.serve("tcp", port, f"tcp{port}")
    for port in (53, 54):
        made.container.serve("udp", port, f"udp{port}")
    yield made
    made.close()
    await controller.release("c1")
    await controller.release("c2")


@pytest.mark.parametrize(
    ("proto", "port", "name"), [("tcp", 28080, "tcp80"), ("udp", 28053, "udp53")]
)
async def test_published_everywhere(world: World, proto: str, port: int, name: str) -> None:
    places = {
        "host by loopback": (world.host, "127.0.0.1"),
        "host by another loopback": (world.host, "127.0.0.2"),
        "host by its own address": (world.host, HOST_ADDRESS),
        "host by the gateway": (world.host, world.gateway),
        "the other container": (world.other, HOST_ADDRESS),
        "the other by the gateway": (world.other, world.gateway),
        "itself": (world.container, HOST_ADDRESS),
        "itself by the gateway": (world.container, world.gateway),
        "the neighbour": (world.neighbour, HOST_ADDRESS),
    }
    answers = {}
    for place, (where, address) in places.items():
        answers[place] = (await ask(where, proto, address, port)).split()[0]
    assert answers == dict.fromkeys(places, name)


async def test_the_neighbours_address_is_seen(world: World) -> None:
    assert await ask(world.neighbour, "tcp", HOST_ADDRESS, 28080) == f"tcp80 {NEIGHBOUR_ADDRESS}"


async def test_published_on_one_address(world: World) -> None:
    assert (await ask(world.neighbour, "tcp", HOST_ADDRESS, 28082)).startswith("tcp82")
    assert (await ask(world.host, "tcp", HOST_ADDRESS, 28082)).startswith("tcp82")
    assert (await ask(world.other, "tcp", HOST_ADDRESS, 28082)).startswith("tcp82")
    assert await ask(world.host, "tcp", "127.0.0.1", 28082) == "refused"
    assert await ask(world.other, "tcp", world.gateway, 28082) == "refused"


async def test_published_on_loopback_is_for_the_host_only(world: World) -> None:
    assert (await ask(world.host, "tcp", "127.0.0.1", 28081)).startswith("tcp81")
    assert (await ask(world.host, "udp", "127.0.0.1", 28054)).startswith("udp54")
    for where in (world.neighbour, world.other):
        assert await ask(where, "tcp", HOST_ADDRESS, 28081) == "refused"
    # On the wire: packets for 127.0.0.1 sent to this host as to a router.
    route_loopback(world.neighbour, HOST_ADDRESS)
    route_loopback(world.other, world.gateway)
    for where in (world.neighbour, world.other):
        for port in (28081, 28080):
            assert await ask(where, "tcp", "127.0.0.1", port, wait=NOT) == "silence"


def route_loopback(where: Host, gateway: str) -> None:
    """Make the namespace send packets for 127.0.0.1 out to its gateway."""
    inside = ("nsenter", f"--net={where.path}")
    device = "wire0" if gateway == HOST_ADDRESS else "eth0"
    setting = f"echo 1 > /proc/sys/net/ipv4/conf/{device}/route_localnet"
    command(*inside, "sh", "-c", setting)
    command(*inside, "ip", "addr", "del", "127.0.0.1/8", "dev", "lo")
    command(*inside, "ip", "route", "add", "127.0.0.0/8", "via", gateway, "dev", device)


async def test_services_on_the_hosts_loopback_stay_private(world: World) -> None:
    world.host.serve("tcp", 28099, "secret", "127.0.0.1")
    assert (await ask(world.host, "tcp", "127.0.0.1", 28099)).startswith("secret")
    assert await ask(world.other, "tcp", world.gateway, 28099) == "refused"
    route_loopback(world.other, world.gateway)
    assert await ask(world.other, "tcp", "127.0.0.1", 28099, wait=NOT) == "silence"


async def test_a_container_cannot_pose_as_the_hosts_loopback(world: World) -> None:
    command(
        "nsenter", f"--net={world.other.path}",
        "sh", "-c", "echo 1 > /proc/sys/net/ipv4/conf/eth0/route_localnet",
    )  # fmt: skip
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as trusting:
        trusting.bind(("0.0.0.0", 28098))
        trusting.settimeout(NOT)
        assert await ask(world.other, "udp", world.gateway, 28098, wait=NOT) == "silence"
        assert trusting.recvfrom(10)[1][0] == world.other_address
        # The kernel itself refuses 127.0.0.1 as a source, because an interface has that address.
        await ask(world.other, "udp", world.gateway, 28098, source="127.0.0.2", wait=NOT)
        with pytest.raises(TimeoutError):
            trusting.recvfrom(10)


async def test_unpublished_ports_are_closed_to_neighbours(world: World) -> None:
    subnet = f"{world.address.rsplit('.', 1)[0]}.0/24"
    command("nsenter", f"--net={world.neighbour.path}", "ip", "route", "add", subnet, "via",
            HOST_ADDRESS)  # fmt: skip
    for port in (80, 81, 90):
        assert await ask(world.neighbour, "tcp", world.address, port, wait=NOT) == "silence"
    assert (await ask(world.host, "tcp", world.address, 90)).startswith("tcp90")
    assert await ask(world.other, "tcp", world.address, 90) == f"tcp90 {world.other_address}"


async def test_the_way_out_is_under_the_hosts_address(world: World) -> None:
    world.neighbour.serve("tcp", 7000, "outside")
    world.neighbour.serve("udp", 7000, "outside")
    for proto in ("tcp", "udp"):
        answer = await ask(world.other, proto, NEIGHBOUR_ADDRESS, 7000)
        assert answer == f"outside {HOST_ADDRESS}"


async def test_udp_senders_that_never_pause_follow(engine: Engine, neighbour: Host) -> None:
    controller = await engine.start()
    sender = neighbour.run(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    with sender:
        sender.settimeout(WAIT)
        for _ in range(3):
            # Between containers the host itself gets the packets, and they are tracked so.
            sender.sendto(b"?", (HOST_ADDRESS, 28053))
            (endpoint,) = await controller.join(request("c1", *PORTS[1:2]))
            container = Host(endpoint.netns)
            container.serve("udp", 53, endpoint.ipv4_address)
            try:
                sender.sendto(b"?", (HOST_ADDRESS, 28053))
                answer, _ = await asyncio.to_thread(sender.recvfrom, 100)
            finally:
                container.close()
            assert answer.decode() == f"{endpoint.ipv4_address} {NEIGHBOUR_ADDRESS}"
            await controller.release("c1")


async def test_ports_end_with_the_container(engine: Engine, neighbour: Host) -> None:
    controller = await engine.start()
    wanted = request("c1", *PORTS[:2])
    for _ in range(2):
        (endpoint,) = await controller.join(wanted)
        container = Host(endpoint.netns)
        container.serve("tcp", 80, "tcp80")
        try:
            assert (await ask(neighbour, "tcp", HOST_ADDRESS, 28080)).startswith("tcp80")
        finally:
            container.close()
        await controller.release("c1")
        assert await ask(neighbour, "tcp", HOST_ADDRESS, 28080) == "refused"


async def test_a_flushed_firewall_is_put_back(engine: Engine, neighbour: Host) -> None:
    controller = await engine.start()
    (first,) = await controller.join(request("c1", *PORTS[:1]))
    command("nft", "delete", "table", "inet", "firkin-test")
    await controller.join(request("c2", *PORTS[1:2]))
    container = Host(first.netns)
    container.serve("tcp", 80, "tcp80")
    try:
        assert (await ask(neighbour, "tcp", HOST_ADDRESS, 28080)).startswith("tcp80")
    finally:
        container.close()
    command("nft", "delete", "table", "inet", "firkin-test")
    await controller.release("c2")
    assert "28080" in command("nft", "list", "table", "inet", "firkin-test")
    assert "28053" not in command("nft", "list", "table", "inet", "firkin-test")
