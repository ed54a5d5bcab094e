"""The firewall against others, and for the administrator: real packets from a neighbour."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator

import pytest
from netlab import HOST_ADDRESS, NOT, TABLE, Engine, Host, command
from test_reach import ask, request

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

PORT = PublishedPort(proto="tcp", container_port=80, host_port=28080)


@contextlib.asynccontextmanager
async def serving(
    controller: controllers.Controller, container: str, network: str, *ports: PublishedPort
) -> AsyncIterator[tuple[Host, str]]:
    """A container on a network with a server on port 80, and its address."""
    wanted = JoinRequest(
        container_id=container, endpoints=(EndpointRequest(network=network),), ports=ports
    )
    (endpoint,) = await controller.join(wanted)
    host = Host(endpoint.netns)
    host.serve("tcp", 80, container)
    try:
        yield host, endpoint.ipv4_address
    finally:
        host.close()
        await controller.release(container)


async def route(neighbour: Host, subnet: str) -> None:
    command("nsenter", f"--net={neighbour.path}", "ip", "route", "add", subnet, "via", HOST_ADDRESS)


async def make(controller: controllers.Controller, subnet: str, **options: str) -> None:
    given = {f"com.docker.network.bridge.{key}": value for key, value in options.items()}
    ipam = IPAM(driver="", config=[IPAMPool(subnet=subnet)])
    await controller.create(CreateRequest(name="net", ipam=ipam, options=given))


async def reached(neighbour: Host, port: int = 28080) -> str:
    return await ask(neighbour, "tcp", HOST_ADDRESS, port, wait=NOT)


@pytest.mark.parametrize("cut", [("delete", "table", "inet", TABLE),
                                 ("flush", "chain", "inet", TABLE, "published"),
                                 ("flush", "map", "inet", TABLE, "everywhere"),
                                 ("flush", "table", "inet", TABLE)])  # fmt: skip
async def test_rules_that_others_take_away_come_back_by_themselves(
    engine: Engine, neighbour: Host, cut: tuple[str, ...]
) -> None:
    controller = await engine.start()
    async with serving(controller, "c1", "bridge", PORT):
        assert (await reached(neighbour)).startswith("c1")
        command("nft", *cut)
        for _ in range(100):
            if (await reached(neighbour)).startswith("c1"):
                break
            await asyncio.sleep(0.1)
        else:
            raise AssertionError("the rules did not come back")


async def test_changes_of_other_tables_are_no_business_of_ours(engine: Engine) -> None:
    controller = await engine.start(stock=0)
    command("nft", "add", "rule", "inet", TABLE, "admin", "counter")
    command("nft", "add", "table", "inet", "fkother")
    command("nft", "delete", "table", "inet", "fkother")
    await asyncio.sleep(1)
    assert "counter" in command("nft", "list", "chain", "inet", TABLE, "admin")
    await controller.reload()
    assert "counter" not in command("nft", "list", "chain", "inet", TABLE, "admin")


async def test_the_administrators_rules_stay(engine: Engine, neighbour: Host) -> None:
    rules = engine.root / "firewall.nft"
    controller = await engine.start()
    await route(neighbour, "10.214.77.0/24")
    async with serving(controller, "c1", "bridge", PORT) as (_, address):
        assert await ask(neighbour, "tcp", address, 80, wait=NOT) == "silence"
        rules.write_text("# let the neighbour in\ntcp dport 80 ip saddr 10.213.77.2 accept\n")
        await controller.reload()
        assert (await ask(neighbour, "tcp", address, 80)).startswith("c1")
        rules.write_text("this is no rule\n")
        with pytest.raises(errdefs.System, match=r"rules of .*firewall\.nft"):
            await controller.reload()
        assert (await ask(neighbour, "tcp", address, 80)).startswith("c1")
        rules.write_text("ip saddr 10.213.77.2 drop\n")
        await controller.reload()
        assert await reached(neighbour) == "silence"
        command("nft", "delete", "table", "inet", TABLE)
        await asyncio.sleep(1.5)
        assert await reached(neighbour) == "silence"
    await engine.kill(controller)
    again = await engine.start()
    async with serving(again, "c2", "bridge", PORT):
        assert await reached(neighbour) == "silence"
    await engine.kill(again)
    rules.write_text("nonsense\n")
    with pytest.raises(errdefs.System, match="firewall\\.nft"):
        await engine.start()


async def test_a_default_address_for_published_ports(engine: Engine, neighbour: Host) -> None:
    controller = await engine.start(binding="127.0.0.1")
    explicit = PublishedPort(proto="tcp", container_port=80, host_port=28081, host_ip=HOST_ADDRESS)
    async with serving(controller, "c1", "bridge", PORT, explicit):
        assert (await ask(Host(""), "tcp", "127.0.0.1", 28080)).startswith("c1")
        assert await reached(neighbour) in ("silence", "refused")
        assert (await reached(neighbour, 28081)).startswith("c1")
    await make(controller, "10.214.78.0/24", host_binding_ipv4=HOST_ADDRESS)
    try:
        async with serving(controller, "c2", "net", PORT):
            assert (await reached(neighbour)).startswith("c2")
            assert await ask(Host(""), "tcp", "127.0.0.1", 28080) == "refused"
    finally:
        await controller.remove("net")


@pytest.mark.parametrize(
    ("mode", "direct", "published"),
    [("nat", False, True), ("nat-unprotected", True, True), ("routed", True, False)],
)
async def test_gateway_modes(
    engine: Engine, neighbour: Host, mode: str, direct: bool, published: bool
) -> None:
    controller = await engine.start()
    await make(controller, "10.214.79.0/24", gateway_mode_ipv4=mode)
    await route(neighbour, "10.214.79.0/24")
    try:
        async with serving(controller, "c1", "net", PORT) as (container, address):
            container.serve("tcp", 90, "hidden")
            found = (await ask(neighbour, "tcp", address, 80, wait=NOT)).startswith("c1")
            assert found == direct
            hidden = await ask(neighbour, "tcp", address, 90, wait=NOT)
            assert hidden.startswith("hidden") == (mode == "nat-unprotected")
            assert (await reached(neighbour)).startswith("c1") == published
            neighbour.serve("tcp", 70, "far")
            answer = await ask(container, "tcp", "10.213.77.2", 70)
            assert answer == f"far {address if mode == 'routed' else HOST_ADDRESS}"
    finally:
        await controller.remove("net")


async def test_networks_are_apart_for_neighbours_too(engine: Engine, neighbour: Host) -> None:
    controller = await engine.start()
    await make(controller, "10.214.80.0/24")
    await route(neighbour, "10.214.80.0/24")
    try:
        async with serving(controller, "c1", "net", PORT) as (_, address):
            (other,) = await controller.join(request("c2"))
            assert await ask(neighbour, "tcp", address, 80, wait=NOT) == "silence"
            assert await ask(Host(other.netns), "tcp", address, 80, wait=NOT) == "silence"
            # By the host's address a published port is for everybody.
            published = await ask(Host(other.netns), "tcp", HOST_ADDRESS, 28080)
            assert published.startswith("c1")
            await controller.release("c2")
    finally:
        await controller.remove("net")
