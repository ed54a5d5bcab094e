"""UDP: each sender gets a socket towards the container, so that answers find their way back.

An answer leaves from the address that the question was sent to, which a host with several
addresses would not choose by itself. A sender that is silent for a while is forgotten; so is the
one that was silent longest when there are too many.
"""

from __future__ import annotations

import collections
import contextlib
import socket
import struct
import time
from typing import Any

from firkin.network.relay import poller as pollers
from firkin.network.relay import protocol

_BATCH = 64
_SIZE = 1 << 16
_SENDERS = 1024
_SILENCE = 90.0
_LOOK = 10.0
_PKTINFO = struct.Struct("=16sI")
_LINK_LOCAL = b"\xfe\x80"

Sender = tuple[Any, bytes]
"""The sender's address and, as the kernel packs it, that which it has sent to."""


class Flow:
    """One sender's socket towards the container."""

    def __init__(self, owner: Datagrams, sender: Sender) -> None:
        self._owner = owner
        self._sender = sender
        self.used = time.monotonic()
        target = owner.port
        family = socket.AF_INET6 if ":" in target.target else socket.AF_INET
        self._socket = socket.socket(family, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.connect((target.target, target.target_port))
            owner.poller.add(self._socket.fileno(), self._answers)
        except BaseException:
            self._socket.close()
            raise

    def ask(self, data: bytes) -> None:
        self.used = time.monotonic()
        with contextlib.suppress(OSError):  # nobody listens, or not fast enough: as on a wire
            self._socket.send(data)

    def _answers(self, events: int) -> None:
        for _ in range(_BATCH):
            try:
                data = self._socket.recv(_SIZE)
            except ConnectionError:
                continue
            except OSError:
                return
            self.used = time.monotonic()
            self._owner.answer(data, self._sender)

    def close(self) -> None:
        self._owner.poller.drop(self._socket.fileno())
        self._socket.close()


class Datagrams:
    """A port of UDP."""

    def __init__(
        self, poller: pollers.Poller, port: protocol.Port, listener: socket.socket
    ) -> None:
        self.poller = poller
        self.port = port
        self.listener = listener
        self._flows: collections.OrderedDict[Sender, Flow] = collections.OrderedDict()
        self._closed = False
        listener.setblocking(False)
        listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_RECVPKTINFO, 1)
        poller.add(listener.fileno(), self._questions)
        poller.later(_LOOK, self._look)

    def _questions(self, events: int) -> None:
        for _ in range(_BATCH):
            try:
                data, extra, _, sender = self.listener.recvmsg(
                    _SIZE, socket.CMSG_SPACE(_PKTINFO.size)
                )
            except OSError:
                return
            local = next(
                (
                    payload
                    for level, kind, payload in extra
                    if level == socket.IPPROTO_IPV6 and kind == socket.IPV6_PKTINFO
                ),
                b"",
            )
            self._flow((sender, local), data)

    def _flow(self, sender: Sender, data: bytes) -> None:
        flow = self._flows.get(sender)
        if flow is None:
            if len(self._flows) >= _SENDERS:
                self._flows.popitem(last=False)[1].close()
            try:
                flow = self._flows[sender] = Flow(self, sender)
            except OSError:
                return
        self._flows.move_to_end(sender)
        flow.ask(data)

    def answer(self, data: bytes, sender: Sender) -> None:
        """Send an answer to whom it is for."""
        address, local = sender
        extra = []
        if len(local) == _PKTINFO.size:
            own, interface = _PKTINFO.unpack(local)
            packed = _PKTINFO.pack(own, interface if own[:2] == _LINK_LOCAL else 0)
            extra = [(socket.IPPROTO_IPV6, socket.IPV6_PKTINFO, packed)]
        with contextlib.suppress(OSError):
            self.listener.sendmsg([data], extra, 0, address)

    def _look(self) -> None:
        if self._closed:
            return
        limit = time.monotonic() - _SILENCE
        for sender, flow in list(self._flows.items()):
            if flow.used < limit:
                del self._flows[sender]
                flow.close()
        self.poller.later(_LOOK, self._look)

    def close(self) -> None:
        """End the port and forget its senders."""
        self._closed = True
        self.poller.drop(self.listener.fileno())
        self.listener.close()
        for flow in self._flows.values():
            flow.close()
        self._flows.clear()
