"""Which address a container gets, and which subnet a network gets. Pure: no I/O, no clock.

Addresses are given out in order, starting after the last one given (next fit), so that an address
that has just been released is the last to be used again: peers may still remember it, and the
kernel takes a moment to end the namespace that had it.
"""

from __future__ import annotations

import hashlib
import ipaddress
import re
from collections.abc import Iterable, Sequence

import msgspec

from firkin import errdefs

_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}")

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Network = ipaddress.IPv4Network | ipaddress.IPv6Network
Interface = ipaddress.IPv4Interface | ipaddress.IPv6Interface


class Pool(msgspec.Struct, frozen=True):
    """A range from which subnets of one size are cut (``--default-address-pool``)."""

    base: str
    size: int


DEFAULT_POOLS: tuple[Pool, ...] = (
    Pool("172.17.0.0/16", 16),
    Pool("172.18.0.0/16", 16),
    Pool("172.19.0.0/16", 16),
    Pool("172.20.0.0/14", 16),
    Pool("172.24.0.0/14", 16),
    Pool("172.28.0.0/14", 16),
    Pool("192.168.0.0/16", 20),
)
"""Docker's, so that a host moves over without surprises in its address plan."""


def unique_local_pool(identity: str) -> Pool:
    """The IPv6 pool of an engine: a /48 within fd00::/8 (RFC 4193) that belongs to ``identity``."""
    digest = hashlib.sha256(identity.encode()).digest()
    return Pool(str(ipaddress.IPv6Network((b"\xfd" + digest[:5] + bytes(10), 48))), 64)


def with_defaults(pools: Sequence[Pool], identity: str) -> tuple[Pool, ...]:
    """The pools, and for each IP version that they lack the default ones of an engine."""
    found = list(pools)
    if not any(":" not in pool.base for pool in pools):
        found += DEFAULT_POOLS
    if not any(":" in pool.base for pool in pools):
        found.append(unique_local_pool(identity))
    return tuple(found)


def parse_address(text: str) -> Address:
    """An IP address. Raises ``InvalidParameter``."""
    try:
        return ipaddress.ip_address(text)
    except ValueError as error:
        raise errdefs.InvalidParameter(f"{text!r} is not an IP address: {error}") from error


def parse_subnet(text: str) -> Network:
    """A subnet in CIDR form, whose bits beyond the prefix are ignored.

    Raises ``InvalidParameter``.
    """
    try:
        subnet = ipaddress.ip_network(text, strict=False)
    except ValueError as error:
        raise errdefs.InvalidParameter(
            f"invalid subnet {text!r}: {error}: write it as address/bits, such as 10.9.0.0/24"
        ) from error
    if "/" not in text or subnet.prefixlen > subnet.max_prefixlen - 2:
        raise errdefs.InvalidParameter(
            f"invalid subnet {text!r}: it leaves no room for containers: its prefix may have at "
            f"most {subnet.max_prefixlen - 2} bits"
        )
    if subnet.is_multicast or subnet.is_loopback or not subnet.prefixlen:
        raise errdefs.InvalidParameter(f"invalid subnet {text!r}: it cannot be routed")
    return subnet


def parse_bip(bip: str, version: int = 4) -> Interface:
    """The value of ``--bip`` or ``--bip6``: a host address in CIDR form.

    Raises ``InvalidParameter``.
    """
    try:
        interface = ipaddress.ip_interface(bip)
        if interface.version != version:
            raise ValueError(f"it is one of IPv{interface.version}")
    except ValueError as error:
        raise errdefs.InvalidParameter(
            f"the bridge address {bip!r} is not an IPv{version} address in CIDR form: {error}"
        ) from error
    network = interface.network
    most = network.max_prefixlen - 2
    if "/" not in bip or network.prefixlen > most:
        example = "10.9.0.1/24" if version == 4 else "fd00:9::1/64"
        raise errdefs.InvalidParameter(
            f"the bridge address {bip!r} leaves no room for containers: "
            f"write an address with a prefix of at most {most}, such as {example}"
        )
    if interface.ip == network.network_address or (
        version == 4 and interface.ip == network.broadcast_address
    ):
        raise errdefs.InvalidParameter(
            f"the bridge address {bip!r} is the network or broadcast address of {network}: "
            f"write a host address, such as {network[1]}/{network.prefixlen}"
        )
    if network.is_loopback or network.is_multicast or network.is_unspecified:
        raise errdefs.InvalidParameter(f"the bridge address {bip!r} cannot be routed")
    return interface


