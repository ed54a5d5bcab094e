"""Fixtures of the network tests: an engine's controller and a neighbour on a wire."""

from __future__ import annotations

import os
import pathlib
import subprocess
from collections.abc import AsyncIterator, Iterator

import pytest
from netlab import (
    HOST_ADDRESS,
    HOST_ADDRESS6,
    NEIGHBOUR_ADDRESS,
    NEIGHBOUR_ADDRESS6,
    Engine,
    Host,
    command,
    remove_all,
)

from firkin.linux import netns


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    here = pathlib.Path(__file__).parent
    for item in items:
        if here in item.path.parents:
            item.add_marker(pytest.mark.root)
            if os.geteuid() != 0:
                item.add_marker(pytest.mark.skip(reason="needs root"))


@pytest.fixture
def neighbour(tmp_path: pathlib.Path) -> Iterator[Host]:
    """Another machine on a wire to this one."""
    path = str(tmp_path / "neighbour")
    netns.create(path, lambda: command("ip", "link", "set", "lo", "up"))
    try:
        inside = f"--net={path}"
        fd = os.open(path, os.O_RDONLY)
        os.set_inheritable(fd, True)
        try:
            subprocess.run(
                ["ip", "link", "add", "fkneigh0", "type", "veth", "peer", "name", "wire0"],
                check=True,
            )
            netns_of = f"/proc/{os.getpid()}/fd/{fd}"
            subprocess.run(["ip", "link", "set", "wire0", "netns", netns_of], check=True)
        finally:
            os.close(fd)
        command("ip", "addr", "add", f"{HOST_ADDRESS}/24", "dev", "fkneigh0")
        command("ip", "addr", "add", f"{HOST_ADDRESS6}/64", "dev", "fkneigh0", "nodad")
        command("ip", "link", "set", "fkneigh0", "up")
        command("nsenter", inside, "ip", "addr", "add", f"{NEIGHBOUR_ADDRESS}/24", "dev", "wire0")
        command("nsenter", inside, "ip", "link", "set", "wire0", "up")
        command("nsenter", inside, "ip", "addr", "add", f"{NEIGHBOUR_ADDRESS6}/64", "dev", "wire0",
                "nodad")  # fmt: skip
        host = Host(path)
        yield host
        host.close()
    finally:
        subprocess.run(["ip", "link", "del", "fkneigh0"], capture_output=True, check=False)
        netns.remove(path)


@pytest.fixture
async def engine(tmp_path: pathlib.Path) -> AsyncIterator[Engine]:
    remove_all()
    made = Engine(tmp_path)
    try:
        yield made
    finally:
        await made.close()
        remove_all()
