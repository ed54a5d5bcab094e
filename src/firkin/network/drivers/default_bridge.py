"""What the engine's configuration says of the default bridge. Pure.

Which subnet, for each IP version: that of the bridge's address (``--bip``, ``--bip6``); else the
one remembered, unless the host meanwhile uses it for something else or containers' addresses are
to come from elsewhere (``--fixed-cidr``); else that of an address which an existing bridge has;
else that of containers' addresses itself; else one of the default address pools.
"""

from __future__ import annotations

import logging
from collections.abc import Collection, Sequence

import msgspec

from firkin import errdefs
from firkin.linux import netlink
from firkin.network import ipam
from firkin.network.drivers import bridge_options
from firkin.types import network as types

log = logging.getLogger(__name__)

_VERSIONS = (4, 6)


class BridgeConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the engine says of its bridges, ``name`` to ``masquerade`` of the default one.

    ``bip`` and ``bip6``: its addresses in CIDR form, "" to choose; ``range4`` and ``range6``: where
    its containers' addresses come from, in CIDR form, "" for the whole subnet; ``gateway4`` and
    ``gateway6``: its containers' gateways, "" for the bridge. ``forward``: whether to turn
    forwarding on. ``binding``: where ports are published that name no address. ``stock``: how many
    network namespaces are kept ready; each is a namespace and a veth pair in the kernel.
    """

    name: str = "firkin0"
    bip: str = ""
    bip6: str = ""
    ipv6: bool = False
    range4: str = ""
    range6: str = ""
    gateway4: str = ""
    gateway6: str = ""
    icc: bool = True
    masquerade: bool = True
    forward: bool = True
    pools: tuple[ipam.Pool, ...] = ipam.DEFAULT_POOLS
    mtu: int = 1500
    stock: int = 4
    binding: str = ""

    def address(self, version: int) -> ipam.Interface | None:
        """The bridge's address that was given. Raises ``InvalidParameter``."""
        text = self.bip if version == 4 else self.bip6
        return ipam.parse_bip(text, version) if text else None

    def range(self, version: int) -> ipam.Network | None:
        """Where containers' addresses come from. Raises ``InvalidParameter``."""
        text = self.range4 if version == 4 else self.range6
        return ipam.parse_subnet(text) if text else None

    def gateway(self, version: int) -> str:
        """The containers' gateway, "" for the bridge."""
        return self.gateway4 if version == 4 else self.gateway6

    def check(self) -> None:
        """Raises ``InvalidParameter`` for what cannot work."""
        bridge_options.check_interface(self.name, "a bridge")
        bridge_options.check_mtu(self.mtu)
        ipam.check_pools(self.pools)
        for version, suffix in ((4, ""), (6, "-v6")):
            address, inner = self.address(version), self.range(version)
            if version == 6 and not self.ipv6 and (address or inner or self.gateway6):
                raise errdefs.InvalidParameter(
                    "--bip6, --fixed-cidr-v6 and --default-gateway-v6 are for a default bridge "
                    "with IPv6: add --ipv6, or leave them out"
                )
            if inner is not None and inner.version != version:
                raise errdefs.InvalidParameter(
                    f"--fixed-cidr{suffix} {inner}: not a subnet of IPv{version}"
                )
            if (
                address is not None
                and inner is not None
                and not ipam.within(inner, address.network)
            ):
                raise errdefs.InvalidParameter(
                    f"--fixed-cidr{suffix} {inner} is outside of the bridge's subnet "
                    f"{address.network}"
                )
            if self.gateway(version):
                _check_gateway(self.gateway(version), version, address, suffix)


def _check_gateway(text: str, version: int, address: ipam.Interface | None, suffix: str) -> None:
    gateway = ipam.parse_address(text)
    if gateway.version != version or (address is not None and gateway not in address.network):
        where = f"in the bridge's subnet {address.network}" if address else f"of IPv{version}"
        raise errdefs.InvalidParameter(f"--default-gateway{suffix} {text}: not an address {where}")


def pools(
    config: BridgeConfig,
    remembered: Sequence[types.IPAMPool],
    present: Sequence[netlink.Address],
    taken: Collection[ipam.Network],
) -> list[types.IPAMPool]:
    """The pools of the default bridge as far as they are not left to the default pools.

    ``present`` are the IPv4 addresses of an existing bridge, ``taken`` the networks that the host
    uses for something else.
    """
    found = [_pool(config, version, remembered, present, taken) for version in _VERSIONS]
    return [pool for pool in found if pool is not None]


def _pool(
    config: BridgeConfig,
    version: int,
    remembered: Sequence[types.IPAMPool],
    present: Sequence[netlink.Address],
    taken: Collection[ipam.Network],
) -> types.IPAMPool | None:
    if version == 6 and not config.ipv6:
        return None
    inner = config.range(version)
    pool = _subnet(config, version, remembered, present, taken)
    if pool is None:
        return types.IPAMPool(subnet=str(inner)) if inner is not None else None
    subnet = ipam.parse_subnet(pool.subnet)
    ip_range = str(inner) if inner is not None and inner != subnet else ""
    return msgspec.structs.replace(pool, ip_range=ip_range, auxiliary_addresses=None)


def _subnet(
    config: BridgeConfig,
    version: int,
    remembered: Sequence[types.IPAMPool],
    present: Sequence[netlink.Address],
    taken: Collection[ipam.Network],
) -> types.IPAMPool | None:
    inner = config.range(version)
    if (address := config.address(version)) is not None:
        return types.IPAMPool(subnet=str(address.network), gateway=str(address.ip))
    for pool in remembered:
        subnet = ipam.parse_subnet(pool.subnet)
        if subnet.version != version or (inner is not None and not ipam.within(inner, subnet)):
            continue
        if not ipam.overlapping(subnet, taken):
            return pool
        log.warning("subnet %s is used elsewhere on this host by now, taking another", subnet)
    for one in present if version == 4 else ():
        if one.prefix_len <= 30 and (inner is None or ipam.within(inner, one.network)):
            return types.IPAMPool(subnet=str(one.network), gateway=one.address)
    return None


def gateways(config: BridgeConfig, found: Sequence[types.IPAMPool]) -> list[types.IPAMPool]:
    """The complete pools, with the containers' gateways where they are not the bridge itself.

    They are auxiliary addresses by the names that Docker gives them. Raises ``InvalidParameter``.
    """
    result = []
    for pool in found:
        subnet = ipam.parse_subnet(pool.subnet)
        gateway = config.gateway(subnet.version)
        if gateway and gateway != pool.gateway:
            if ipam.parse_address(gateway) not in subnet:
                raise errdefs.InvalidParameter(
                    f"the default gateway {gateway} is outside of the default bridge's subnet "
                    f"{subnet}: give the bridge an address with --bip or --bip6"
                )
            name = f"DefaultGatewayIPv{subnet.version}"
            pool = msgspec.structs.replace(pool, auxiliary_addresses={name: gateway})
        result.append(pool)
    return result
