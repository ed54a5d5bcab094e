"""Bridges, the firewall, forwarding, names."""

from __future__ import annotations

import json
from collections.abc import Iterator

from firkin.doctor import findings, hosts

_DEVICES = {
    "bridge": ("ip", "link", "add", "fkprobe0", "type", "bridge"),
    "veth": ("ip", "link", "add", "fkprobe0", "type", "veth", "peer", "name", "fkprobe1"),
}
_OWN = "firkin"
_BRIDGE = "firkin0"


def devices(host: hosts.Host) -> Iterator[findings.Finding]:
    """Whether the kernel makes bridges and veth pairs, tried in a network namespace."""
    if not host.is_root():
        return
    failed = [
        kind
        for kind, words in _DEVICES.items()
        if host.succeeds("unshare", "--net", *words) is False
    ]
    for kind in failed:
        yield findings.fail(
            "network devices",
            f"the kernel makes no {kind} devices: containers have no network",
            f"modprobe {kind}",
        )
    if not failed:
        yield findings.ok("network devices", ", ".join(_DEVICES))


def firewall(host: hosts.Host) -> Iterator[findings.Finding]:
    """Whether nftables works, and whether somebody else's rules drop what containers send."""
    if not host.is_root():
        return
    works = host.succeeds("unshare", "--net", "nft", "add", "table", "inet", "fkprobe")
    if works is False:
        yield findings.fail(
            "firewall",
            "the kernel has no nftables: no port can be published and no address translated",
            "modprobe nf_tables nft_chain_nat",
        )
        return
    found = list(_others(host))
    yield from found
    if works and not found:
        yield findings.ok("firewall", "nftables")


def _others(host: hosts.Host) -> Iterator[findings.Finding]:
    """What other tables do with forwarded packets, whose verdict is final."""
    chains = list(_forwarding(host.output("nft", "-j", "list", "chains")))
    for family, table, chain, policy in chains:
        if policy != "drop":
            continue
        remedy = (
            f'nft \'insert rule {family} {table} {chain} iifname "firkin*" accept; '
            f'insert rule {family} {table} {chain} oifname "firkin*" accept\''
        )
        if host.program("ufw") and (table, chain) == ("filter", "FORWARD"):
            remedy = f"ufw route allow in on {_BRIDGE} && ufw route allow out on {_BRIDGE}"
        yield findings.warn(
            "firewall",
            f"the chain {chain} of the table {family} {table} drops forwarded packets by policy: "
            "containers reach nothing, and nothing reaches their published ports; user-defined "
            "networks need the same for their bridges",
            remedy,
        )
    zoned = any(table == "firewalld" for _, table, _, _ in chains)
    if zoned and host.output("firewall-cmd", f"--get-zone-of-interface={_BRIDGE}") != "trusted":
        yield findings.warn(
            "firewall",
            "firewalld rejects forwarded packets of interfaces in no zone that allows them: "
            "containers reach nothing, and nothing reaches their published ports",
            f"firewall-cmd --permanent --zone=trusted --add-interface={_BRIDGE} && "
            "firewall-cmd --reload",
        )


def _forwarding(text: str) -> Iterator[tuple[str, str, str, str]]:
    """Family, table, name and policy of others' base chains for forwarded packets."""
    try:
        items = json.loads(text or "{}").get("nftables", [])
    except ValueError:
        return
    for item in items:
        chain = item.get("chain", {})
        if chain.get("hook") == "forward" and not str(chain.get("table", "")).startswith(_OWN):
            yield (
                str(chain.get("family", "")),
                str(chain.get("table", "")),
                str(chain.get("name", "")),
                str(chain.get("policy", "")),
            )


def forwarding(host: hosts.Host) -> Iterator[findings.Finding]:
    """Whether the host passes packets on; the engine turns it on unless it may not."""
    path = "/proc/sys/net/ipv4/ip_forward"
    if not host.exists(path):
        yield findings.fail(
            "forwarding", "the kernel can't forward packets", "boot a kernel with CONFIG_INET"
        )
    elif host.read(path) == "1":
        yield findings.ok("forwarding", "on")
    else:
        yield findings.warn(
            "forwarding",
            "IPv4 forwarding is off; firkind turns it on when it starts, and nothing keeps it on",
            "echo net.ipv4.ip_forward=1 >/etc/sysctl.d/60-firkin.conf && sysctl --system",
        )


def resolvers(host: hosts.Host) -> Iterator[findings.Finding]:
    """Whether containers can be given a name server."""
    lines = [line.split() for line in host.read("/etc/resolv.conf").splitlines()]
    found = [words[1] for words in lines if len(words) > 1 and words[0] == "nameserver"]
    if found:
        yield findings.ok("names", f"resolved by {', '.join(found)}")
    else:
        yield findings.warn(
            "names",
            "/etc/resolv.conf names no name server: containers can't resolve names",
            "echo nameserver ADDRESS >>/etc/resolv.conf, or start firkind with --dns ADDRESS",
        )
