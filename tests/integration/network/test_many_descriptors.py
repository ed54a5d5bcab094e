"""A process with more than a thousand descriptors still changes its firewall."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.root

SCRIPT = """
import asyncio, os, resource
from firkin.linux import nftables, syscalls

hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 4096), hard))
held = [os.open("/dev/null", os.O_RDONLY) for _ in range(1500)]
assert held[-1] > 1024
syscalls.unshare(syscalls.CLONE_NEWNET)

async def main():
    nft = nftables.Nftables()
    await nft.run("add table inet many")
    tables = [item["table"]["name"] for item in await nft.query("list tables") if "table" in item]
    assert tables == ["many"], tables
    nft.close()

asyncio.run(main())
nftables.run_here("delete table inet many")
for fd in held:
    os.fstat(fd)  # still this process's
print("done")
"""


def test_nftables() -> None:
    done = subprocess.run([sys.executable, "-c", SCRIPT], capture_output=True, text=True)
    assert done.stdout == "done\n", done.stderr
