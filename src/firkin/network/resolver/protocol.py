"""What the engine tells the resolver: one JSON object a line, each answered by one line in order.

The resolver speaks first, with :class:`Hello`. ``sync`` replaces all that it knows: an engine that
has just started says it before anything else.
"""

from __future__ import annotations

import msgspec

from firkin.types import network

VERSION = 1
"""Of these messages. An engine ends a resolver that speaks another one and starts its own."""


class Hello(msgspec.Struct, kw_only=True):
    """The resolver's first line."""

    version: int
    pid: int


class Membership(msgspec.Struct, frozen=True, kw_only=True):
    """A container on one network whose names are resolved.

    ``names`` are all names that others find it by there, its own first; ``links`` are names that
    only it sees, each with the name that it stands for; ``subnets`` are the network's.
    """

    network: str
    network_name: str
    names: tuple[str, ...] = ()
    links: dict[str, str] = {}
    ipv4: str = ""
    ipv6: str = ""
    subnets: tuple[str, ...] = ()


class Client(msgspec.Struct, frozen=True, kw_only=True):
    """A container that asks. ``netns`` is its namespace's file.

    ``members`` are in the order in which they are searched. Of the ``nameservers``, those reached
    from the host are not used unless the container has a way out (``external``).
    """

    id: str
    netns: str
    members: tuple[Membership, ...] = ()
    nameservers: tuple[network.Nameserver, ...] = ()
    external: bool = True


class Order(msgspec.Struct, kw_only=True):
    """An engine's line. ``op``: sync, put, drop or quit."""

    op: str
    clients: list[Client] = []
    id: str = ""


class Answer(msgspec.Struct, kw_only=True):
    """The resolver's line for each order. ``failed``: containers without name server, and why."""

    failed: dict[str, str] = {}
