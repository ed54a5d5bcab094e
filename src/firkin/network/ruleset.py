"""The firewall as text in nft's language. Pure: what the kernel gets is decided here.

One table per engine holds everything; other tables are never touched. The chains are constant;
what changes are the elements of sets and maps, so a container without published ports changes
nothing, and a published port is one element.

::

    arriving packet  ──► guard ──► prerouting ──► (route) ──► forward ──► postrouting
                                                     └──────► input
    the host's own   ────────────► output     ──► (route) ──────────────► postrouting

    guard        127.0.0.0/8 on the wire of a bridge, as source or destination, is dropped.
                 Publishing on 127.0.0.1 needs route_localnet on the bridge, which would otherwise
                 let a container talk to services that the host keeps on its loopback address.
    prerouting   a packet for a published address and port goes to its container. Ports published
                 on every address match the host's own addresses only, and never 127.0.0.0/8:
                 a neighbour that sends such a packet on the wire must not get in by the rewriting.
    output       the same for the host's own packets, with 127.0.0.0/8.
    input        an internal network reaches those addresses of the host that lie on its own bridge,
                 and no published port there. Connections to ports that the relay listens on are
                 the host's own business; the administrator's rules see them here.
    forward      first the administrator's rules (chain admin). Out of and into an internal network
                 nothing goes but packets between its own containers. Into another bridge come
                 replies, packets that were redirected here, those for ports that are open without
                 redirection, and packets between containers of that bridge; all others are
                 dropped: a neighbour cannot reach a container's address directly, nor one network
                 another. Out of a bridge all may go.
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

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Subnet = ipaddress.IPv4Network | ipaddress.IPv6Network


class Network(msgspec.Struct, frozen=True, kw_only=True):
    """What the firewall knows of a network: its bridge, its subnets and what is allowed.

    ``icc``: containers on it may talk to each other. ``internal``: nothing else may get in or out.
    ``masquerade``: those subnets from which packets leave under the host's address.
    ``unprotected``: anybody may send packets to its containers' addresses. ``routed``: the IP
    versions in which their published ports are reached at these addresses, and they by ping.
    ``leaves_as``: the host's address that packets from a subnet get, if not any.
    """

    bridge: str
    subnets: tuple[Subnet, ...]
    icc: bool = True
    internal: bool = False
    masquerade: tuple[Subnet, ...] = ()
    unprotected: bool = False
    routed: tuple[int, ...] = ()
    leaves_as: tuple[tuple[Subnet, Address], ...] = ()


class Redirect(msgspec.Struct, frozen=True, kw_only=True):
    """A published port: an unspecified ``host_ip`` means every address of the host.

    ``host_port`` 0: no redirection; the container's own address and port are reachable. From IPv6
    to IPv4: no redirection either; the relay listens on the port.
    """

    proto: str
    host_ip: Address
    host_port: int
    container_ip: Address
    container_port: int


def check_table(name: str) -> None:
    """Raises ``InvalidParameter`` unless ``name`` can be written as a table's name."""
    if not _NAME.fullmatch(name):
        raise errdefs.InvalidParameter(f"{name!r} cannot be the name of a firewall table")


_MAPS = (
    "everywhere", "everywhere6", "on_address", "on_address6", "on_loopback", "opened", "opened6",
    "relayed", "relayed_on",
)  # fmt: skip


def _place(redirect: Redirect) -> tuple[str, str, str]:
    """(set or map, key, value) of a redirect; a set has no values."""
    if redirect.proto not in _PROTOCOLS:
        raise errdefs.InvalidParameter(f"protocol {redirect.proto!r} has no ports to publish")
    family = "6" if redirect.container_ip.version == 6 else ""
    if not redirect.host_port:
        port = redirect.container_port
        return f"opened{family}", f"{redirect.container_ip} . {redirect.proto} . {port}", ""
    key = f"{redirect.proto} . {redirect.host_port}"
    if redirect.host_ip.version > redirect.container_ip.version:
        if redirect.host_ip.is_unspecified:
            return "relayed", key, ""
        return "relayed_on", f"{redirect.host_ip} . {key}", ""
    value = f"{redirect.container_ip} . {redirect.container_port}"
    if redirect.host_ip.is_unspecified:
        return f"everywhere{family}", key, value
    kind = "on_loopback" if redirect.host_ip.is_loopback and not family else "on_address" + family
    return kind, f"{redirect.host_ip} . {key}", value


def _element(key: str, value: str) -> str:
    return f"{key} : {value}" if value else key


def _elements(items: Iterable[str]) -> str:
    joined = ", ".join(sorted(items))
    return f"elements = {{ {joined} }};" if joined else ""


def _of(subnets: Iterable[Subnet], version: int) -> str:
    return _elements({str(subnet) for subnet in subnets if subnet.version == version})


