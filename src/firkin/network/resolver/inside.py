"""The name server's sockets in a container's network namespace.

They are bound to 127.0.0.11 on a port that nobody uses, and packets to and from port 53 are
rewritten on their way (nftables, without connection tracking): so a container that is a name
server itself may bind port 53 on all its addresses.
"""

from __future__ import annotations

import socket

from firkin.linux import netns, nftables

ADDRESS = "127.0.0.11"
PORT = 61053
"""Above the ephemeral ports, so that no connection of the container takes it by chance."""

_RULES = f"""
table ip firkin-dns
delete table ip firkin-dns
table ip firkin-dns {{
    chain output {{
        type filter hook output priority raw; policy accept;
        ip daddr {ADDRESS} udp dport 53 udp dport set {PORT}
        ip daddr {ADDRESS} tcp dport 53 tcp dport set {PORT}
        ip saddr {ADDRESS} udp sport {PORT} udp sport set 53
        ip saddr {ADDRESS} tcp sport {PORT} tcp sport set 53
    }}
}}
"""
_BACKLOG = 64


def listen(path: str) -> tuple[socket.socket, socket.socket]:
    """The UDP and the TCP socket in the namespace at ``path``, ready for use. Blocks.

    Raises ``OSError``, or ``System`` when nftables refuses.
    """
    return netns.within(path, _listen)


def _listen() -> tuple[socket.socket, socket.socket]:
    nftables.run_here(_RULES)
    udp = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    try:
        udp.bind((ADDRESS, PORT))
        udp.setblocking(False)
        tcp = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        try:
            tcp.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            tcp.bind((ADDRESS, PORT))
            tcp.listen(_BACKLOG)
            tcp.setblocking(False)
        except BaseException:
            tcp.close()
            raise
    except BaseException:
        udp.close()
        raise
    return udp, tcp
