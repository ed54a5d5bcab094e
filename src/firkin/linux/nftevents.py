"""Hearing of changes that others make to nftables.

The kernel sends every change of the ruleset to who listens on its group, and after each
transaction the thread that made it (NFT_MSG_NEWGEN). A :class:`Monitor` tells of the tables from
which another thread than our own has taken something away.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import struct
from collections.abc import Callable

_NETLINK_NETFILTER = 12
_GROUP = 1 << (7 - 1)  # NFNLGRP_NFTABLES
_SUBSYSTEM = 10
_DELETIONS = frozenset({2, 5, 8, 11, 14})  # table, chain, rule, set, element of a set
_NEWGEN = 15
_TABLE_NAME, _GEN_PID = 1, 2
_HEADER = struct.Struct("=IHHII")
_BUFFER = 1 << 20


class Monitor:
    """Calls ``changed(table)`` on the event loop; "" when it is not known which table it was.

    ``own()`` is the id of the thread whose changes are ours. Raises ``OSError`` where the kernel
    has no such group.
    """

    def __init__(self, own: Callable[[], int], changed: Callable[[str], None]) -> None:
        self._own = own
        self._changed = changed
        self._touched: set[str] = set()
        kind = socket.SOCK_RAW | socket.SOCK_CLOEXEC | socket.SOCK_NONBLOCK
        self._socket = socket.socket(socket.AF_NETLINK, kind, _NETLINK_NETFILTER)
        try:
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER)
            self._socket.bind((0, _GROUP))
        except BaseException:
            self._socket.close()
            raise
        asyncio.get_running_loop().add_reader(self._socket.fileno(), self._ready)

    def _ready(self) -> None:
        while True:
            try:
                data = self._socket.recv(1 << 18)
            except BlockingIOError:
                return
            except OSError as error:
                if error.errno == errno.ENOBUFS:  # more than we could hear: anything may have gone
                    self._changed("")
                    continue
                return
            self._read(data)

    def _read(self, data: bytes) -> None:
        offset = 0
        while offset + 16 <= len(data):
            length, kind, _, _, _ = _HEADER.unpack_from(data, offset)
            if length < 20:
                return
            if kind >> 8 == _SUBSYSTEM:
                attributes = dict(_attributes(data[offset + 20 : offset + length]))
                self._hear(kind & 0xFF, attributes)
            offset += (length + 3) & ~3

    def _hear(self, kind: int, attributes: dict[int, bytes]) -> None:
        if kind in _DELETIONS:
            name = attributes.get(_TABLE_NAME, b"").rstrip(b"\0").decode(errors="replace")
            self._touched.add(name)
        elif kind == _NEWGEN:
            touched, self._touched = self._touched, set()
            pid = attributes.get(_GEN_PID, b"")
            if len(pid) == 4 and int.from_bytes(pid, "big") == self._own():
                return
            for name in touched:
                self._changed(name)

    def close(self) -> None:
        """Stop listening."""
        asyncio.get_running_loop().remove_reader(self._socket.fileno())
        self._socket.close()


def _attributes(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    offset = 0
    while offset + 4 <= len(data):
        length, kind = struct.unpack_from("=HH", data, offset)
        if length < 4:
            break
        found.append((kind & 0x3FFF, data[offset + 4 : offset + length]))
        offset += (length + 3) & ~3
    return found
