"""Who reaches ports that are published by IPv6: real packets between real namespaces.

One container has both kinds of addresses and is reached through the firewall; the other has IPv4
alone and is reached through the relay. ``::1`` leads through the relay to both.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import socket
from collections.abc import AsyncIterator

import pytest
from netlab import (
    HOST_ADDRESS,
    HOST_ADDRESS6,
    NEIGHBOUR_ADDRESS6,
    NOT,
    OTHERS,
    TABLE,
    WAIT,
    Engine,
    Host,
    command,
)
from test_reach import ask

import rig
from firkin import errdefs
from firkin.network import controller as controllers
from firkin.types.network import (
    IPAM,
    CreateRequest,
    EndpointRequest,
    IPAMPool,
    JoinRequest,
    PublishedPort,
)

SUBNET6 = "fd5f:77:2::/64"
PROTOS = ("tcp", "udp")


def ports(first: int, *protos: str) -> tuple[PublishedPort, ...]:
    """On every address, on ::1 and on the host's address, from three host ports."""
    return tuple(
        PublishedPort(proto=proto, container_port=80, host_port=first + number, host_ip=address)
        for number, address in enumerate(("", "::1", HOST_ADDRESS6))
        for proto in protos
    )


def six() -> CreateRequest:
    """A network with both kinds of addresses."""
    pools = [IPAMPool(subnet="10.214.78.0/24"), IPAMPool(subnet=SUBNET6)]
    return CreateRequest(
        name="six",
        enable_ipv6=True,
        ipam=IPAM(driver="", config=pools),
        options={"com.docker.network.bridge.name": OTHERS[0]},
    )


class World:
    """A container with IPv6, one without, and the addresses by which all are reached."""

    def __init__(self, controller: controllers.Controller, neighbour: Host) -> None:
        self.controller = controller
        self.neighbour = neighbour
        self.host = Host("")
        self.dual = Host("")
        self.single = Host("")
        self.bridge = ""
        self.first = {"dual": 28100, "single": 28110}

    def close(self) -> None:
        for one in (self.host, self.dual, self.single):
            one.close()


@pytest.fixture
async def world(engine: Engine, neighbour: Host) -> AsyncIterator[World]:
    controller = await engine.start()
    made = World(controller, neighbour)
    await controller.create(six())
    for name, network in (("dual", "six"), ("single", "bridge")):
        (endpoint,) = await controller.join(
            JoinRequest(
                container_id=name,
                names=(name,),
                endpoints=(EndpointRequest(network=network),),
                ports=ports(made.first[name], *PROTOS),
            )
        )
        inside = Host(endpoint.netns)
        setattr(made, name, inside)
        made.bridge = made.bridge or endpoint.ipv6_gateway
        for proto in PROTOS:
            inside.serve(proto, 80, name, "0.0.0.0")
            if network == "six":
                inside.serve(proto, 80, name, "::")
    yield made
    made.close()
    await made.controller.release("dual")
    await made.controller.release("single")
    await made.controller.remove("six")


@pytest.mark.parametrize("name", ["dual", "single"])
@pytest.mark.parametrize("proto", PROTOS)
async def test_who_reaches_which_port(world: World, proto: str, name: str) -> None:
    first = world.first[name]
    places = {
        ("host by loopback", 0): (world.host, "::1"),
        ("host by its address", 0): (world.host, HOST_ADDRESS6),
        ("host by a bridge", 0): (world.host, world.bridge),
        ("neighbour", 0): (world.neighbour, HOST_ADDRESS6),
        ("the other container", 0): (world.dual, HOST_ADDRESS6),
        ("the other by the gateway", 0): (world.dual, world.bridge),
        ("host by loopback", 1): (world.host, "::1"),
        ("host by its address", 2): (world.host, HOST_ADDRESS6),
        ("neighbour", 2): (world.neighbour, HOST_ADDRESS6),
        ("the other container", 2): (world.dual, HOST_ADDRESS6),
    }
    answers = {}
    for (place, port), (where, address) in places.items():
        answers[place, port] = (await ask(where, proto, address, first + port)).split()[0]
    assert answers == dict.fromkeys(places, name)
    closed = {
        ("neighbour", 1): (world.neighbour, HOST_ADDRESS6),
        ("a container", 1): (world.dual, HOST_ADDRESS6),
        ("host by its address", 1): (world.host, HOST_ADDRESS6),
        ("host by loopback", 2): (world.host, "::1"),
    }
    for (place, port), (where, address) in closed.items():
        answer = await ask(where, proto, address, first + port, wait=NOT)
        assert answer in ("refused", "silence"), (place, port)


