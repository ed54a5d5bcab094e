"""A controller on the real kernel, a neighbour host, and sockets inside namespaces.

A socket belongs to the network namespace of the thread that made it, so the tests need no
processes: they make sockets inside containers' namespaces and use them from here.
"""

from __future__ import annotations

import contextlib
import pathlib
import socket
import subprocess
import threading
from collections.abc import Callable

from firkin.linux import netns
from firkin.network import controller as controllers
from firkin.network.drivers import default_bridge
from firkin.network.relay import protocol
from firkin.store import db as database

BRIDGE = "fktest0"
OTHERS = ("fktest6", "fktest7")
TABLE = "firkin-test"
SUBNET = "10.214.77.0/24"
HOST_ADDRESS = "10.213.77.1"
NEIGHBOUR_ADDRESS = "10.213.77.2"
HOST_ADDRESS6 = "fd5f:77:1::1"
NEIGHBOUR_ADDRESS6 = "fd5f:77:1::2"

WAIT = 2.0
NOT = 0.4


def command(*words: str) -> str:
    return subprocess.run(words, check=True, capture_output=True, text=True).stdout


class Host:
    """A namespace ("" for the host's own) in which sockets are made."""

    def __init__(self, path: str) -> None:
        self.path = path
        self._open = contextlib.ExitStack()

    def run(self, work: Callable[[], socket.socket]) -> socket.socket:
        return netns.within(self.path, work) if self.path else work()

    def _socket(self, proto: str, address: str) -> socket.socket:
        kind = socket.SOCK_STREAM if proto == "tcp" else socket.SOCK_DGRAM
        family = socket.AF_INET6 if ":" in address else socket.AF_INET
        return self.run(lambda: socket.socket(family, kind))

    def serve(self, proto: str, port: int, text: str, address: str = "0.0.0.0") -> None:
        """Answer everybody with ``text`` and the address they come from."""
        server = self._socket(proto, address)
        server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if ":" in address:
            server.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        server.bind((address, port))
        if proto == "tcp":
            server.listen()
        server.settimeout(0.1)
        stop = threading.Event()

        def loop() -> None:
            while not stop.is_set():
                try:
                    if proto == "tcp":
                        client, peer = server.accept()
                        with client:
                            client.sendall(f"{text} {peer[0]}".encode())
                    else:
                        _, peer = server.recvfrom(100)
                        server.sendto(f"{text} {peer[0]}".encode(), peer)
                except TimeoutError:
                    continue
                except OSError:
                    return

        thread = threading.Thread(target=loop)
        thread.start()

        def end() -> None:
            stop.set()
            thread.join()
            server.close()

        self._open.callback(end)

    def ask(
        self, proto: str, address: str, port: int, *, wait: float = WAIT, source: str = ""
    ) -> str:
        """What the server there answers; "refused" or "silence" when nobody does."""
        client = self._socket(proto, address)
        with client:
            client.settimeout(wait)
            try:
                if source:
                    client.bind((source, 0))
                client.connect((address, port))
                if proto == "udp":
                    client.send(b"?")
                return client.recv(100).decode()
            except ConnectionError:
                return "refused"
            except OSError:
                return "silence"

    def close(self) -> None:
        self._open.close()


def remove_all(table: str = TABLE, bridge_name: str = BRIDGE) -> None:
    """Remove the firewall table and the bridges, if they are there."""
    subprocess.run(["nft", "delete", "table", "inet", table], capture_output=True, check=False)
    for name in (bridge_name, *OTHERS):
        subprocess.run(["ip", "link", "del", name], capture_output=True, check=False)


class Engine:
    """Makes controllers over one data root, as an engine that is killed and started again does."""

    def __init__(self, root: pathlib.Path) -> None:
        self.root = root
        self._alive: list[tuple[controllers.Controller, database.Database]] = []

    async def start(
        self,
        *live: str,
        bip: str = "10.214.77.1/24",
        stock: int = 2,
        table: str = TABLE,
        name: str = BRIDGE,
        binding: str = "",
        relay: bool = True,
    ) -> controllers.Controller:
        db = database.Database.open(str(self.root / "firkin.db"))
        made = controllers.Controller(
            db,
            exec_root=str(self.root / "exec"),
            bridge=default_bridge.BridgeConfig(name=name, bip=bip, stock=stock, binding=binding),
            table=table,
            firewall_rules=str(self.root / "firewall.nft"),
            relay=relay,
        )
        self._alive.append((made, db))
        await made.start(live)
        return made

    async def kill(self, made: controllers.Controller) -> None:
        """The process is gone: its sockets close, nothing is undone."""
        index = next(i for i, (one, _) in enumerate(self._alive) if one is made)
        _, db = self._alive.pop(index)
        stock = made._host.stock
        await stock._tasks.close()
        stock._closed = True
        stock._thread.shutdown()
        for one in stock._ready:
            one.close()
        made._host.threads.shutdown()
        await made._relays.close()
        made._ports.close()
        db.close()

    async def close(self) -> None:
        """Stop what was not killed, and end the containers' namespaces."""
        for made, db in self._alive:
            await made.close()
            db.close()
        end_relay(str(self.root / "exec" / "relay" / "relay.sock"))
        for path in (self.root / "exec" / "netns").glob("*"):
            netns.remove(str(path))


def end_relay(path: str) -> None:
    """End the relay that listens there, as no container's end would at once."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as engine:
        engine.settimeout(WAIT)
        with contextlib.suppress(OSError):
            engine.connect(path)
            protocol.end(engine)
