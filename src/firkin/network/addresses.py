"""The subnets of a network: what was asked for, what is free, and the allocators for both."""

from __future__ import annotations

import socket
from collections.abc import Collection, Sequence

import msgspec

from firkin import errdefs
from firkin.linux import netlink
from firkin.network import ipam
from firkin.types import network as types

FAMILIES = {4: socket.AF_INET, 6: socket.AF_INET6}


def on_host(host: netlink.Socket, version: int, *, without: int = -1) -> list[ipam.Network]:
    """Networks of the host's addresses and routes, but for those of the interface ``without``."""
    family = FAMILIES[version]
    found = [one.network for one in host.addresses(family) if one.index != without]
    found += [network for network, index in host.routed(family) if index != without]
    if version == 6:
        found = [network for network in found if not network.is_link_local]
    return found


def named(host: netlink.Socket) -> list[tuple[str, str]]:
    """All addresses of the host, each with the name of its interface."""
    names = dict(socket.if_nameindex())
    return [
        (one.address, names.get(one.index, ""))
        for family in FAMILIES.values()
        for one in host.addresses(family)
    ]


def check_free(
    host: netlink.Socket, pools: Collection[types.IPAMPool], *, without: int = -1
) -> None:
    """Raises ``Forbidden`` when the host has an address or route in one of the subnets.

    Those of the interface with the index ``without`` do not count.
    """
    for pool in pools:
        if not pool.subnet:
            continue
        subnet = ipam.parse_subnet(pool.subnet)
        if ipam.everywhere(subnet):
            continue
        family = FAMILIES[subnet.version]
        used = [(one.network, one.index) for one in host.addresses(family)]
        for network, index in used + host.routed(family):
            if index != without and ipam.overlapping(subnet, [network]) is not None:
                try:
                    name = f"interface {socket.if_indextoname(index)}"
                except OSError:
                    name = "another route"
                raise errdefs.Forbidden(
                    f"invalid pool request: {subnet} overlaps {network}, which this host reaches "
                    f"by {name}: choose another subnet"
                )


def complete(
    pools: Sequence[types.IPAMPool],
    *,
    versions: Collection[int],
    default: Sequence[ipam.Pool],
    taken: Collection[ipam.Network],
    gateway: bool = True,
) -> list[types.IPAMPool]:
    """The pools with a subnet for each IP version and, if wanted, a gateway for each subnet.

    Raises ``System`` when no default pool has a free subnet.
    """
    found = []
    for version in sorted(versions):
        mine = [pool for pool in pools if _version(pool) == version]
        if not mine:
            subnet = ipam.choose_subnet(default, taken, version)
            mine = [types.IPAMPool(subnet=str(subnet))]
        elif not mine[0].subnet:
            subnet = ipam.choose_subnet(default, taken, version)
            mine[0] = msgspec.structs.replace(mine[0], subnet=str(subnet))
        found += [_with_gateway(pool) if gateway else pool for pool in mine]
    return found


def _version(pool: types.IPAMPool) -> int:
    return ipam.parse_subnet(pool.subnet).version if pool.subnet else 4


def _with_gateway(pool: types.IPAMPool) -> types.IPAMPool:
    if pool.gateway:
        return pool
    subnet = ipam.parse_subnet(pool.subnet)
    reserved = {ipam.parse_address(a) for a in (pool.auxiliary_addresses or {}).values()}
    start = int(subnet.network_address) + 1
    for number in range(start, start + len(reserved) + 2):
        address = type(subnet.network_address)(number)
        if address not in reserved and address in subnet:
            return msgspec.structs.replace(pool, gateway=str(address))
    raise errdefs.InvalidParameter(f"subnet {subnet} has no address left for the gateway")


def space(pools: Sequence[types.IPAMPool]) -> ipam.Space:
    """Allocators for complete pools. Raises ``InvalidParameter``."""
    return ipam.Space(
        ipam.Allocator(
            ipam.parse_subnet(pool.subnet),
            ipam.parse_address(pool.gateway) if pool.gateway else None,
            within=ipam.parse_subnet(pool.ip_range) if pool.ip_range else None,
            reserved=[
                ipam.parse_address(address) for address in (pool.auxiliary_addresses or {}).values()
            ],
        )
        for pool in pools
    )


def status(found: ipam.Space) -> dict[str, types.SubnetStatus]:
    """How many addresses of each subnet are taken; the network's own two of IPv4 among them."""
    most = (1 << 64) - 1
    return {
        str(one.subnet): types.SubnetStatus(
            ips_in_use=min(one.used + (2 if one.subnet.version == 4 else 1), most),
            dynamic_ips_available=min(one.left, most),
        )
        for one in found.subnets
    }
