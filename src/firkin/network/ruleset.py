"""The firewall as text in nft's language. Pure: what the kernel gets is decided here.

One table per engine holds everything; other tables are never touched. The chains are constant;
what changes are the elements of sets and maps, so a container without published ports changes
nothing, and a published port is one element.

::

    arriving packet  ──► guard ──► prerouting ──► (route) ──► forward ──► postrouting
    the host's own   ────────────► output     ──► (route) ──────────────► postrouting

    guard        127.0.0.0/8 on the wire of a bridge, as source or destination, is dropped.
                 Publishing on 127.0.0.1 needs route_localnet on the bridge, which would otherwise
                 let a container talk to services that the host keeps on its loopback address.
    prerouting   a packet for a published address and port goes to its container. Ports published
                 on every address match the host's own addresses only, and never 127.0.0.0/8:
                 a neighbour that sends such a packet on the wire must not get in by the rewriting.
    output       the same for the host's own packets, with 127.0.0.0/8.
    forward      into a bridge come replies, packets that were redirected here, and packets between
                 containers of that bridge; all others are dropped: a neighbour cannot reach a
                 container's address directly, nor one network another. Out of a bridge all may go.
    postrouting  what leaves a subnet gets the host's address. So does what was redirected from a
                 container to a container (the reply must come back through the host to be
                 rewritten) and what the host sends from 127.0.0.0/8.

The forward hook sees what all tables of the host let pass: when another one drops forwarded
packets (a ``FORWARD`` policy of DROP), ours cannot bring them back.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Collection, Iterable

import msgspec

from firkin import errdefs

_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,62}")
_PROTOCOLS = ("tcp", "udp", "sctp")


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """What the firewall knows of a network: its bridge, its subnet and what is allowed.

    ``icc``: containers on it may talk to each other. ``masquerade``: they may leave it under the
    host's address.
    """

    bridge: str
    subnet: ipaddress.IPv4Network
    icc: bool = True
    masquerade: bool = True


class Redirect(msgspec.Struct, frozen=True, kw_only=True):
    """A published port: ``host_ip`` 0.0.0.0 means every address of the host."""

    proto: str
    host_ip: ipaddress.IPv4Address
    host_port: int
    container_ip: ipaddress.IPv4Address
    container_port: int


def check_table(name: str) -> None:
    """Raises ``InvalidParameter`` unless ``name`` can be written as a table's name."""
    if not _NAME.fullmatch(name):
        raise errdefs.InvalidParameter(f"{name!r} cannot be the name of a firewall table")


def _place(redirect: Redirect) -> tuple[str, str, str]:
    """(map, key, value) of a redirect."""
    if redirect.proto not in _PROTOCOLS:
        raise errdefs.InvalidParameter(f"protocol {redirect.proto!r} has no ports to publish")
    key = f"{redirect.proto} . {redirect.host_port}"
    value = f"{redirect.container_ip} . {redirect.container_port}"
    if redirect.host_ip.is_unspecified:
        return "everywhere", key, value
    kind = "on_loopback" if redirect.host_ip.is_loopback else "on_address"
    return kind, f"{redirect.host_ip} . {key}", value


def _elements(items: Iterable[str]) -> str:
    joined = ", ".join(sorted(items))
    return f"elements = {{ {joined} }};" if joined else ""


def whole(table: str, networks: Collection[Network], redirects: Collection[Redirect]) -> str:
    """One transaction that puts the table in place of whatever it was before."""
    maps: dict[str, list[str]] = {"everywhere": [], "on_loopback": [], "on_address": []}
    for redirect in redirects:
        kind, key, value = _place(redirect)
        maps[kind].append(f"{key} : {value}")
    bridges = _elements(f'"{network.bridge}"' for network in networks)
    subnets = _elements({str(network.subnet) for network in networks})
    outgoing = _elements({str(network.subnet) for network in networks if network.masquerade})
    icc = _elements(f'"{one.bridge}" . "{one.bridge}"' for one in networks if one.icc)
    addressed = "type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service;"
    return f"""
table inet {table}
delete table inet {table}
table inet {table} {{
    set bridges {{ type ifname; {bridges} }}
    set subnets {{ type ipv4_addr; flags interval; {subnets} }}
    set outgoing {{ type ipv4_addr; flags interval; {outgoing} }}
    set icc {{ type ifname . ifname; {icc} }}
    map everywhere {{
        type inet_proto . inet_service : ipv4_addr . inet_service; {_elements(maps["everywhere"])}
    }}
    map on_address {{ {addressed} {_elements(maps["on_address"])} }}
    map on_loopback {{ {addressed} {_elements(maps["on_loopback"])} }}

    chain guard {{
        type filter hook prerouting priority raw; policy accept;
        iifname @bridges ip saddr 127.0.0.0/8 drop
        iifname @bridges ip daddr 127.0.0.0/8 drop
    }}
    chain published {{
        dnat ip to ip daddr . meta l4proto . th dport map @on_address
        fib daddr type local dnat ip to meta l4proto . th dport map @everywhere
    }}
    chain prerouting {{
        type nat hook prerouting priority dstnat; policy accept;
        ip daddr != 127.0.0.0/8 jump published
    }}
    chain output {{
        type nat hook output priority -100; policy accept;
        dnat ip to ip daddr . meta l4proto . th dport map @on_loopback
        jump published
    }}
    chain forward {{
        type filter hook forward priority filter; policy accept;
        oifname @bridges jump into_bridge
    }}
    chain into_bridge {{
        ct state established,related accept
        ct status dnat accept
        iifname . oifname @icc accept
        drop
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        oifname @bridges ip saddr 127.0.0.0/8 masquerade
        oifname @bridges ct status dnat ip saddr @subnets masquerade
        oifname != @bridges ip saddr @outgoing masquerade
    }}
}}
"""


def publish(table: str, redirects: Iterable[Redirect]) -> str:
    """One transaction that adds the redirects to the table."""
    lines = []
    for redirect in redirects:
        kind, key, value = _place(redirect)
        lines.append(f"add element inet {table} {kind} {{ {key} : {value} }}")
    return "\n".join(lines)


def withdraw(table: str, redirects: Iterable[Redirect]) -> str:
    """One transaction that takes the redirects out of the table."""
    lines = []
    for redirect in redirects:
        kind, key, _ = _place(redirect)
        lines.append(f"delete element inet {table} {kind} {{ {key} }}")
    return "\n".join(lines)


def remove(table: str) -> str:
    """One transaction that removes the table, if it is there."""
    return f"table inet {table}\ndelete table inet {table}"
