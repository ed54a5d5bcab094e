"""The relay's process on loopback addresses; no root needed."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import os
import pathlib
import signal
import socket
import threading
from collections.abc import AsyncIterator, Callable, Iterator

import pytest

import rig
from firkin.network import relayservice
from firkin.network.relay import protocol

WAIT = 10.0


@pytest.fixture(autouse=True)
def wait() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(WAIT)
    yield
    socket.setdefaulttimeout(before)


@pytest.fixture
async def service(tmp_path: pathlib.Path) -> AsyncIterator[relayservice.RelayService]:
    made = relayservice.RelayService(str(tmp_path / "relay"))
    yield made
    await made.drop(list(made._ports))
    pid = made._pid
    await made.close()
    if pid:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def bound(kind: int, target: socket.socket) -> tuple[protocol.Port, socket.socket]:
    """A port at ::1 that leads to a server."""
    held = socket.socket(socket.AF_INET6, kind)
    held.bind(("::1", 0))
    proto = "tcp" if kind == socket.SOCK_STREAM else "udp"
    address, number = target.getsockname()[:2]
    own = "/proc/self/ns/net"
    return protocol.Port(proto, "::1", held.getsockname()[1], address, number, own), held


@contextlib.contextmanager
def served(work: Callable[[socket.socket], None]) -> Iterator[socket.socket]:
    """A server of IPv4 that does ``work`` with each client, one after another."""
    with socket.socket() as server:
        server.bind(("127.0.0.1", 0))
        server.listen()

        def loop() -> None:
            while True:
                try:
                    client, _ = server.accept()
                except OSError:
                    return
                with client, contextlib.suppress(OSError):
                    work(client)

        thread = threading.Thread(target=loop)
        thread.start()
        yield server
        server.shutdown(socket.SHUT_RDWR)
        thread.join()


def read_all(client: socket.socket) -> bytes:
    return b"".join(iter(lambda: client.recv(1 << 16), b""))


def sum_up(client: socket.socket) -> None:
    """Answer with the digest of all that comes, after its end, and as many bytes again."""
    data = read_all(client)
    client.sendall(hashlib.sha256(data).digest() + data)


def greet_and_wait(client: socket.socket) -> None:
    client.sendall(b"hello")
    read_all(client)


async def test_all_bytes_arrive_and_each_end_by_itself(
    service: relayservice.RelayService,
) -> None:
    data = os.urandom(5 << 20)
    with served(sum_up) as server:
        port, held = bound(socket.SOCK_STREAM, server)
        await service.put({port: held})
        with socket.create_connection(("::1", port.port)) as client:
            client.sendall(data)
            client.shutdown(socket.SHUT_WR)
            answer = read_all(client)
        held.close()
    assert answer == hashlib.sha256(data).digest() + data


async def test_what_nobody_serves_is_reset(service: relayservice.RelayService) -> None:
    with served(sum_up) as server:
        port, held = bound(socket.SOCK_STREAM, server)
    await service.put({port: held})
    with pytest.raises(ConnectionResetError), socket.create_connection(("::1", port.port)) as it:
        it.recv(1)
    held.close()


async def test_a_dropped_port_ends_its_connections(service: relayservice.RelayService) -> None:
    with served(greet_and_wait) as server:
        port, held = bound(socket.SOCK_STREAM, server)
        await service.put({port: held})
        with socket.create_connection(("::1", port.port)) as client:
            assert client.recv(10) == b"hello"
            await service.drop([port])
            with pytest.raises(ConnectionResetError):
                client.recv(1)
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("::1", port.port))
        held.close()


async def test_a_killed_relay_is_replaced(service: relayservice.RelayService) -> None:
    with served(lambda client: client.sendall(b"hello")) as server:
        port, held = bound(socket.SOCK_STREAM, server)
        await service.put({port: held})
        before = service._pid
        os.kill(before, signal.SIGKILL)
        with socket.create_connection(("::1", port.port)) as client:  # waits in the kernel
            assert await asyncio.to_thread(client.recv, 10) == b"hello"
        assert service._pid != before
        held.close()


async def test_an_engine_that_comes_back_finds_the_ports(
    service: relayservice.RelayService, tmp_path: pathlib.Path
) -> None:
    with served(lambda client: client.sendall(b"hello")) as server:
        kept, gone = (bound(socket.SOCK_STREAM, server) for _ in range(2))
        await service.put(dict((kept, gone)))
        kept[1].close()
        gone[1].close()
        again = relayservice.RelayService(str(tmp_path / "relay"))
        found = await again.adopt()
        assert set(found) == {kept[0], gone[0]}
        await again.start({kept[0]: found[kept[0]]}, found)
        for held in found.values():
            held.close()
        with socket.create_connection(("::1", kept[0].port)) as client:
            assert client.recv(10) == b"hello"
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("::1", gone[0].port))
        await again.close()


async def test_datagrams_find_their_way_back(service: relayservice.RelayService) -> None:
    with contextlib.ExitStack() as stack:
        server = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
        server.bind(("127.0.0.1", 0))
        port, held = bound(socket.SOCK_DGRAM, server)
        await service.put({port: held})
        first, second = (
            stack.enter_context(socket.socket(socket.AF_INET6, socket.SOCK_DGRAM)) for _ in range(2)
        )
        seen = []
        for client, text in ((first, b"1"), (second, b"2")):
            client.connect(("::1", port.port))
            client.send(text)
            data, sender = server.recvfrom(10)
            assert data == text
            seen.append(sender)
        assert len(set(seen)) == 2
        for sender, text in zip(reversed(seen), (b"two", b"one"), strict=True):
            server.sendto(text, sender)
        assert (first.recv(10), second.recv(10)) == (b"one", b"two")
        held.close()


async def test_without_ports_the_process_ends(service: relayservice.RelayService) -> None:
    with served(sum_up) as server:
        port, held = bound(socket.SOCK_STREAM, server)
        await service.put({port: held})
        stat = pathlib.Path(f"/proc/{service._pid}/stat")
        assert stat.read_text().rpartition(")")[2].split()[0] != "Z"
        await service.drop([port])
        held.close()
        await service.close()
        assert rig.settled(lambda: not stat.exists() or ") Z " in stat.read_text(), 20)


async def test_a_port_is_put_though_the_relay_has_just_been_killed(
    service: relayservice.RelayService,
) -> None:
    with served(lambda client: client.sendall(b"hello")) as server:
        ports = [bound(socket.SOCK_STREAM, server) for _ in range(2)]
        await service.put(dict(ports[:1]))
        os.kill(service._pid, signal.SIGKILL)
        await service.put(dict(ports[1:]))
        for port, held in ports:
            with socket.create_connection(("::1", port.port)) as client:
                assert await asyncio.to_thread(client.recv, 10) == b"hello"
            held.close()
