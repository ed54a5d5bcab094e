"""Endpoints through failures, cancellation and the engine's death: nothing left, nothing lost."""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import pathlib
import socket
import time

import pytest
from netlab import BRIDGE, TABLE, Engine, Host, command, remove_all

import rig
from firkin import errdefs
from firkin.linux import mount, netns, tasks
from firkin.network import controller as controllers
from firkin.network import firewall
from firkin.types import network as types
from firkin.types.network import Endpoint, EndpointRequest, JoinRequest, PublishedPort


def request(
    container: str, *ports: PublishedPort, name: str = "", network: str = "bridge", **more: str
) -> JoinRequest:
    return JoinRequest(
        container_id=container,
        names=(name,) if name else (),
        ports=ports,
        endpoints=(EndpointRequest(network=network, **more),),
    )


async def join(controller: controllers.Controller, wanted: JoinRequest) -> Endpoint:
    (endpoint,) = await controller.join(wanted)
    return endpoint


def tcp(port: int, container_port: int = 80, **more: object) -> PublishedPort:
    return PublishedPort(proto="tcp", container_port=container_port, host_port=port, **more)


def both(port: int) -> tuple[PublishedPort, ...]:
    """What is published of a port that names no address."""
    return tcp(port), tcp(port, host_ip="::")


def bridge_ports(name: str = BRIDGE) -> set[str]:
    links = json.loads(command("ip", "-j", "link", "show", "master", name))
    return {link["ifname"] for link in links}


def redirects() -> str:
    table = command("nft", "list", "table", "inet", TABLE)
    return "\n".join(line for line in table.splitlines() if " : 10." in line)


async def settled(engine: Engine, expected: int, stock: int = 2) -> tuple[set[str], set[str]]:
    """Bridge ports and namespaces, once the kernel is down to ``expected`` namespaces.

    ``stock`` of them are ready-made ones, which are no ports of the bridge.
    """
    directory = engine.root / "exec" / "netns"
    for _ in range(100):
        state = bridge_ports(), set(mount.mounted_below(str(directory)))
        files = len(list(directory.glob("*")))
        if len(state[0]) + stock == len(state[1]) == expected == files:
            return state
        await asyncio.sleep(0.05)
    raise AssertionError(f"expected {expected} of each: {state}, {list(directory.glob('*'))}")


async def test_connect_gives_what_it_says(engine: Engine) -> None:
    controller = await engine.start()
    endpoint = await join(controller, request("c1"))
    inside = f"--net={endpoint.netns}"
    links = json.loads(command("nsenter", inside, "ip", "-j", "addr"))
    assert [link["ifname"] for link in links] == ["lo", "eth0"]
    assert all("UP" in link["flags"] for link in links)
    assert links[1]["address"] == endpoint.mac_address == "02:42:0a:d6:4d:02"
    addresses = [(one["local"], one["prefixlen"]) for one in links[1]["addr_info"]]
    assert addresses == [(endpoint.ipv4_address, endpoint.prefix_len)] == [("10.214.77.2", 24)]
    routes = json.loads(command("nsenter", inside, "ip", "-j", "route", "show", "default"))
    assert [route["gateway"] for route in routes] == [endpoint.gateway] == ["10.214.77.1"]
    assert endpoint.host_interface in bridge_ports()
    assert controller.endpoints("c1") == (endpoint,)
    shown = controller.inspect("bridge", {"c1": "web"}).containers["c1"]
    assert (shown.name, shown.ipv4_address) == ("web", "10.214.77.2/24")
    await controller.release("c1")
    await controller.release("c1")
    assert controller.endpoints("c1") == ()
    await settled(engine, 2)


async def test_chosen_addresses(engine: Engine) -> None:
    controller = await engine.start()
    wanted = request("c1", mac_address="02-42-AB-00-00-09", ipv4_address="10.214.77.99")
    endpoint = await join(controller, wanted)
    shown = json.loads(command("nsenter", f"--net={endpoint.netns}", "ip", "-j", "addr", "show",
                               "eth0"))[0]  # fmt: skip
    assert shown["address"] == "02:42:ab:00:00:09"
    assert shown["addr_info"][0]["local"] == "10.214.77.99"
    with pytest.raises(errdefs.Conflict, match="already in use"):
        await join(controller, request("c2", ipv4_address="10.214.77.99"))
    with pytest.raises(errdefs.Conflict, match="already connected"):
        await join(controller, request("c1"))


