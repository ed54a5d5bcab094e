"""Which address a container gets, and which subnet a network. Pure: no I/O, no clock.

Addresses are given out in order, starting after the last one given (next fit), so that an address
that has just been released is the last to be used again: peers may still remember it, and the
kernel takes a moment to end the namespace that had it.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable, Sequence

import msgspec

from firkin import errdefs

_MAC = re.compile(r"[0-9A-Fa-f]{2}([:-][0-9A-Fa-f]{2}){5}")

IPv4Address = ipaddress.IPv4Address
IPv4Network = ipaddress.IPv4Network


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


def parse_address(text: str) -> IPv4Address:
    """An IPv4 address. Raises ``InvalidParameter``."""
    try:
        return IPv4Address(text)
    except ValueError as error:
        raise errdefs.InvalidParameter(f"{text!r} is not an IPv4 address: {error}") from error


def parse_bip(bip: str) -> ipaddress.IPv4Interface:
    """The value of ``--bip``: a host address in CIDR form. Raises ``InvalidParameter``."""
    try:
        interface = ipaddress.IPv4Interface(bip)
    except ValueError as error:
        raise errdefs.InvalidParameter(
            f"the bridge address {bip!r} is not an IPv4 address in CIDR form: {error}"
        ) from error
    network = interface.network
    if "/" not in bip or network.prefixlen > 30:
        raise errdefs.InvalidParameter(
            f"the bridge address {bip!r} leaves no room for containers: "
            "write an address with a prefix of at most 30, such as 10.9.0.1/24"
        )
    if interface.ip in (network.network_address, network.broadcast_address):
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
            base = IPv4Network(pool.base)
        except ValueError as error:
            raise errdefs.InvalidParameter(
                f"default address pool {pool.base!r} is not an IPv4 subnet: {error}"
            ) from error
        if not base.prefixlen <= pool.size <= 30:
            raise errdefs.InvalidParameter(
                f"default address pool {pool.base} cannot be cut into /{pool.size}: "
                f"the size must be between {base.prefixlen} and 30"
            )


def choose_subnet(pools: Sequence[Pool], taken: Iterable[IPv4Network]) -> IPv4Network:
    """The first subnet of the pools that overlaps nothing in ``taken``.

    Raises ``InvalidParameter`` for a malformed pool, ``System`` when none is free.
    """
    check_pools(pools)
    busy = list(taken)
    for pool in pools:
        base = IPv4Network(pool.base)
        step = 1 << (32 - pool.size)
        candidate, end = int(base.network_address), int(base.broadcast_address)
        while candidate <= end:
            subnet = IPv4Network((candidate, pool.size))
            blocker = next((network for network in busy if network.overlaps(subnet)), None)
            if blocker is None:
                return subnet
            # Continue behind the blocker: a /30 pool cut from a /8 has millions of candidates.
            after = int(blocker.broadcast_address) + 1
            candidate = max(candidate + step, (after + step - 1) // step * step)
    raise errdefs.System(
        "no default address pool has a free subnet: all overlap addresses or routes of this host; "
        "give another one with --default-address-pool or set --bip"
    )


class Allocator:
    """The addresses of one subnet. The network, broadcast and gateway addresses are never given."""

    def __init__(self, subnet: IPv4Network, gateway: IPv4Address) -> None:
        if gateway not in subnet:
            raise errdefs.InvalidParameter(f"gateway {gateway} is outside of the subnet {subnet}")
        self.subnet = subnet
        self.gateway = gateway
        self._first = int(subnet.network_address) + 1
        self._size = subnet.num_addresses - 2
        self._next = 0
        self._used = {int(gateway)}

    @property
    def used(self) -> int:
        """How many addresses are taken, the gateway included."""
        return len(self._used)

    def allocate(self, requested: str = "") -> IPv4Address:
        """Take the next free address, or the requested one.

        Raises ``InvalidParameter`` for a requested address that is malformed or not usable in
        this subnet, ``Conflict`` when it is taken, ``System`` when the subnet is exhausted.
        """
        if requested:
            return self._take_requested(requested)
        if len(self._used) >= self._size:
            raise errdefs.System(
                f"no address is left in {self.subnet}: all {self._size} are in use; "
                "stop containers, or use a network with a larger subnet"
            )
        while (number := self._first + self._next) in self._used:
            self._next = (self._next + 1) % self._size
        self._next = (self._next + 1) % self._size
        self._used.add(number)
        return IPv4Address(number)

    def _take_requested(self, requested: str) -> IPv4Address:
        address = parse_address(requested)
        number = int(address)
        if not self._first <= number < self._first + self._size:
            raise errdefs.InvalidParameter(
                f"address {requested} cannot be used: the network's subnet is {self.subnet}"
            )
        if number == int(self.gateway):
            raise errdefs.InvalidParameter(f"address {requested} is the network's gateway")
        if number in self._used:
            raise errdefs.Conflict(f"address {requested} is already in use on this network")
        self._used.add(number)
        return address

    def restore(self, address: IPv4Address) -> bool:
        """Mark an address that is in use already; False when it does not belong here or is taken.

        The next allocation starts behind it.
        """
        number = int(address)
        if not self._first <= number < self._first + self._size or number in self._used:
            return False
        self._used.add(number)
        self._next = (number - self._first + 1) % self._size
        return True

    def release(self, address: IPv4Address) -> None:
        """Give an address back; one that is not taken is ignored, the gateway stays."""
        if address != self.gateway:
            self._used.discard(int(address))


def mac_of(address: IPv4Address) -> str:
    """The MAC address that belongs to an address: locally administered, unique on its network."""
    return "02:42:" + ":".join(f"{byte:02x}" for byte in address.packed)


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