async def test_a_neighbour_cannot_send_to_loopback(world: World) -> None:
    """A packet for ::1 on the wire: the kernel drops it before anything can see it."""
    inside = ("nsenter", f"--net={world.neighbour.path}")
    command(*inside, "ip", "-6", "addr", "del", "::1/128", "dev", "lo")
    command(*inside, "ip", "-6", "route", "add", "::1/128", "via", HOST_ADDRESS6, "dev", "wire0")
    for first in world.first.values():
        for port in (first, first + 1):
            for proto in PROTOS:
                assert await ask(world.neighbour, proto, "::1", port, wait=NOT) == "silence"


async def test_the_neighbours_address_is_seen_through_the_firewall(world: World) -> None:
    answer = await ask(world.neighbour, "tcp", HOST_ADDRESS6, world.first["dual"])
    assert answer == f"dual {NEIGHBOUR_ADDRESS6}"


async def test_answers_leave_from_the_address_that_was_asked(world: World) -> None:
    """The neighbour asks an address that is not the one the host would answer from."""
    command("ip", "-6", "addr", "add", "fd5f:77:9::1/128", "dev", "fkneigh0", "nodad")
    command("nsenter", f"--net={world.neighbour.path}", "ip", "-6", "route", "add",
            "fd5f:77:9::1/128", "via", HOST_ADDRESS6, "dev", "wire0")  # fmt: skip
    for _ in range(3):  # a datagram may be lost while the neighbours find each other
        answer = await ask(world.neighbour, "udp", "fd5f:77:9::1", 28110)
        if answer != "silence":
            break
    assert answer.startswith("single")


async def test_the_administrators_rules_see_relayed_connections(
    world: World, engine: Engine
) -> None:
    (engine.root / "firewall.nft").write_text(
        f"ip6 saddr {NEIGHBOUR_ADDRESS6} drop\n", encoding="utf-8"
    )
    await world.controller.reload()
    for port in (28100, 28110, 28112):
        assert await ask(world.neighbour, "tcp", HOST_ADDRESS6, port, wait=NOT) == "silence"
    assert (await ask(world.host, "tcp", "::1", 28110)).startswith("single")


async def test_an_internal_network_reaches_no_relayed_port(world: World) -> None:
    pools = [IPAMPool(subnet="fd5f:77:3::/64")]
    asked = CreateRequest(
        name="inner", internal=True, enable_ipv4=False, enable_ipv6=True,
        ipam=IPAM(driver="", config=pools),
        options={"com.docker.network.bridge.name": OTHERS[1]},
    )  # fmt: skip
    await world.controller.create(asked)
    (endpoint,) = await world.controller.join(
        JoinRequest(container_id="in", endpoints=(EndpointRequest(network="inner"),))
    )
    inside = Host(endpoint.netns)
    try:
        world.host.serve("tcp", 28120, "host", "::")
        assert (await ask(inside, "tcp", "fd5f:77:3::1", 28120)).startswith("host")
        for port in (28100, 28110):
            assert await ask(inside, "tcp", "fd5f:77:3::1", port, wait=NOT) == "silence"
    finally:
        inside.close()
        await world.controller.release("in")
        await world.controller.remove("inner")


