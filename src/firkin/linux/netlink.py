"""Links, addresses and routes over rtnetlink, synchronously.

Messages are encoded and decoded by pyroute2's message classes; the socket is our own, because
pyroute2's sockets bring an event loop each and cost nine megabytes and a tenth of a second to
import, its message classes one megabyte. The cost is in the package's ``__init__``, which imports
everything it has, so the classes are imported past it.

A :class:`Socket` belongs to the network namespace of the thread that opened it, whichever thread
uses it later: this is how the engine configures a container's interface without entering its
namespace again. A failure is an ``OSError`` with the kernel's own explanation where it gives one.
"""

from __future__ import annotations

import errno
import importlib.util
import ipaddress
import os
import socket
import struct
import sys
import threading
from typing import Any

import msgspec


def _import_messages() -> tuple[Any, Any, Any]:
    """pyroute2's message classes for links, addresses and routes, without the whole package."""
    bare = "pyroute2" not in sys.modules
    if bare:
        spec = importlib.util.find_spec("pyroute2")
        if spec is None:
            raise ImportError("pyroute2 is not installed")
        sys.modules["pyroute2"] = importlib.util.module_from_spec(spec)
    try:
        from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
        from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
        from pyroute2.netlink.rtnl.rtmsg import rtmsg
    finally:
        if bare:  # whoever imports pyroute2 itself later gets all of it
            del sys.modules["pyroute2"]
    return ifinfmsg, ifaddrmsg, rtmsg


_Link, _Address, _Route = _import_messages()

_NEWLINK, _DELLINK, _GETLINK = 16, 17, 18
_NEWADDR, _DELADDR, _GETADDR = 20, 21, 22
_NEWROUTE, _DELROUTE, _GETROUTE = 24, 25, 26

_F_REQUEST, _F_ACK = 0x1, 0x4
_F_DUMP = 0x300
_F_REPLACE, _F_EXCL, _F_CREATE = 0x100, 0x200, 0x400
_F_ACK_TLVS = 0x200
_ERROR, _DONE, _NOOP = 2, 3, 1
_EXT_ACK_TEXT = 1

_SOL_NETLINK, _EXT_ACK, _CAP_ACK, _GET_STRICT = 270, 11, 10, 12
_HEADER = struct.Struct("=IHHII")
_TIMEOUT = 30.0
_IFF_UP = 1

_IFA_F_NODAD = 0x02
_MACVLAN_MODES = {"private": 1, "vepa": 2, "bridge": 4, "passthru": 8}
_IPVLAN_MODES = {"l2": 0, "l3": 1, "l3s": 2}
_IPVLAN_FLAGS = {"bridge": 0, "private": 1, "vepa": 2}

Message = tuple[int, int, Any]
"""Type, extra flags and pyroute2 message, ready to be sent."""

IPNetwork = ipaddress.IPv4Network | ipaddress.IPv6Network


class Link(msgspec.Struct, frozen=True, kw_only=True):
    """An interface as the kernel lists it. ``master`` is the index of its bridge or 0."""

    index: int
    name: str
    kind: str = ""
    master: int = 0
    mac: str = ""
    mtu: int = 0
    up: bool = False


class Address(msgspec.Struct, frozen=True, kw_only=True):
    """An address of an interface with its prefix length."""

    index: int
    address: str
    prefix_len: int

    @property
    def network(self) -> IPNetwork:
        return ipaddress.ip_network(f"{self.address}/{self.prefix_len}", strict=False)


def _link(attrs: list[tuple[str, Any]], index: int = 0, up: bool | None = None) -> Any:
    message = _Link()
    message["family"] = socket.AF_UNSPEC
    message["index"] = index
    if up is not None:
        message["flags"] = _IFF_UP if up else 0
        message["change"] = _IFF_UP
    message["attrs"] = attrs
    return message


def add_bridge(name: str, mac: str, mtu: int) -> Message:
    """Make a bridge that is up. It keeps ``mac`` whatever ports it gets."""
    attrs: list[tuple[str, Any]] = [
        ("IFLA_IFNAME", name),
        ("IFLA_ADDRESS", mac),
        ("IFLA_MTU", mtu),
        ("IFLA_LINKINFO", {"attrs": [("IFLA_INFO_KIND", "bridge")]}),
    ]
    return _NEWLINK, _F_CREATE | _F_EXCL, _link(attrs, up=True)


