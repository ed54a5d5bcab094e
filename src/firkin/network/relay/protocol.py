"""What the engine and the relay tell each other: JSON, one packet a message, sockets beside it.

The relay speaks first: ``hello`` with its version, its pid and how many ports it has, then one
message for each of these, with its socket. After that the engine orders (``put`` with the bound
socket of the port, ``drop``, ``quit``) and each order is answered by one message, whose ``error``
is "" or says what went wrong.
"""

from __future__ import annotations

import array
import contextlib
import json
import os
import socket
from collections.abc import Sequence
from typing import Any, NamedTuple

VERSION = 1
"""Of these messages. An engine ends a relay that speaks another one and starts its own."""

_SIZE = 1 << 16
_FD = array.array("i").itemsize


class Port(NamedTuple):
    """A port of the host and where its connections go.

    ``proto`` is tcp or udp; ``netns`` is the path of the container's network namespace: without an
    engine the relay keeps a port as long as that is there.
    """

    proto: str
    address: str
    port: int
    target: str
    target_port: int
    netns: str = ""


def send(over: socket.socket, message: dict[str, Any], sockets: Sequence[int] = ()) -> None:
    """Send one message. Raises ``OSError``."""
    rights = [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", sockets))] if sockets else []
    over.sendmsg([json.dumps(message).encode()], rights)


def receive(over: socket.socket) -> tuple[dict[str, Any], int]:
    """The next message and the descriptor that came with it, which is the caller's, or -1.

    Raises ``EOFError`` at the end, ``OSError``, and ``ValueError`` for what is no message.
    """
    data, rights, _, _ = over.recvmsg(_SIZE, socket.CMSG_SPACE(_FD), socket.MSG_CMSG_CLOEXEC)
    found = array.array("i")
    for level, kind, payload in rights:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            found.frombytes(payload[: len(payload) - len(payload) % _FD])
    fd = found[0] if found else -1
    try:
        if not data:
            raise EOFError
        message = json.loads(data)
        if not isinstance(message, dict):
            raise ValueError("not an object")
    except BaseException:
        if fd >= 0:
            with contextlib.suppress(OSError):
                os.close(fd)
        raise
    return message, fd


def end(over: socket.socket) -> None:
    """Have the relay at the other side end, whatever it says before. Raises ``OSError``."""
    send(over, {"op": "quit"})
    with contextlib.suppress(EOFError, ValueError):
        while True:
            _, fd = receive(over)
            if fd >= 0:
                os.close(fd)