@pytest.mark.parametrize("kills", ["relay", "engine", "both"])
async def test_ports_survive_kills(world: World, engine: Engine, kills: str) -> None:
    controller = world.controller
    if kills != "engine":
        os.kill(controller._relays._pid, signal.SIGKILL)
    if kills != "relay":
        await engine.kill(controller)
        if kills == "engine":
            assert (await ask(world.host, "tcp", "::1", 28110)).startswith("single")
        world.controller = await engine.start("dual", "single")
    for where, address in ((world.host, "::1"), (world.neighbour, HOST_ADDRESS6)):
        for proto in PROTOS:
            for port in (28100, 28110):

                async def answers(
                    where: Host = where,
                    proto: str = proto,
                    address: str = address,
                    port: int = port,
                ) -> bool:
                    return (await ask(where, proto, address, port)).startswith(("dual", "single"))

                assert await eventually(answers), (address, proto, port)


async def eventually(true: object) -> bool:
    for _ in range(20):
        if await true():  # type: ignore[operator]
            return True
    return False


async def test_senders_that_never_pause_follow(engine: Engine, neighbour: Host) -> None:
    controller = await engine.start()
    await controller.create(six())
    sender = neighbour.run(lambda: socket.socket(socket.AF_INET6, socket.SOCK_DGRAM))
    with sender:
        sender.settimeout(WAIT)
        for _ in range(3):
            sender.sendto(b"?", (HOST_ADDRESS6, 28100))
            (endpoint,) = await controller.join(
                JoinRequest(
                    container_id="c1", endpoints=(EndpointRequest(network="six"),),
                    ports=ports(28100, "udp")[:1],
                )
            )  # fmt: skip
            container = Host(endpoint.netns)
            container.serve("udp", 80, endpoint.ipv6_address, "::")
            try:
                sender.sendto(b"?", (HOST_ADDRESS6, 28100))
                answer, _ = await asyncio.to_thread(sender.recvfrom, 100)
            finally:
                container.close()
            assert answer.decode() == f"{endpoint.ipv6_address} {NEIGHBOUR_ADDRESS6}"
            await controller.release("c1")
    await controller.remove("six")


async def test_a_flush_takes_no_relayed_port_away(world: World) -> None:
    command("nft", "flush", "table", "inet", TABLE)
    for where, address in ((world.host, "::1"), (world.neighbour, HOST_ADDRESS6)):
        assert (await ask(where, "tcp", address, 28110)).startswith("single")


async def test_without_the_relay(engine: Engine, neighbour: Host) -> None:
    controller = await engine.start(relay=False)
    bridge = (EndpointRequest(network="bridge"),)
    (endpoint,) = await controller.join(
        JoinRequest(container_id="c1", endpoints=bridge, ports=ports(28100, "tcp")[:1])
    )
    assert [one.host_ip for one in endpoint.ports] == [""]
    await controller.release("c1")
    for port, why in zip(
        ports(28100, "tcp")[1:], ("packets from ::1", "IPv6 packets for"), strict=True
    ):
        with pytest.raises(errdefs.InvalidParameter, match=why):
            await controller.join(JoinRequest(container_id="c1", endpoints=bridge, ports=(port,)))


async def test_a_port_in_use_names_who_has_it(engine: Engine) -> None:
    controller = await engine.start()
    bridge = (EndpointRequest(network="bridge"),)
    taken = (PublishedPort(proto="tcp", container_port=80, host_port=28130),)
    await controller.join(
        JoinRequest(container_id="c1", names=("web",), endpoints=bridge, ports=taken)
    )
    again = JoinRequest(container_id="c2", names=("new",), endpoints=bridge, ports=taken)
    with pytest.raises(errdefs.System, match="port is already allocated by container web: stop"):
        await controller.join(again)
    await controller.release("c1")
    with contextlib.closing(socket.create_server(("::", 28130), family=socket.AF_INET6)):
        pid = os.getpid()
        with pytest.raises(errdefs.System, match=rf"already in use by \S+ \(pid {pid}\)"):
            await controller.join(again)
    await controller.join(again)
    await controller.release("c2")


async def test_relayed_ports_end_with_the_container(world: World) -> None:
    await world.controller.release("single")
    for address in ("::1", HOST_ADDRESS6):
        assert await ask(world.host, "tcp", address, 28110) == "refused"
    assert rig.settled(lambda: not [p for p in world.controller._relays._ports if p.port == 28110])
    assert await ask(world.neighbour, "tcp", HOST_ADDRESS, 28110) == "refused"
