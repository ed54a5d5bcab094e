"""What drivers share: the host's side of the kernel, and small pieces of their work."""

from __future__ import annotations

import asyncio
import concurrent.futures
import dataclasses
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import TypeVar

from firkin import errdefs
from firkin.linux import netlink
from firkin.network import ipam, sandbox, stock
from firkin.network.drivers import bridge_options
from firkin.store import networks as store
from firkin.types import network as types

log = logging.getLogger(__name__)

T = TypeVar("T")
_NO_IPV6 = "net.ipv6.conf.IFNAME.disable_ipv6"

_ENDPOINT = "com.docker.network.endpoint."


@dataclasses.dataclass(slots=True, kw_only=True)
class Shared:
    """One per controller.

    ``netlink`` works in the host's namespace; ``reserved(id)`` are the subnets of all other
    networks than that one; ``fresh(id)``: whether it is being made, not brought back;
    ``check_bridge`` raises ``Forbidden`` for the bridge of another network.
    """

    netlink: netlink.Socket
    stock: stock.Stock
    threads: concurrent.futures.ThreadPoolExecutor
    reserved: Callable[[str], list[ipam.Network]]
    fresh: Callable[[str], bool]
    check_bridge: Callable[[str], None]

    async def run(self, work: Callable[[], T]) -> T:
        """Run what blocks in a thread. When cancelled, that is passed on once it has ended."""
        loop = asyncio.get_running_loop()
        return await sandbox.settle(loop.run_in_executor(self.threads, work))


def restore(space: ipam.Space, live: Iterable[types.Endpoint], network: str) -> None:
    """Mark the addresses of running containers."""
    for endpoint in live:
        for address in (endpoint.ipv4_address, endpoint.ipv6_address):
            if address and not space.restore(address):
                log.warning(
                    "container %s keeps address %s, which network %s does not have: "
                    "restart it to give it a new one",
                    endpoint.container_id, address, network,
                )  # fmt: skip


def fields(
    version: int, subnet: ipam.Allocator, address: ipam.Address, *, internal: bool
) -> dict[str, str | int]:
    """The fields of an Endpoint that an address fills."""
    gateway = str(subnet.gateway) if subnet.gateway is not None and not internal else ""
    if version == 4:
        return {
            "ipv4_address": str(address),
            "prefix_len": subnet.subnet.prefixlen,
            "gateway": gateway,
        }
    return {
        "ipv6_address": str(address),
        "ipv6_prefix_len": subnet.subnet.prefixlen,
        "ipv6_gateway": gateway,
    }


def interface(
    place: sandbox.Sandbox, request: types.EndpointRequest, prefix: str = "eth"
) -> tuple[str, dict[str, str]]:
    """Name and kernel parameters of a container's interface, as the endpoint's options say.

    Raises ``InvalidParameter``. Blocks.
    """
    name = request.options.get(_ENDPOINT + "ifname", "")
    if name:
        bridge_options.check_interface(name, "a container's interface")
    else:
        name = place.free_name(prefix)
    return name, sysctls(request.options)


def has_ipv6(request: types.EndpointRequest) -> bool:
    """Whether the endpoint's kernel parameters leave it IPv6, and the container's.

    Raises as :func:`sysctls`.
    """
    return request.ipv6 and sysctls(request.options).get(_NO_IPV6) != "1"


def sysctls(options: Mapping[str, str]) -> dict[str, str]:
    """An endpoint's kernel parameters, in which IFNAME stands for its interface.

    Raises ``InvalidParameter``.
    """
    found = {}
    for setting in options.get(_ENDPOINT + "sysctls", "").split(","):
        if not setting:
            continue
        key, equals, value = setting.partition("=")
        # The official client writes the values of --network driver-opt= in lower case.
        parts = ["IFNAME" if part == "ifname" else part for part in key.split(".")]
        if not equals or len(parts) < 4 or parts[0] != "net" or "IFNAME" not in parts:
            raise errdefs.InvalidParameter(
                f"invalid endpoint sysctl {setting!r}: write net.FAMILY.conf.IFNAME.NAME=VALUE"
            )
        if not all(part and "/" not in part and part not in (".", "..") for part in parts):
            raise errdefs.InvalidParameter(f"invalid endpoint sysctl {setting!r}")
        found[".".join(parts)] = value
    return found


def shown_ipam(stored: store.StoredNetwork) -> types.IPAM:
    """The pools of a network, as the Engine API shows them."""
    return types.IPAM(
        driver=stored.ipam_driver, options=stored.ipam_options, config=list(stored.pools)
    )
