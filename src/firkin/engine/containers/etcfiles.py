"""A container's /etc/hostname, /etc/hosts and /etc/resolv.conf.

They live in the container's lasting directory and are bound into it, so a container may edit them.
resolv.conf follows the host's, without name servers on the host's loopback, which a container in a
network of its own can't reach.
"""

from __future__ import annotations

import ipaddress
import os

from firkin.types import container, network

_FALLBACK = ("8.8.8.8", "8.8.4.4")
_HOSTS = (
    "127.0.0.1\tlocalhost\n"
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::\tip6-localnet\n"
    "ff00::\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\n"
    "ff02::2\tip6-allrouters\n"
)


def hosts(
    hostname: str,
    domainname: str,
    endpoint: network.Endpoint | None,
    extra: list[str],
    host_gateway: str,
) -> str:
    """The text of /etc/hosts."""
    text = _HOSTS
    for entry in extra:
        text += extra_host(entry, host_gateway)
    if endpoint is not None and endpoint.ipv4_address:
        names = f"{hostname}.{domainname} {hostname}" if domainname else hostname
        text += f"{endpoint.ipv4_address}\t{names}\n"
    return text


def extra_host(entry: str, host_gateway: str) -> str:
    """The line of /etc/hosts for an ``--add-host`` entry ``NAME:ADDRESS``."""
    name, _, address = entry.partition(":")
    address = address.strip("[]")
    return f"{host_gateway if address == 'host-gateway' else address}\t{name}\n"


def resolv_conf(
    host_text: str,
    config: container.HostConfig,
    *,
    dns: list[str],
    search: list[str],
    options: list[str],
    host_network: bool,
) -> str:
    """The text of /etc/resolv.conf: the container's words, else the engine's, else the host's."""
    servers: list[str] = []
    host_search: list[str] = []
    host_options: list[str] = []
    for line in host_text.splitlines():
        words = line.split()
        if len(words) < 2 or words[0].startswith(("#", ";")):
            continue
        if words[0] == "nameserver" and (host_network or not _loopback(words[1])):
            servers.append(words[1])
        elif words[0] in ("search", "domain"):
            host_search = words[1:]
        elif words[0] == "options":
            host_options += words[1:]
    servers = config.dns or dns or servers or list(_FALLBACK)
    searches = config.dns_search or search or host_search
    chosen = config.dns_options or options or host_options
    lines = [f"nameserver {server}" for server in servers]
    if searches and searches != ["."]:
        lines.append("search " + " ".join(searches))
    if chosen:
        lines.append("options " + " ".join(chosen))
    return "\n".join(lines) + "\n"


def _loopback(text: str) -> bool:
    try:
        return ipaddress.ip_address(text.partition("%")[0]).is_loopback
    except ValueError:
        return True


def write(directory: str, name: str, text: str) -> str:
    """Write one of the files in place, keeping the inode that may be bound; returns its path."""
    path = os.path.join(directory, name)
    with open(path, "w", encoding="utf-8") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(text)
    return path
