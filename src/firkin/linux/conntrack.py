"""Forgetting connections that the kernel tracks.

Address translation is decided for the first packet of a connection and remembered. A sender of UDP
that never pauses keeps its old decision alive: packets that began before a port was published, or
when it led to another container, would never come to the new one.
"""

from __future__ import annotations

import errno
import os
import socket
import struct
from collections.abc import Collection, Iterator

_NETLINK_NETFILTER = 12
_GET, _DELETE = 0x101, 0x102
_F_REQUEST, _F_ACK, _F_DUMP = 0x1, 0x4, 0x300
_ERROR, _DONE = 2, 3
_TUPLE_ORIG, _TUPLE_PROTO = 1, 2
_PROTO_NUM, _PROTO_DST_PORT = 1, 3
_HEADER = struct.Struct("=IHHII")
_FAMILIES = (socket.AF_INET, socket.AF_INET6)
_FAMILY = struct.Struct("=BBH")
_TIMEOUT = 10.0


def forget(protocol: int, ports: Collection[int]) -> int:
    """Forget the connections to the given destination ports; returns how many there were.

    Acts on the network namespace of the calling thread. Blocks while it reads the whole table;
    raises ``OSError`` when the kernel offers no access to it.
    """
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW | socket.SOCK_CLOEXEC,
                       _NETLINK_NETFILTER) as netlink:  # fmt: skip
        netlink.settimeout(_TIMEOUT)
        netlink.bind((0, 0))
        return sum(_forget(netlink, family, protocol, ports) for family in _FAMILIES)


def _forget(netlink: socket.socket, family: int, protocol: int, ports: Collection[int]) -> int:
    _send(netlink, family, _GET, _F_DUMP, b"")
    found = [
        original
        for original in _originals(netlink)
        if _destination(original) in {(protocol, port) for port in ports}
    ]
    for original in found:
        # Nested attributes carry their flag again on the way back.
        attribute = struct.pack("=HH", len(original) + 4, _TUPLE_ORIG | 0x8000) + original
        _send(netlink, family, _DELETE, _F_ACK, attribute)
        try:
            for _ in _messages(netlink):
                break
        except FileNotFoundError:  # it ended by itself
            pass
    return len(found)


def _send(netlink: socket.socket, family: int, kind: int, flags: int, attributes: bytes) -> None:
    length = 16 + _FAMILY.size + len(attributes)
    netlink.send(
        _HEADER.pack(length, kind, flags | _F_REQUEST, 1, 0)
        + _FAMILY.pack(family, 0, 0)
        + attributes
    )


def _messages(netlink: socket.socket) -> Iterator[bytes]:
    """Bodies of the answers until the kernel says that it is done, or confirms."""
    while True:
        data = netlink.recv(1 << 18)
        offset = 0
        while offset + 16 <= len(data):
            length, kind, _, _, _ = _HEADER.unpack_from(data, offset)
            if length < 16:
                raise OSError(errno.EPROTO, "malformed netlink message")
            body = data[offset + 16 : offset + length]
            if kind == _ERROR:
                number = -struct.unpack_from("=i", body)[0]
                if number:
                    raise OSError(number, os.strerror(number))
                return
            if kind == _DONE:
                return
            yield body
            offset += (length + 3) & ~3


def _attributes(data: bytes) -> dict[int, bytes]:
    found = {}
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            break
        found[kind & 0x3FFF] = data[offset + 4 : offset + length]
        offset += (length + 3) & ~3
    return found


def _originals(netlink: socket.socket) -> Iterator[bytes]:
    for body in _messages(netlink):
        original = _attributes(body[_FAMILY.size :]).get(_TUPLE_ORIG)
        if original is not None:
            yield original


def _destination(original: bytes) -> tuple[int, int] | None:
    """Protocol number and destination port of a connection's first packet."""
    protocol = _attributes(_attributes(original).get(_TUPLE_PROTO, b""))
    if _PROTO_NUM not in protocol or _PROTO_DST_PORT not in protocol:
        return None
    port: int = struct.unpack("!H", protocol[_PROTO_DST_PORT])[0]
    return protocol[_PROTO_NUM][0], port
