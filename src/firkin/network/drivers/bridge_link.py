"""The Linux bridge of a network in the kernel: its addresses, parameters and ports. Blocks."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from collections.abc import Collection

from firkin.linux import netlink, sysctl
from firkin.network import sandbox
from firkin.types import network as types

log = logging.getLogger(__name__)


def set_addresses(host: netlink.Socket, index: int, wanted: Collection[tuple[str, int]]) -> None:
    """Let an interface have these addresses (with prefix lengths) and, but link-local, no other."""
    found = []
    for family in (socket.AF_INET, socket.AF_INET6):
        found += [one for one in host.addresses(family) if one.index == index]
    present = {(one.address, one.prefix_len) for one in found}
    for one in found:
        if (one.address, one.prefix_len) not in wanted and not one.network.is_link_local:
            host.request(netlink.delete_address(index, one.address, one.prefix_len))
    if any(":" in address for address, _ in wanted):
        name = socket.if_indextoname(index)
        for key, value in (("accept_dad", "0"), ("accept_ra", "0"), ("disable_ipv6", "0")):
            sysctl.write(("net", "ipv6", "conf", name, key), value)
    for address, length in wanted:
        if (address, length) not in present:
            host.request(netlink.add_address(index, address, length))


def set_parameters(name: str, *, internal: bool, ipv6: bool, forward: bool) -> None:
    """Kernel parameters of a bridge and, with ``forward``, forwarding on the host."""
    forward = forward and not internal
    if forward and sysctl.write("net.ipv4.ip_forward", "1"):
        log.info("IPv4 forwarding was off on this host and is on now, for all interfaces")
    if not internal:
        # Ports published on 127.0.0.1: see the firewall's guard chain for the other side of it.
        sysctl.write(("net", "ipv4", "conf", name, "route_localnet"), "1")
    if not ipv6:
        # No container may reach the host by a link-local address that nobody gave out.
        with contextlib.suppress(FileNotFoundError):
            sysctl.write(("net", "ipv6", "conf", name, "disable_ipv6"), "1")
    elif forward:
        _forward_ipv6()


def _forward_ipv6() -> None:
    """Turn forwarding on, without the host losing the routes it has from router advertisements."""
    if sysctl.read("net.ipv6.conf.all.forwarding") == "1":
        return
    for name in os.listdir("/proc/sys/net/ipv6/conf"):
        # A host that forwards ignores advertisements unless it is told 2.
        key = ("net", "ipv6", "conf", name, "accept_ra")
        with contextlib.suppress(FileNotFoundError):
            if name not in ("all", "lo") and sysctl.read(key) == "1":
                sysctl.write(key, "2")
    sysctl.write("net.ipv6.conf.all.forwarding", "1")
    log.info("IPv6 forwarding was off on this host and is on now, for all interfaces")


def repair_ports(
    host: netlink.Socket, bridge: int, live: Collection[types.Endpoint], *, isolated: bool
) -> None:
    """Delete the ports that no running container has; put back those of running ones."""
    keep = {endpoint.host_interface for endpoint in live}
    for link in host.links():
        if link.name in keep and link.master != bridge:
            host.request(
                netlink.set_link(link.index, master=bridge, up=True),
                netlink.set_port(link.name, isolated=isolated),
            )
        elif (
            link.name.startswith(sandbox.PREFIX) and link.master == bridge and link.name not in keep
        ):
            with contextlib.suppress(OSError):  # it may end by itself at this moment
                host.request(netlink.delete_link(link.index))
