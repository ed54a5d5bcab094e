"""Which addresses the containers' names have, as one of the containers sees it. Pure.

A name is looked for on the container's networks in their order, first among the links that only
this container has, then among the names of all containers there; the first network that has it
answers, with every container of that name. ``NAME.NETWORK`` is looked for on that network alone.
Letters' case does not matter.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from firkin.network.resolver import protocol

Addresses = list[ipaddress.IPv4Address | ipaddress.IPv6Address]


class Zone:
    """The names of all containers, by network."""

    def __init__(self) -> None:
        self.clients: dict[str, protocol.Client] = {}
        self._names: dict[str, dict[str, list[protocol.Membership]]] = {}
        self._addresses: dict[tuple[str, str], protocol.Membership] = {}

    def put(self, client: protocol.Client) -> None:
        """Add a container, or replace what was known of it."""
        self.drop(client.id)
        self.clients[client.id] = client
        for member in client.members:
            names = self._names.setdefault(member.network, {})
            for name in {name.lower() for name in member.names}:
                names.setdefault(name, []).append(member)
            for address in (member.ipv4, member.ipv6):
                if address:
                    self._addresses[member.network, address] = member

    def drop(self, client_id: str) -> None:
        """Forget a container; unknown ones are ignored."""
        client = self.clients.pop(client_id, None)
        for member in client.members if client is not None else ():
            names = self._names.get(member.network, {})
            for name in {name.lower() for name in member.names}:
                left = [one for one in names.get(name, []) if one is not member]
                if left:
                    names[name] = left
                else:
                    names.pop(name, None)
            for address in (member.ipv4, member.ipv6):
                if self._addresses.get((member.network, address)) is member:
                    del self._addresses[member.network, address]
            if not names:
                self._names.pop(member.network, None)

    def addresses(self, client: protocol.Client, name: str) -> Addresses | None:
        """All addresses of a name for a container; None when no container here has it."""
        name = name.lower()
        for member in client.members:
            found = self._on(member, name)
            if found is not None:
                return found
        for member in client.members:
            suffix = "." + member.network_name.lower()
            if name.endswith(suffix):
                found = self._on(member, name.removesuffix(suffix))
                if found is not None:
                    return found
        return None

    def _on(self, member: protocol.Membership, name: str) -> Addresses | None:
        names = self._names.get(member.network, {})
        links = {alias.lower(): target.lower() for alias, target in member.links.items()}
        found = names.get(links[name]) if name in links else None
        found = found or names.get(name)
        if not found:
            return None
        return [
            ipaddress.ip_address(text) for one in found for text in (one.ipv4, one.ipv6) if text
        ]

    def name_of(
        self, client: protocol.Client, address: ipaddress.IPv4Address | ipaddress.IPv6Address
    ) -> str | None:
        """The name of an address, with its network's.

        "" for one of the container's networks that nobody has; None for any other.
        """
        for member in client.members:
            found = self._addresses.get((member.network, str(address)))
            if found is not None:
                return f"{found.names[0]}.{found.network_name}" if found.names else ""
        subnets = _networks(text for member in client.members for text in member.subnets)
        return "" if any(address in subnet for subnet in subnets) else None


def _networks(
    texts: Iterable[str],
) -> list[ipaddress.IPv4Network | ipaddress.IPv6Network]:
    return [ipaddress.ip_network(text) for text in texts]