def whole(
    table: str,
    networks: Collection[Network],
    redirects: Collection[Redirect],
    admin: str = "",
) -> str:
    """One transaction that puts the table in place of whatever it was before.

    ``admin`` are the administrator's rules, lines of nft's language. ICMP is written as a number: a
    minimal host has no /etc/protocols to look its name up in.
    """
    maps: dict[str, list[str]] = {name: [] for name in _MAPS}
    for redirect in redirects:
        kind, key, value = _place(redirect)
        maps[kind].append(_element(key, value))
    bridges = _elements(f'"{network.bridge}"' for network in networks)
    internal = _elements(f'"{one.bridge}"' for one in networks if one.internal)
    unprotected = _elements(f'"{one.bridge}"' for one in networks if one.unprotected)
    routed = {
        version: _elements(f'"{one.bridge}"' for one in networks if version in one.routed)
        for version in (4, 6)
    }
    subnets = [subnet for network in networks for subnet in network.subnets]
    outgoing = [subnet for network in networks for subnet in network.masquerade]
    leaving = {
        version: _elements(
            f"{subnet} : {address}"
            for one in networks
            for subnet, address in one.leaves_as
            if subnet.version == version
        )
        for version in (4, 6)
    }
    icc = _elements(f'"{one.bridge}" . "{one.bridge}"' for one in networks if one.icc)
    port = "inet_proto . inet_service"
    to4, to6 = ": ipv4_addr . inet_service", ": ipv6_addr . inet_service"
    return f"""
table inet {table}
delete table inet {table}
table inet {table} {{
    set bridges {{ type ifname; {bridges} }}
    set internal {{ type ifname; {internal} }}
    set unprotected {{ type ifname; {unprotected} }}
    set routed {{ type ifname; {routed[4]} }}
    set routed6 {{ type ifname; {routed[6]} }}
    set subnets {{ type ipv4_addr; flags interval; auto-merge; {_of(subnets, 4)} }}
    set subnets6 {{ type ipv6_addr; flags interval; auto-merge; {_of(subnets, 6)} }}
    set outgoing {{ type ipv4_addr; flags interval; auto-merge; {_of(outgoing, 4)} }}
    set outgoing6 {{ type ipv6_addr; flags interval; auto-merge; {_of(outgoing, 6)} }}
    map leaving {{ type ipv4_addr : ipv4_addr; flags interval; {leaving[4]} }}
    map leaving6 {{ type ipv6_addr : ipv6_addr; flags interval; {leaving[6]} }}
    set icc {{ type ifname . ifname; {icc} }}
    map everywhere {{ type {port} {to4}; {_elements(maps["everywhere"])} }}
    map everywhere6 {{ type {port} {to6}; {_elements(maps["everywhere6"])} }}
    map on_address {{ type ipv4_addr . {port} {to4}; {_elements(maps["on_address"])} }}
    map on_address6 {{ type ipv6_addr . {port} {to6}; {_elements(maps["on_address6"])} }}
    map on_loopback {{ type ipv4_addr . {port} {to4}; {_elements(maps["on_loopback"])} }}
    set opened {{ type ipv4_addr . {port}; {_elements(maps["opened"])} }}
    set opened6 {{ type ipv6_addr . {port}; {_elements(maps["opened6"])} }}
    set relayed {{ type {port}; {_elements(maps["relayed"])} }}
    set relayed_on {{ type ipv6_addr . {port}; {_elements(maps["relayed_on"])} }}

    chain guard {{
        type filter hook prerouting priority raw; policy accept;
        iifname @bridges ip saddr 127.0.0.0/8 drop
        iifname @bridges ip daddr 127.0.0.0/8 drop
    }}
    chain published {{
        dnat ip to ip daddr . meta l4proto . th dport map @on_address
        fib daddr type local dnat ip to meta l4proto . th dport map @everywhere
    }}
    chain published6 {{
        dnat ip6 to ip6 daddr . meta l4proto . th dport map @on_address6
        fib daddr type local dnat ip6 to meta l4proto . th dport map @everywhere6
    }}
    chain prerouting {{
        type nat hook prerouting priority dstnat; policy accept;
        ip daddr != 127.0.0.0/8 jump published
        ip6 daddr != ::1 jump published6
    }}
    chain output {{
        type nat hook output priority -100; policy accept;
        dnat ip to ip daddr . meta l4proto . th dport map @on_loopback
        meta nfproto ipv4 jump published
        ip6 daddr != ::1 jump published6
    }}
    chain input {{
        type filter hook input priority filter; policy accept;
        iifname @internal fib daddr . iif type != {{ local, broadcast, anycast, multicast }} drop
        meta nfproto ipv6 iifname != "lo" meta l4proto . th dport @relayed jump relay
        iifname != "lo" ip6 daddr . meta l4proto . th dport @relayed_on jump admin
    }}
    chain relay {{
        iifname @internal drop
        jump admin
    }}
    chain admin {{
{_indented(admin)}
    }}
    chain forward {{
        type filter hook forward priority filter; policy accept;
        iifname @bridges jump admin
        iifname != @bridges oifname @bridges jump admin
        iifname @internal jump within
        oifname @internal jump within
        oifname @bridges jump into_bridge
    }}
    chain within {{
        iifname . oifname @icc accept
        drop
    }}
    chain into_bridge {{
        ct state established,related accept
        ct status dnat accept
        iifname . oifname @icc accept
        oifname @unprotected accept
        oifname @routed ip protocol 1 accept
        oifname @routed6 meta l4proto 58 accept
        ip daddr . meta l4proto . th dport @opened accept
        ip6 daddr . meta l4proto . th dport @opened6 accept
        drop
    }}
    chain postrouting {{
        type nat hook postrouting priority srcnat; policy accept;
        oifname @bridges ip saddr 127.0.0.0/8 masquerade
        oifname @bridges ct status dnat ip saddr @subnets masquerade
        oifname @bridges ct status dnat ip6 saddr @subnets6 masquerade
        oifname != @bridges snat ip to ip saddr map @leaving
        oifname != @bridges snat ip6 to ip6 saddr map @leaving6
        oifname != @bridges ip saddr @outgoing masquerade
        oifname != @bridges ip6 saddr @outgoing6 masquerade
    }}
}}
"""


def _indented(rules: str) -> str:
    return "\n".join(f"        {line.strip()}" for line in rules.splitlines() if line.strip())


def publish(table: str, redirects: Iterable[Redirect]) -> str:
    """One transaction that adds the redirects to the table."""
    lines = []
    for redirect in redirects:
        kind, key, value = _place(redirect)
        lines.append(f"add element inet {table} {kind} {{ {_element(key, value)} }}")
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
