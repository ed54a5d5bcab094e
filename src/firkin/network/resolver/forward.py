"""Asking other name servers, from the host's network namespace or from a container's.

One after the other until one answers; a server that fails (SERVFAIL, REFUSED) is passed over as
long as there is another. Every query has a socket of its own, whose port and message id the kernel
and the system's random source choose, and only an answer to that very question counts.
"""

from __future__ import annotations

import asyncio
import functools
import ipaddress
import logging
import secrets
import socket
from collections.abc import Sequence

from firkin.linux import netns
from firkin.network.resolver import answers
from firkin.types import network

log = logging.getLogger(__name__)

_PORT = 53
_TIMEOUT = 4.0
_MAX_ANSWER = 65535
_SERVFAIL, _REFUSED = 2, 5


async def ask(
    query: bytes, servers: Sequence[network.Nameserver], path: str, *, tcp: bool
) -> bytes | None:
    """The answer to a query, with the query's own id; None when no server gave one.

    ``path`` is the container's namespace, for the servers that are reached from there.
    """
    last: bytes | None = None
    for server in servers:
        identity = secrets.token_bytes(2)
        message = identity + query[2:]
        try:
            async with asyncio.timeout(_TIMEOUT):
                answer = await (_by_tcp if tcp else _by_udp)(message, server, path)
        except (OSError, TimeoutError, EOFError) as error:
            log.debug("name server %s: %s", server.address, error or type(error).__name__)
            continue
        last = query[:2] + answer[2:]
        if answer[3] & 0x0F not in (_SERVFAIL, _REFUSED):
            return last
    return last


async def _socket(server: network.Nameserver, kind: int, path: str) -> socket.socket:
    address = ipaddress.ip_address(server.address.partition("%")[0])
    family = socket.AF_INET if address.version == 4 else socket.AF_INET6
    make = functools.partial(socket.socket, family, kind | socket.SOCK_CLOEXEC)
    if server.from_host:
        made = make()
    else:
        made = await asyncio.to_thread(netns.within, path, make)
    made.setblocking(False)
    return made


async def _by_udp(message: bytes, server: network.Nameserver, path: str) -> bytes:
    loop = asyncio.get_running_loop()
    with await _socket(server, socket.SOCK_DGRAM, path) as one:
        await loop.sock_connect(one, (server.address, _PORT))
        await loop.sock_sendall(one, message)
        while True:
            answer = await loop.sock_recv(one, _MAX_ANSWER)
            if answer[:2] == message[:2] and answers.same_question(message, answer):
                return answer


async def _by_tcp(message: bytes, server: network.Nameserver, path: str) -> bytes:
    loop = asyncio.get_running_loop()
    with await _socket(server, socket.SOCK_STREAM, path) as one:
        await loop.sock_connect(one, (server.address, _PORT))
        await loop.sock_sendall(one, len(message).to_bytes(2, "big") + message)
        length = int.from_bytes(await _exactly(one, 2), "big")
        answer = await _exactly(one, length)
        if answer[:2] != message[:2] or not answers.same_question(message, answer):
            raise OSError("the answer does not belong to the question")
        return answer


async def _exactly(one: socket.socket, length: int) -> bytes:
    loop = asyncio.get_running_loop()
    data = b""
    while len(data) < length:
        part = await loop.sock_recv(one, length - len(data))
        if not part:
            raise EOFError("the name server closed the connection")
        data += part
    return data
