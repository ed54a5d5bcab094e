"""The address allocator and the choice of a subnet, without any system."""

from __future__ import annotations

import ipaddress

import pytest

from firkin import errdefs
from firkin.network import ipam

Net = ipaddress.IPv4Network
Address = ipaddress.IPv4Address


def allocator(subnet: str = "10.9.0.0/29") -> ipam.Allocator:
    network = Net(subnet)
    return ipam.Allocator(network, network[1])


def test_addresses_come_in_order_and_a_released_one_comes_last() -> None:
    addresses = allocator()
    first = [str(addresses.allocate()) for _ in range(3)]
    assert first == ["10.9.0.2", "10.9.0.3", "10.9.0.4"]
    addresses.release(Address("10.9.0.2"))
    assert [str(addresses.allocate()) for _ in range(3)] == ["10.9.0.5", "10.9.0.6", "10.9.0.2"]


def test_an_exhausted_subnet_says_so_and_recovers() -> None:
    addresses = allocator()
    for _ in range(5):
        addresses.allocate()
    with pytest.raises(errdefs.System, match=r"no address is left in 10\.9\.0\.0/29"):
        addresses.allocate()
    addresses.release(Address("10.9.0.4"))
    assert str(addresses.allocate()) == "10.9.0.4"


def test_the_gateway_is_never_given_nor_released() -> None:
    addresses = allocator("10.9.0.0/30")
    addresses.release(Address("10.9.0.1"))
    assert str(addresses.allocate()) == "10.9.0.2"
    with pytest.raises(errdefs.System):
        addresses.allocate()


@pytest.mark.parametrize(
    ("wanted", "kind"),
    [
        ("10.9.0.1", errdefs.InvalidParameter),
        ("10.9.0.0", errdefs.InvalidParameter),
        ("10.9.0.7", errdefs.InvalidParameter),
        ("10.9.1.2", errdefs.InvalidParameter),
        ("fd00::1", errdefs.InvalidParameter),
        ("10.9.0.2; drop", errdefs.InvalidParameter),
        ("10.9.0.3", errdefs.Conflict),
    ],
)
def test_unusable_requested_addresses(wanted: str, kind: type[Exception]) -> None:
    addresses = allocator()
    addresses.allocate("10.9.0.3")
    with pytest.raises(kind, match=r"10\.9\.|fd00"):
        addresses.allocate(wanted)
    assert addresses.used == 2


def test_a_requested_address_is_skipped_by_the_others() -> None:
    addresses = allocator()
    assert str(addresses.allocate("10.9.0.3")) == "10.9.0.3"
    assert [str(addresses.allocate()) for _ in range(2)] == ["10.9.0.2", "10.9.0.4"]


def test_restored_addresses_are_taken_and_the_next_lies_behind() -> None:
    addresses = allocator()
    assert addresses.restore(Address("10.9.0.4"))
    assert not addresses.restore(Address("10.9.0.4"))
    assert not addresses.restore(Address("10.9.0.1"))
    assert not addresses.restore(Address("192.168.0.4"))
    assert [str(addresses.allocate()) for _ in range(3)] == ["10.9.0.5", "10.9.0.6", "10.9.0.2"]


def test_a_gateway_outside_is_refused() -> None:
    with pytest.raises(errdefs.InvalidParameter, match="outside"):
        ipam.Allocator(Net("10.9.0.0/24"), Address("10.8.0.1"))


def test_the_first_free_default_pool_is_chosen() -> None:
    pools = ipam.DEFAULT_POOLS
    assert ipam.choose_subnet(pools, []) == Net("172.17.0.0/16")
    taken = [Net("172.17.4.0/24"), Net("172.18.0.0/15")]
    assert ipam.choose_subnet(pools, taken) == Net("172.20.0.0/16")
    assert ipam.choose_subnet(pools, [Net("172.16.0.0/12")]) == Net("192.168.0.0/20")
    busy = [Net("172.16.0.0/12"), Net("192.168.0.0/19"), Net("192.168.37.0/24")]
    assert ipam.choose_subnet(pools, busy) == Net("192.168.48.0/20")


def test_a_huge_pool_full_to_the_last_subnet_is_searched_quickly() -> None:
    pools = [ipam.Pool("10.0.0.0/8", 30)]
    taken = [Net("10.0.0.0/9"), Net("10.128.0.0/10"), Net("10.192.0.0/10")]
    with pytest.raises(errdefs.System, match="default-address-pool"):
        ipam.choose_subnet(pools, taken)


@pytest.mark.parametrize(
    "pool",
    [("10.0.0.1/8", 24), ("x", 24), ("10.0.0.0/24", 16), ("10.0.0.0/24", 31), ("::/64", 127)],
)
def test_malformed_pools(pool: tuple[str, int]) -> None:
    with pytest.raises(errdefs.InvalidParameter, match="default address pool"):
        ipam.choose_subnet([ipam.Pool(*pool)], [])


def test_bip() -> None:
    assert str(ipam.parse_bip("10.9.0.5/24")) == "10.9.0.5/24"
    for wrong in ("", "10.9.0.0/24", "10.9.0.255/24", "10.9.0.5", "10.9.0.5/31", "127.0.0.1/8",
                  "fd00::1/64", "10.9.0.5/24 x"):  # fmt: skip
        with pytest.raises(errdefs.InvalidParameter, match="bridge address"):
            ipam.parse_bip(wrong)


def test_mac_addresses() -> None:
    assert ipam.mac_of(Address("172.17.0.2")) == "02:42:ac:11:00:02"
    assert ipam.parse_mac("02-42-AC-11-00-02") == "02:42:ac:11:00:02"
    for wrong in ("", "02:42", "02:42:ac:11:00:0g", "01:00:5e:00:00:01", "00:00:00:00:00:00",
                  "2:42:ac:11:0:2", "02:42:ac:11:00:02:03", "+2:42:ac:11:00:02",
                  "０2:42:ac:11:00:02"):  # fmt: skip
        with pytest.raises(errdefs.InvalidParameter, match="MAC address"):
            ipam.parse_mac(wrong)