def add_veth(name: str, peer: str, peer_netns: int, mtu: int, master: int = 0) -> Message:
    """Make a pair: ``name`` here, a port of ``master``; ``peer`` in the namespace of a descriptor.

    The end that is here is up; the peer can only be brought up by a message of its own.
    """
    inner = {
        "attrs": [
            ("IFLA_IFNAME", peer),
            ("IFLA_MTU", mtu),
            ("IFLA_NET_NS_FD", peer_netns),
        ],
    }
    data = {"attrs": [("VETH_INFO_PEER", inner)]}
    info = {"attrs": [("IFLA_INFO_KIND", "veth"), ("IFLA_INFO_DATA", data)]}
    attrs: list[tuple[str, Any]] = [
        ("IFLA_IFNAME", name),
        ("IFLA_MTU", mtu),
        ("IFLA_LINKINFO", info),
    ]
    if master:
        attrs.append(("IFLA_MASTER", master))
    return _NEWLINK, _F_CREATE | _F_EXCL, _link(attrs, up=True)


def add_macvlan(name: str, parent: int, mode: str, netns: int, mtu: int = 0) -> Message:
    """Make an interface with an address of its own on the wire of ``parent``, in a namespace."""
    data = {"attrs": [("IFLA_MACVLAN_MODE", _MACVLAN_MODES[mode])]}
    return _add_above("macvlan", name, parent, data, netns, mtu)


def modes(kind: str) -> tuple[str, ...]:
    """The modes of macvlan or ipvlan."""
    return tuple(_MACVLAN_MODES if kind == "macvlan" else _IPVLAN_MODES)


def add_ipvlan(name: str, parent: int, mode: str, flag: str, netns: int, mtu: int = 0) -> Message:
    """Make an interface that shares the MAC address of ``parent``, in a namespace."""
    data = {
        "attrs": [
            ("IFLA_IPVLAN_MODE", _IPVLAN_MODES[mode]),
            ("IFLA_IPVLAN_FLAGS", _IPVLAN_FLAGS[flag]),
        ]
    }
    return _add_above("ipvlan", name, parent, data, netns, mtu)


def add_vlan(name: str, parent: int, tag: int) -> Message:
    """Make an interface that is up and carries the frames of ``parent`` with an 802.1Q tag."""
    return _add_above("vlan", name, parent, {"attrs": [("IFLA_VLAN_ID", tag)]}, None, 0, up=True)


def add_dummy(name: str) -> Message:
    """Make an interface that is up and leads nowhere."""
    info = {"attrs": [("IFLA_INFO_KIND", "dummy")]}
    attrs = [("IFLA_IFNAME", name), ("IFLA_LINKINFO", info)]
    return _NEWLINK, _F_CREATE | _F_EXCL, _link(attrs, up=True)


def _add_above(
    kind: str,
    name: str,
    parent: int,
    data: Any,
    netns: int | None,
    mtu: int,
    up: bool | None = None,
) -> Message:
    info = {"attrs": [("IFLA_INFO_KIND", kind), ("IFLA_INFO_DATA", data)]}
    attrs: list[tuple[str, Any]] = [
        ("IFLA_IFNAME", name),
        ("IFLA_LINK", parent),
        ("IFLA_LINKINFO", info),
    ]
    if netns is not None:
        attrs.append(("IFLA_NET_NS_FD", netns))
    if mtu:
        attrs.append(("IFLA_MTU", mtu))
    return _NEWLINK, _F_CREATE | _F_EXCL, _link(attrs, up=up)


def set_port(name: str, *, isolated: bool = False) -> Message:
    """Let a bridge send packets back out of its port ``name``, by which they came.

    Between ports that are ``isolated`` it forwards nothing.
    """
    attrs = [("IFLA_BRPORT_MODE", 1), ("IFLA_BRPORT_ISOLATED", int(isolated))]
    info = {
        "attrs": [("IFLA_INFO_SLAVE_KIND", "bridge"), ("IFLA_INFO_SLAVE_DATA", {"attrs": attrs})]
    }
    return _NEWLINK, 0, _link([("IFLA_IFNAME", name), ("IFLA_LINKINFO", info)])


