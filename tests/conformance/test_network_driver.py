"""The published suite, on the engine's own network drivers."""

from __future__ import annotations

import concurrent.futures
import contextlib
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from firkin.conformance import networks
from firkin.linux import netlink
from firkin.network import ipam, stock
from firkin.network.drivers import above, bridge, default_bridge, shared
from firkin.store import networks as store

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]


@contextlib.asynccontextmanager
async def host(directory: Path) -> AsyncIterator[shared.Shared]:
    made = shared.Shared(
        netlink=netlink.Socket(),
        stock=stock.Stock(str(directory / "netns"), 0),
        threads=concurrent.futures.ThreadPoolExecutor(2),
        reserved=lambda network_id: [],
        fresh=lambda network_id: False,
        check_bridge=lambda bridge: None,
    )
    try:
        yield made
    finally:
        await made.stock.close()
        made.threads.shutdown()
        made.netlink.close()


BRIDGE = f"fkc{os.getpid() % 100000}b"
PARENT = f"fkc{os.getpid() % 100000}p"


class TestBridge(networks.DriverSuite):
    driver = "bridge"
    options = {"com.docker.network.bridge.name": BRIDGE}

    @contextlib.asynccontextmanager
    async def make(self, stored: store.StoredNetwork, directory: Path) -> AsyncIterator[Any]:
        async with host(directory) as made:
            yield lambda again=stored: bridge.BridgeDriver(
                again, default_bridge.BridgeConfig(), made
            )
        assert not Path("/sys/class/net", BRIDGE).exists()


class TestMacvlan(networks.DriverSuite):
    driver = "macvlan"
    options = {"parent": PARENT}

    @contextlib.asynccontextmanager
    async def make(self, stored: store.StoredNetwork, directory: Path) -> AsyncIterator[Any]:
        async with host(directory) as made:
            fd = os.open("/proc/self/ns/net", os.O_RDONLY)
            try:
                made.netlink.request(netlink.add_veth(PARENT, PARENT + "2", fd, 1500))
            finally:
                os.close(fd)
            try:
                yield lambda again=stored: above.AboveDriver(again, ipam.DEFAULT_POOLS, made)
            finally:
                made.netlink.request(netlink.delete_link(socket.if_nametoindex(PARENT)))