async def test_a_port_in_use_leaves_nothing(engine: Engine) -> None:
    controller = await engine.start()
    await join(controller, request("c1", tcp(28090)))
    before = redirects()
    await settled(engine, 3)
    match = "^driver failed programming external connectivity on endpoint web: Bind for "
    with pytest.raises(errdefs.System, match=match + "0.0.0.0:28090 failed: port is already"):
        await join(controller, request("c2", tcp(28091), tcp(28090), name="web"))
    with socket.socket() as foreign:
        foreign.bind(("0.0.0.0", 28092))
        foreign.listen()
        with pytest.raises(errdefs.System, match="address already in use"):
            await join(controller, request("c2", tcp(28091), tcp(28092)))
    assert controller.endpoints("c2") == ()
    assert redirects() == before
    await settled(engine, 3)
    endpoint = await join(controller, request("c2", tcp(28091)))
    assert endpoint.ports == both(28091)


async def test_a_refused_firewall_change_leaves_nothing(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    controller = await engine.start()
    await settled(engine, 2)

    async def refuse(text: str) -> None:
        raise errdefs.System("no")

    with monkeypatch.context() as patch:
        patch.setattr(controller._firewall._nft, "run", refuse)
        with pytest.raises(errdefs.System, match="no"):
            await join(controller, request("c1", tcp(28090)))
    await settled(engine, 2)
    endpoint = await join(controller, request("c1", tcp(28090)))
    assert endpoint.ipv4_address == "10.214.77.3"


@pytest.mark.parametrize("delay", [0, 0.0002, 0.0005, 0.001, 0.002, 0.005])
async def test_a_cancelled_connect_leaves_nothing(engine: Engine, delay: float) -> None:
    controller = await engine.start(stock=0)
    for _ in range(5):
        work = asyncio.get_running_loop().create_task(join(controller, request("c1", tcp(28090))))
        await asyncio.sleep(delay)
        work.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await work
        await controller.release("c1")
    assert redirects() == ""
    await settled(engine, 0, stock=0)
    assert (await join(controller, request("c1", tcp(28090)))).ports == both(28090)


async def test_many_at_once(engine: Engine) -> None:
    controller = await engine.start()
    ports = PublishedPort(proto="tcp", container_port=80, host_port=28100, host_port_end=28130)
    made = await asyncio.gather(
        *(join(controller, request(f"c{number}", ports)) for number in range(20))
    )
    assert len({one.ipv4_address for one in made}) == 20
    assert {one.ports[0].host_port for one in made} == set(range(28100, 28120))
    await asyncio.gather(*(controller.release(one.container_id) for one in made))
    assert redirects() == ""
    await settled(engine, 2)


async def test_the_engine_is_killed_and_started_again(engine: Engine) -> None:
    first = await engine.start()
    alive = await join(first, request("alive", tcp(28090), tcp(0)))
    dead = await join(first, request("dead", tcp(28091)))
    network = first.inspect("bridge", {})
    server = Host(alive.netns)
    server.serve("tcp", 80, "alive")
    client = socket.create_connection(("127.0.0.1", 28090), 2)
    await engine.kill(first)
    second = await engine.start("alive")
    try:
        assert second.endpoints("alive") == (alive,)
        assert second.endpoints("dead") == ()
        assert not os.path.exists(dead.netns)
        assert second.inspect("bridge", {}).id == network.id
        assert client.recv(100) == b"alive 10.214.77.1"
        assert (await asyncio.to_thread(Host("").ask, "tcp", "127.0.0.1", 28090)) != "refused"
        assert "28091" not in redirects()
        _, namespaces = await settled(engine, 3)
        assert alive.netns in namespaces
        for port in alive.ports:
            with pytest.raises(errdefs.System, match="port is already allocated"):
                await join(second, request("new", tcp(port.host_port)))
        new = await join(second, request("new", tcp(28091)))
        assert new.ipv4_address != alive.ipv4_address
        await second.release("alive")
        await second.release("new")
        await settled(engine, 2)
    finally:
        client.close()
        server.close()


async def test_after_a_reboot_nothing_is_believed(engine: Engine) -> None:
    first = await engine.start()
    endpoint = await join(first, request("c1", tcp(28090)))
    await engine.kill(first)
    for path in (engine.root / "exec" / "netns").glob("*"):
        netns.remove(str(path))
    pathlib.Path(endpoint.netns).touch()
    remove_all()
    second = await engine.start("c1")
    assert second.endpoints("c1") == ()
    assert redirects() == ""
    await join(second, request("c1", tcp(28090)))


async def test_stopping_changes_nothing_for_containers(engine: Engine) -> None:
    controller = await engine.start()
    endpoint = await join(controller, request("c1", tcp(28090)))
    server = Host(endpoint.netns)
    server.serve("tcp", 80, "still")
    try:
        await controller.close()
        ports, namespaces = await settled(engine, 1, stock=0)
        assert (ports, namespaces) == ({endpoint.host_interface}, {endpoint.netns})
        answer = await asyncio.to_thread(Host("").ask, "tcp", "127.0.0.1", 28090)
        assert answer.startswith("still")
    finally:
        server.close()
        engine._alive.clear()


async def test_none_and_host(engine: Engine) -> None:
    controller = await engine.start(stock=0)
    alone = await join(controller, request("c1", network="none"))
    links = json.loads(command("nsenter", f"--net={alone.netns}", "ip", "-j", "link"))
    assert [(link["ifname"], "UP" in link["flags"]) for link in links] == [("lo", True)]
    shared = await join(controller, request("c2", tcp(28090), network="host"))
    assert (shared.netns, shared.ports, shared.ipv4_address) == ("", (), "")
    await controller.release("c1")
    await controller.release("c2")
    assert await asyncio.to_thread(rig.settled, lambda: not os.path.exists(alone.netns))


async def test_predefined_networks(engine: Engine) -> None:
    controller = await engine.start(stock=0)
    networks = {network.name: network for network in controller.networks()}
    assert {name: network.driver for name, network in networks.items()} == {
        "bridge": "bridge", "host": "host", "none": "null",
    }  # fmt: skip
    pool = networks["bridge"].ipam.config[0]
    assert (pool.subnet, pool.gateway) == ("10.214.77.0/24", "10.214.77.1")
    assert networks["bridge"].options["com.docker.network.bridge.name"] == BRIDGE
    assert controller.inspect(networks["host"].id[:12], {}).name == "host"
    for wrong in ("nothing", ""):
        with pytest.raises(errdefs.NotFound, match=f"^network {wrong} not found"):
            controller.inspect(wrong, {})
    with pytest.raises(errdefs.Forbidden, match="is a pre-defined network and cannot be removed"):
        await controller.remove("bridge")


async def test_the_subnet_is_chosen_and_remembered(engine: Engine) -> None:
    first = await engine.start(bip="", stock=0)
    pool = first.networks()[0].ipam.config[0]
    shown = json.loads(command("ip", "-j", "addr", "show", BRIDGE))[0]["addr_info"]
    assert shown[0]["local"] == pool.gateway
    await engine.kill(first)
    remove_all()
    again = await engine.start(bip="", stock=0)
    assert again.networks()[0].ipam.config[0] == pool


async def test_an_existing_bridge_is_adopted_and_repaired(engine: Engine) -> None:
    command("ip", "link", "add", BRIDGE, "type", "bridge")
    command("ip", "addr", "add", "10.214.78.9/26", "dev", BRIDGE)
    first = await engine.start(bip="", stock=0)
    pool = first.networks()[0].ipam.config[0]
    assert (pool.subnet, pool.gateway) == ("10.214.78.0/26", "10.214.78.9")
    await engine.kill(first)
    command("ip", "addr", "flush", "dev", BRIDGE)
    command("ip", "link", "set", BRIDGE, "down")
    await engine.start(bip="", stock=0)
    shown = json.loads(command("ip", "-j", "addr", "show", BRIDGE))[0]
    assert [one["local"] for one in shown["addr_info"]] == ["10.214.78.9"]
    assert "UP" in shown["flags"]


async def test_a_bridge_of_the_hosts_outlives_a_kill_while_a_network_is_made_on_it(
    engine: Engine, monkeypatch: pytest.MonkeyPatch
) -> None:
    command("ip", "link", "add", "fktheirs", "type", "bridge")
    try:
        first = await engine.start(stock=0)
        reached, never = asyncio.Event(), asyncio.Event()

        async def stuck(*_: object) -> None:
            reached.set()
            await never.wait()

        monkeypatch.setattr(firewall.Firewall, "put_network", stuck)
        options = {"com.docker.network.bridge.name": "fktheirs"}
        wanted = types.CreateRequest(name="theirs", options=options)
        making = tasks.Tasks("test").spawn(first.create(wanted), "create")
        await reached.wait()
        await engine.kill(first)
        monkeypatch.undo()
        again = await engine.start(stock=0)
        await again.remove("theirs")
        command("ip", "link", "show", "fktheirs")
        making.cancel()
        with contextlib.suppress(asyncio.CancelledError, Exception):
            await making
        command("ip", "link", "show", "fktheirs")
    finally:
        command("ip", "link", "delete", "fktheirs")


async def test_a_name_that_is_no_bridge_is_refused(engine: Engine) -> None:
    command("ip", "link", "add", BRIDGE, "type", "veth", "peer", "name", "fkpeer0")
    with pytest.raises(errdefs.System, match=f"{BRIDGE} exists and is not a bridge"):
        await engine.start()


async def test_two_engines_side_by_side(engine: Engine, tmp_path: pathlib.Path) -> None:
    (tmp_path / "two").mkdir()
    other = Engine(tmp_path / "two")
    try:
        one = await engine.start(bip="")
        two = await other.start(bip="", table="firkin-test2", name="fktest1")
        subnets = {made.networks()[0].ipam.config[0].subnet for made in (one, two)}
        assert len(subnets) == 2
        here = await join(one, request("c1", tcp(28090)))
        there = await join(two, request("c1"))
        with pytest.raises(errdefs.System, match="port is already allocated"):
            await join(two, request("c2", tcp(28090)))
        server, client = Host(here.netns), Host(there.netns)
        server.serve("tcp", 80, "one")
        try:
            published = await asyncio.to_thread(client.ask, "tcp", there.gateway, 28090)
            direct = await asyncio.to_thread(client.ask, "tcp", here.ipv4_address, 80, wait=0.4)
        finally:
            server.close()
        assert published.startswith("one")
        assert direct == "silence"
    finally:
        await other.close()
        remove_all("firkin-test2", "fktest1")


async def test_warnings_name_a_firewall_that_drops(engine: Engine) -> None:
    controller = await engine.start(stock=0)
    assert not any("fkdrop" in line for line in await controller.warnings())
    chain = "{ type filter hook forward priority 10; policy drop; ct mark != 32343 accept\n }"
    command("nft", f"table ip fkdrop {{\n chain FORWARD {chain}\n }}")
    try:
        found = await controller.warnings()
    finally:
        command("nft", "delete", "table", "ip", "fkdrop")
    assert any("ip/fkdrop/FORWARD" in line for line in found)


async def test_no_default_bridge(engine: Engine) -> None:
    controller = await engine.start(name="none")
    assert [network.name for network in controller.networks()] == ["host", "none"]
    with pytest.raises(errdefs.NotFound):
        await join(controller, request("c1"))
    assert TABLE not in command("nft", "list", "tables")


async def test_the_time_a_connect_takes(engine: Engine, capsys: pytest.CaptureFixture[str]) -> None:
    controller = await engine.start(stock=4)
    lines = []
    for label, ports in (("without ports", ()), ("with a port", (tcp(28090),))):
        times: dict[str, list[float]] = {"connect": [], "release": []}
        for number in range(10):
            await asyncio.sleep(0.2)
            begin = time.perf_counter()
            await join(controller, request(f"c{number}", *ports))
            middle = time.perf_counter()
            await controller.release(f"c{number}")
            times["connect"].append(middle - begin)
            times["release"].append(time.perf_counter() - middle)
        for what, taken in times.items():
            lines.append(f"{what} {label}: median {sorted(taken)[5] * 1000:.2f} ms")
    assert isinstance(controller, controllers.Controller)
    with capsys.disabled():
        print("\n" + "\n".join(lines))
