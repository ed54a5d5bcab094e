"""A container's /etc/hostname, /etc/hosts and /etc/resolv.conf.

They live in the container's lasting directory and are bound into it, so a container may edit them.
resolv.conf follows the host's, without name servers on the host's loopback, which a container in a
network of its own can't reach.
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
from collections.abc import Iterable, Sequence
from typing import TextIO

from firkin.types import container, network

_LARGEST = 1 << 20
"""Characters: what a container writes is read into the engine's memory."""

NAMES = ("hostname", "hosts", "resolv.conf")

RESOLVER = "127.0.0.11"
_FALLBACK = ("8.8.8.8", "8.8.4.4")
_HOSTS = "127.0.0.1\tlocalhost\n"
_HOSTS6 = (
    "::1\tlocalhost ip6-localhost ip6-loopback\n"
    "fe00::\tip6-localnet\n"
    "ff00::\tip6-mcastprefix\n"
    "ff02::1\tip6-allnodes\n"
    "ff02::2\tip6-allrouters\n"
)


def hosts(
    hostname: str,
    domainname: str,
    endpoints: Iterable[network.Endpoint],
    extra: list[str],
    host_gateways: Sequence[str],
    *,
    ipv6: bool = True,
) -> str:
    """The text of /etc/hosts; ``ipv6``: whether the container has it."""
    text = _HOSTS + (_HOSTS6 if ipv6 else "")
    for entry in extra:
        text += extra_host(entry, host_gateways)
    for endpoint in endpoints:
        text += "".join(own_lines(endpoint, hostname, domainname))
    return text


def own_lines(endpoint: network.Endpoint, hostname: str, domainname: str) -> list[str]:
    """The lines of /etc/hosts for a container's own addresses on one network."""
    whole = f"{hostname}.{domainname}" if domainname else hostname
    short = hostname if domainname else hostname.partition(".")[0]
    names = f"{whole} {short}" if short != whole else whole
    addresses = (endpoint.ipv4_address, endpoint.ipv6_address)
    return [f"{address}\t{names}\n" for address in addresses if address]


def _bounded(file: TextIO) -> str | None:
    """The text of a file that the container may write to; None when it has made it too large."""
    text = file.read(_LARGEST + 1)
    return text if len(text) <= _LARGEST else None


def add_address(home: str, config: container.Config, endpoint: network.Endpoint) -> None:
    """Tell a running container's /etc/hosts of an endpoint; the rest of the file stays."""
    path = os.path.join(home, "hosts")
    with (
        contextlib.suppress(FileNotFoundError),
        open(path, encoding="utf-8", errors="surrogateescape") as file,
    ):
        text = _bounded(file)
        if text is None:
            return
        for line in own_lines(endpoint, config.hostname, config.domainname):
            if line not in text:
                text += line
        write(home, "hosts", text)


def drop_address(home: str, endpoint: network.Endpoint) -> None:
    """Take the lines of an endpoint's addresses out of a running container's /etc/hosts."""
    path = os.path.join(home, "hosts")
    gone = {endpoint.ipv4_address, endpoint.ipv6_address}
    with (
        contextlib.suppress(FileNotFoundError),
        open(path, encoding="utf-8", errors="surrogateescape") as file,
    ):
        text = _bounded(file)
        if text is None:
            return
        lines = text.splitlines(keepends=True)
        write(home, "hosts", "".join(line for line in lines if line.split("\t")[0] not in gone))


def nameservers(config: container.HostConfig, dns: list[str]) -> list[network.Nameserver]:
    """Whom the resolver of a container asks: its own servers, else the engine's, else the host's.

    Its own are reached from its own networks, the others from the host.
    """
    if config.dns:
        return [network.Nameserver(address=one, from_host=False) for one in config.dns]
    servers = dns or host_servers(_read("/etc/resolv.conf"))
    return [network.Nameserver(address=one) for one in servers]


def unreachable(config: container.HostConfig, dns: list[str]) -> bool:
    """Whether all servers that a container could ask are on the host's loopback."""
    servers = config.dns or dns or host_servers(_read("/etc/resolv.conf"))
    return bool(servers) and not config.dns and all(_loopback(one) for one in servers)


def host_servers(text: str) -> list[str]:
    """The name servers of a resolv.conf."""
    found = []
    for line in text.splitlines():
        words = line.split()
        if len(words) > 1 and words[0] == "nameserver":
            found.append(words[1])
    return found


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read()
    except OSError:
        return ""


def extra_host(entry: str, host_gateways: Sequence[str]) -> str:
    """The lines of /etc/hosts for an ``--add-host`` entry ``NAME:ADDRESS``."""
    name, _, address = entry.partition(":")
    address = address.strip("[]")
    addresses = host_gateways if address == "host-gateway" else (address,)
    return "".join(f"{one}\t{name}\n" for one in addresses)


def resolv_conf(
    config: container.HostConfig,
    *,
    dns: list[str],
    search: list[str],
    options: list[str],
    host_network: bool,
    resolver: bool = False,
) -> str:
    """The text of /etc/resolv.conf: the container's words, else the engine's, else the host's.

    ``resolver``: the name server is the engine's own, which asks the others itself.
    """
    servers: list[str] = []
    host_search: list[str] = []
    host_options: list[str] = []
    for line in _read("/etc/resolv.conf").splitlines():
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
    chosen = list(config.dns_options or options or host_options)
    if resolver:
        servers = [RESOLVER]
        if not any(option.startswith("ndots:") for option in chosen):
            chosen.append("ndots:0")
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


def read(directory: str, name: str) -> str:
    """The text of one of the files, its first MiB at most; "" when it is not there."""
    path = os.path.join(directory, name)
    try:
        with open(path, encoding="utf-8", errors="surrogateescape") as file:
            return file.read(_LARGEST)
    except FileNotFoundError:
        return ""


def replace(home: str, name: str, before: str, after: str) -> None:
    """Write a running container's file anew, unless somebody in there has changed it."""
    with (
        contextlib.suppress(FileNotFoundError),
        open(os.path.join(home, name), encoding="utf-8", errors="surrogateescape") as file,
    ):
        if before != after and _bounded(file) == before:
            write(home, name, after)


def write(directory: str, name: str, text: str) -> str:
    """Write one of the files in place, keeping the inode that may be bound; returns its path."""
    path = os.path.join(directory, name)
    with open(path, "w", encoding="utf-8", errors="surrogateescape") as file:
        os.fchmod(file.fileno(), 0o644)
        file.write(text)
    return path