def set_link(
    index: int,
    *,
    up: bool | None = None,
    mac: str = "",
    mtu: int = 0,
    master: int | None = None,
    name: str = "",
) -> Message:
    """Change an interface; what is not given stays. It is renamed only while it is down."""
    attrs: list[tuple[str, Any]] = []
    if name:
        attrs.append(("IFLA_IFNAME", name))
    if mac:
        attrs.append(("IFLA_ADDRESS", mac))
    if mtu:
        attrs.append(("IFLA_MTU", mtu))
    if master is not None:
        attrs.append(("IFLA_MASTER", master))
    return _NEWLINK, 0, _link(attrs, index, up)


def delete_link(index: int) -> Message:
    """Delete an interface; a veth takes its peer along. Tens of milliseconds in the kernel."""
    return _DELLINK, 0, _link([], index)


def _family(address: str) -> int:
    return socket.AF_INET6 if ":" in address else socket.AF_INET


def _address(index: int, address: str, prefix_len: int) -> Any:
    message = _Address()
    message["family"] = _family(address)
    message["index"] = index
    message["prefixlen"] = prefix_len
    message["attrs"] = [("IFA_LOCAL", address), ("IFA_ADDRESS", address)]
    if message["family"] == socket.AF_INET6:
        message["flags"] = _IFA_F_NODAD  # usable at once: the engine alone gives addresses out
    elif prefix_len < 31:
        network = ipaddress.IPv4Interface(f"{address}/{prefix_len}").network
        message["attrs"].append(("IFA_BROADCAST", str(network.broadcast_address)))
    return message


def add_address(index: int, address: str, prefix_len: int) -> Message:
    return _NEWADDR, _F_CREATE | _F_EXCL, _address(index, address, prefix_len)


def delete_address(index: int, address: str, prefix_len: int) -> Message:
    return _DELADDR, 0, _address(index, address, prefix_len)


def _default(family: int, gateway: str, index: int) -> Any:
    message = _Route()
    message["family"] = family
    message["dst_len"] = 0
    message["table"] = 254
    message["proto"] = 3  # RTPROT_BOOT
    message["scope"] = 0 if gateway or family == socket.AF_INET6 else 253  # else: link
    message["type"] = 1  # unicast
    message["attrs"] = [("RTA_OIF", index)]
    if gateway:
        message["attrs"].insert(0, ("RTA_GATEWAY", gateway))
    return message


def add_default_route(gateway: str, index: int) -> Message:
    """Send everything else to ``gateway``; it must be reachable by an address already there."""
    return _NEWROUTE, _F_CREATE | _F_REPLACE, _default(_family(gateway), gateway, index)


def add_default_link(index: int) -> Message:
    """Send everything else of IPv4 out of an interface, without a router."""
    return _NEWROUTE, _F_CREATE | _F_REPLACE, _default(socket.AF_INET, "", index)


def delete_default_route(gateway: str, index: int) -> Message:
    """Take away the default route that leads to ``gateway``."""
    message = _default(_family(gateway), gateway, index)
    message["scope"] = 255  # any
    message["type"] = message["proto"] = 0
    return _DELROUTE, 0, message