def check_pools(pools: Sequence[Pool]) -> None:
    """Raises ``InvalidParameter`` naming the first pool that no subnet can be cut from."""
    for pool in pools:
        try:
            base = ipaddress.ip_network(pool.base)
        except ValueError as error:
            raise errdefs.InvalidParameter(
                f"default address pool {pool.base!r} is not a subnet: {error}"
            ) from error
        if not base.prefixlen <= pool.size <= base.max_prefixlen - 2:
            raise errdefs.InvalidParameter(
                f"default address pool {pool.base} cannot be cut into /{pool.size}: "
                f"the size must be between {base.prefixlen} and {base.max_prefixlen - 2}"
            )


def choose_subnet(pools: Sequence[Pool], taken: Iterable[Network], version: int = 4) -> Network:
    """The first subnet of the pools of an IP version that overlaps nothing in ``taken``.

    Raises ``InvalidParameter`` for a malformed pool, ``System`` when none is free.
    """
    check_pools(pools)
    busy = [network for network in taken if network.version == version]
    for pool in pools:
        base = ipaddress.ip_network(pool.base)
        if base.version != version:
            continue
        step = 1 << (base.max_prefixlen - pool.size)
        candidate, end = int(base.network_address), int(base.broadcast_address)
        while candidate <= end:
            subnet = type(base)((candidate, pool.size))
            blocker = next((network for network in busy if _overlap(network, subnet)), None)
            if blocker is None:
                return subnet
            # Continue behind the blocker: a /30 pool cut from a /8 has millions of candidates.
            after = int(blocker.broadcast_address) + 1
            candidate = max(candidate + step, (after + step - 1) // step * step)
    raise errdefs.System(
        "all predefined address pools have been fully subnetted: no default address pool has a "
        f"free IPv{version} subnet, all overlap networks, addresses or routes of this host; name "
        "one with --subnet, remove unused networks, or give the engine more with "
        "--default-address-pool"
    )


def _overlap(one: Network, other: Network) -> bool:
    return one.version == other.version and one.overlaps(other)


def everywhere(subnet: Network) -> bool:
    """Whether each link has this subnet for itself: the link-local addresses of IPv6."""
    return subnet.version == 6 and subnet.is_link_local


def overlapping(subnet: Network, taken: Iterable[Network]) -> Network | None:
    """The first of ``taken`` that has an address in common with ``subnet``."""
    return next((network for network in taken if _overlap(network, subnet)), None)


def within(inner: Network, outer: Network) -> bool:
    """Whether a network is a part of another."""
    return inner.network_address in outer and inner.broadcast_address in outer


class Allocator:
    """The addresses of one subnet. The network, broadcast and gateway addresses are never given.

    Addresses that nobody asked for come from ``within``, a part of the subnet. ``reserved`` ones
    are never given (auxiliary addresses: those of other machines on the same wire).
    """

    def __init__(
        self,
        subnet: Network,
        gateway: Address | None,
        *,
        within: Network | None = None,
        reserved: Iterable[Address] = (),
    ) -> None:
        if gateway is not None and gateway not in subnet:
            raise errdefs.InvalidParameter(f"gateway {gateway} is outside of the subnet {subnet}")
        self.subnet = subnet
        self.gateway = gateway
        self._lowest = int(subnet.network_address) + 1
        # IPv6 has no broadcast address.
        self._highest = int(subnet.broadcast_address) - (1 if subnet.version == 4 else 0)
        within = within or subnet
        self._first = max(self._lowest, int(within.network_address))
        self._size = min(self._highest, int(within.broadcast_address)) - self._first + 1
        self._next = 0
        self._fixed = {int(address) for address in reserved}
        if gateway is not None:
            self._fixed.add(int(gateway))
        self._used = set(self._fixed)
        self._dynamic = sum(map(self._in_range, self._used))

    @property
    def used(self) -> int:
        """How many addresses are taken, the gateway included."""
        return len(self._used)

    @property
    def left(self) -> int:
        """How many addresses can still be given to those who ask for none in particular."""
        return self._size - self._dynamic

    def _in_range(self, number: int) -> bool:
        return self._first <= number < self._first + self._size

    def _take(self, number: int) -> Address:
        self._used.add(number)
        self._dynamic += self._in_range(number)
        address: Address = type(self.subnet.network_address)(number)
        return address

    def allocate(self, requested: str = "") -> Address:
        """Take the next free address, or the requested one.

        Raises ``InvalidParameter`` for a requested address that is malformed or not usable in
        this subnet, ``Conflict`` when it is taken, ``System`` when the subnet is exhausted.
        """
        if requested:
            return self._take_requested(requested)
        if not self.left:
            raise errdefs.System(
                f"no available IPv{self.subnet.version} addresses on this network's address "
                f"pools: no address is left in {self.subnet}: all {self._size} are in use; "
                "stop containers, or use a network with a larger subnet"
            )
        while (number := self._first + self._next) in self._used:
            self._next = (self._next + 1) % self._size
        self._next = (self._next + 1) % self._size
        return self._take(number)

    def _take_requested(self, requested: str) -> Address:
        address = parse_address(requested)
        number = int(address)
        if address not in self.subnet or not self._lowest <= number <= self._highest:
            raise errdefs.InvalidParameter(
                f"address {requested} cannot be used: the network's subnet is {self.subnet}"
            )
        if self.gateway is not None and number == int(self.gateway):
            raise errdefs.InvalidParameter(f"address {requested} is the network's gateway")
        if number in self._used:
            raise errdefs.Conflict(
                f"Address already in use: address {requested} is already in use on this network"
            )
        return self._take(number)

    def restore(self, address: Address) -> bool:
        """Mark an address that is in use already; False when it does not belong here or is taken.

        The next allocation starts behind it.
        """
        number = int(address)
        if (
            address.version != self.subnet.version
            or not self._lowest <= number <= self._highest
            or number in self._used
        ):
            return False
        self._take(number)
        if self._in_range(number):
            self._next = (number - self._first + 1) % self._size
        return True

    def release(self, address: Address) -> None:
        """Give an address back; one that is not taken is ignored, the gateway stays."""
        number = int(address)
        if number in self._used and number not in self._fixed:
            self._used.discard(number)
            self._dynamic -= self._in_range(number)


class Space:
    """The subnets of one network, of both address families."""

    def __init__(self, subnets: Iterable[Allocator]) -> None:
        self.subnets = tuple(subnets)

    def of(self, version: int) -> list[Allocator]:
        """The subnets of an IP version."""
        return [one for one in self.subnets if one.subnet.version == version]

    def allocate(self, version: int, requested: str = "") -> tuple[Allocator, Address]:
        """An address of an IP version from the first subnet that has it. Raises as Allocator's."""
        subnets = self.of(version)
        if requested:
            address = parse_address(requested)
            for one in subnets:
                if address in one.subnet:
                    return one, one.allocate(requested)
            what = ", ".join(str(one.subnet) for one in subnets)
            raise errdefs.InvalidParameter(
                f"no configured subnet contains IP address {requested}: the network has "
                f"{what or f'no IPv{version} subnet'}"
            )
        for one in subnets[:-1]:
            if one.left:
                return one, one.allocate()
        return subnets[-1], subnets[-1].allocate()

    def restore(self, text: str) -> bool:
        """Mark an address that is in use already; False when no subnet has it free."""
        address = parse_address(text)
        return any(one.restore(address) for one in self.subnets)

    def release(self, text: str) -> None:
        """Give an address back; "" and unknown ones are ignored."""
        if text:
            address = parse_address(text)
            for one in self.subnets:
                if address in one.subnet:
                    one.release(address)


def mac_of(address: Address) -> str:
    """The MAC address that belongs to an address: locally administered, unique on its network."""
    if address.version == 4:
        return "02:42:" + ":".join(f"{byte:02x}" for byte in address.packed)
    digest = hashlib.sha256(address.packed).digest()
    return "02:42:" + ":".join(f"{byte:02x}" for byte in digest[:4])


def parse_mac(text: str) -> str:
    """A unicast MAC address in its usual form. Raises ``InvalidParameter``."""
    if not _MAC.fullmatch(text):
        raise errdefs.InvalidParameter(
            f"{text!r} is not a MAC address: write six pairs of hexadecimal digits, "
            "such as 02:42:ac:11:00:02"
        )
    octets = bytes.fromhex(text.replace("-", "").replace(":", ""))
    if octets[0] & 1 or not any(octets):
        raise errdefs.InvalidParameter(f"MAC address {text} is not that of one interface")
    return ":".join(f"{octet:02x}" for octet in octets)
