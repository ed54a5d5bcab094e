"""Where a registry may send this host.

A registry answers a request for a blob with a redirect to where it is stored, and a request without
a token with the address of a token service. Both addresses are the registry's choice, while it is
this host, often inside a network that the registry is not in, that makes the request: a hostile
registry could so reach a metadata service or a neighbour (server-side request forgery).

So addresses have a reach, and a registry may only send to addresses that reach at least as far as
its own: a public registry to public addresses, one in a private network also to private ones, one
on this host to any of these. Link-local addresses (metadata services) are for nobody else. Hosts
and networks in ``insecure-registries`` are trusted in this regard too.
"""

from __future__ import annotations

import enum
import ipaddress
import socket

from aiohttp import abc, resolver

from firkin import errdefs

_SHARED = ipaddress.ip_network("100.64.0.0/10")


class Reach(enum.IntEnum):
    """From how far away an address can be used."""

    PUBLIC = 0
    PRIVATE = 1
    LOOPBACK = 2
    LINK = 3


def reach(address: str) -> Reach:
    """The reach of an IP address; what is no address counts as public."""
    try:
        ip = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return Reach.PUBLIC
    if isinstance(ip, ipaddress.IPv6Address) and ip.ipv4_mapped:
        ip = ip.ipv4_mapped
    if ip.is_loopback or ip.is_unspecified:
        return Reach.LOOPBACK
    if ip.is_link_local or ip.is_multicast:
        return Reach.LINK
    if ip.is_private or ip in _SHARED or ip.is_reserved:
        return Reach.PRIVATE
    return Reach.PUBLIC


def allowed(origin: Reach, target: Reach) -> bool:
    """Whether a registry at ``origin`` may send this host to ``target``."""
    return target <= origin and (target != Reach.LINK or origin == Reach.LINK)


class Refused(OSError):
    """A name that leads to where it must not."""


class Resolver(abc.AbstractResolver):
    """Looks names up as usual and leaves out the addresses that are not for ``origin``."""

    def __init__(self, origin: Reach) -> None:
        self._origin = origin
        self._inner = resolver.ThreadedResolver()

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[abc.ResolveResult]:
        found = await self._inner.resolve(host, port, family)
        usable = [item for item in found if allowed(self._origin, reach(item["host"]))]
        if found and not usable:
            raise Refused(f"{host} is at {found[0]['host']}")
        return usable

    async def close(self) -> None:
        await self._inner.close()


def refusal(registry: str, host: str, detail: str) -> errdefs.Forbidden:
    """The error for a registry that sends this host where it must not."""
    return errdefs.Forbidden(
        f"the registry {registry} sends this host to {host} ({detail}), an address of a nearer "
        "network than its own: this may be an attack on that network, so nothing was requested "
        f"there; if it is meant, add {host} to insecure-registries in daemon.json"
    )