class Socket:
    """An rtnetlink socket of the calling thread's network namespace. Usable from any thread."""

    def __init__(self) -> None:
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC
        self._socket = socket.socket(socket.AF_NETLINK, kind, socket.NETLINK_ROUTE)
        self._lock = threading.Lock()
        self._sequence = 0
        try:
            self._socket.bind((0, 0))
            self._socket.settimeout(_TIMEOUT)
            for option in (_EXT_ACK, _CAP_ACK, _GET_STRICT):
                try:
                    self._socket.setsockopt(_SOL_NETLINK, option, 1)
                except OSError:  # an older kernel: errors come without their text
                    pass
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def _encode(self, message: Message, flags: int) -> bytes:
        kind, extra, body = message
        self._sequence += 1
        body["header"]["type"] = kind
        body["header"]["flags"] = _F_REQUEST | flags | extra
        body["header"]["sequence_number"] = self._sequence
        body["header"]["pid"] = 0
        body.reset()
        body.encode()
        return bytes(body.data)

    def request(self, *messages: Message) -> None:
        """Send the messages in one call and wait until the kernel has carried out all of them.

        The kernel goes on after a message that fails; the first failure is raised as ``OSError``.
        """
        with self._lock:
            packets = [self._encode(message, _F_ACK) for message in messages]
            first = self._sequence - len(packets) + 1
            self._socket.send(b"".join(packets))
            waiting = set(range(first, self._sequence + 1))
            failure: tuple[int, OSError] | None = None
            while waiting:
                for kind, flags, sequence, body in _split(self._socket.recv(65536)):
                    if kind != _ERROR or sequence not in waiting:
                        continue
                    waiting.discard(sequence)
                    error = _error(flags, body)
                    if error is not None and (failure is None or sequence < failure[0]):
                        failure = (sequence, error)
        if failure:
            raise failure[1]

    def _dump(self, kind: int, body: Any) -> list[Any]:
        found: list[Any] = []
        with self._lock:
            self._socket.send(self._encode((kind, 0, body), _F_DUMP))
            while True:
                for answer, flags, sequence, data in _split(self._socket.recv(1 << 18)):
                    if sequence != self._sequence:
                        continue
                    if answer == _DONE:
                        return found
                    if answer == _ERROR:
                        raise _error(flags, data) or OSError(errno.EPROTO, "empty netlink dump")
                    whole = _HEADER.pack(len(data) + 16, answer, flags, sequence, 0) + data
                    decoded = type(body)(whole)
                    decoded.decode()
                    found.append(decoded)

    def links(self) -> list[Link]:
        """All interfaces."""
        return [_as_link(message) for message in self._dump(_GETLINK, _link([]))]

    def link(self, name: str) -> Link | None:
        """The interface called ``name``."""
        return next((link for link in self.links() if link.name == name), None)

    def addresses(self, family: int = socket.AF_INET) -> list[Address]:
        """All addresses of a family, AF_INET or AF_INET6."""
        query = _Address()
        query["family"] = family
        return [
            Address(
                index=message["index"],
                address=message.get_attr("IFA_LOCAL") or message.get_attr("IFA_ADDRESS"),
                prefix_len=message["prefixlen"],
            )
            for message in self._dump(_GETADDR, query)
        ]

    def routed(self, family: int = socket.AF_INET) -> list[tuple[IPNetwork, int]]:
        """Destinations of the routes with their interface's index; not the default route."""
        query = _Route()
        query["family"] = family
        found: list[tuple[IPNetwork, int]] = []
        for message in self._dump(_GETROUTE, query):
            # Neither local nor broadcast, default or multicast.
            if message["type"] in (2, 3, 5) or not message["dst_len"]:
                continue
            destination = ipaddress.ip_network(
                f"{message.get_attr('RTA_DST')}/{message['dst_len']}", strict=False
            )
            if not destination.is_multicast:
                found.append((destination, message.get_attr("RTA_OIF") or 0))
        return found


def _as_link(message: Any) -> Link:
    info = message.get_attr("IFLA_LINKINFO")
    return Link(
        index=message["index"],
        name=message.get_attr("IFLA_IFNAME") or "",
        kind=(info.get_attr("IFLA_INFO_KIND") if info else None) or "",
        master=message.get_attr("IFLA_MASTER") or 0,
        mac=message.get_attr("IFLA_ADDRESS") or "",
        mtu=message.get_attr("IFLA_MTU") or 0,
        up=bool(message["flags"] & _IFF_UP),
    )


def _split(data: bytes) -> list[tuple[int, int, int, bytes]]:
    """(type, flags, sequence, body) of the messages in one datagram."""
    messages = []
    offset = 0
    while offset + 16 <= len(data):
        length, kind, flags, sequence, _ = _HEADER.unpack_from(data, offset)
        if length < 16:
            raise OSError(errno.EPROTO, "malformed netlink message")
        if kind != _NOOP:
            messages.append((kind, flags, sequence, data[offset + 16 : offset + length]))
        offset += (length + 3) & ~3
    return messages


def _error(flags: int, body: bytes) -> OSError | None:
    """The error an NLMSG_ERROR message carries, None for a plain acknowledgement."""
    number = -struct.unpack_from("=i", body)[0]
    if number == 0:
        return None
    text = os.strerror(number)
    offset = 4 + 16  # the capped copy of our header
    while flags & _F_ACK_TLVS and offset + 4 <= len(body):
        length, kind = struct.unpack_from("=HH", body, offset)
        if length < 4:
            break
        if kind & 0x3FFF == _EXT_ACK_TEXT:
            detail = body[offset + 4 : offset + length].rstrip(b"\0").decode(errors="replace")
            text = f"{text}: {detail}"
        offset += (length + 3) & ~3
    return OSError(number, text)
