"""Where the engine is.

An address is a URL::

    unix:///path             a Unix socket on this machine
    tcp://host[:port][/path] TCP, with TLS when there is a ``tls.Identity`` to use; a proxy may
                             have the engine below a path
    ssh://[user@]host[:port] the standard streams of a command on that host (see ``ssh``)
"""

from __future__ import annotations

import os

from firkin.client import transport

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from firkin.client import tls

FIRKIN_SOCKET = "/run/firkin/firkin.sock"
DOCKER_SOCKET = "/var/run/docker.sock"
TCP_PORT = 2375
TLS_PORT = 2376


def default_address(environ: Mapping[str, str]) -> str:
    """The address to use when no ``--host`` was given.

    ``FIRKIN_HOST`` wins over ``DOCKER_HOST``; without either it is Firkin's own socket, or
    Docker's if only that one exists.
    """
    for name in ("FIRKIN_HOST", "DOCKER_HOST"):
        if value := environ.get(name):
            return value
    if not os.path.exists(FIRKIN_SOCKET) and os.path.exists(DOCKER_SOCKET):
        return "unix://" + DOCKER_SOCKET
    return "unix://" + FIRKIN_SOCKET


def parse(address: str, identity: tls.Identity | None = None) -> transport.Transport:
    """The transport for ``address``; a bare ``host[:port]`` means tcp.

    With an ``identity`` TCP has TLS. ``https`` without one is refused: the address asks for a
    protection that nothing here could give.
    """
    scheme, separator, rest = address.partition("://")
    if not separator:
        scheme, rest = "tcp", address
    if scheme == "unix":
        return transport.UnixTransport(rest or DOCKER_SOCKET)
    if scheme == "ssh":
        from firkin.client import ssh

        return ssh.parse(address)
    if scheme in ("tcp", "http") or (scheme == "https" and identity):
        return _parse_tcp(address, rest, identity)
    if scheme == "npipe":
        raise transport.BadAddress(
            f"cannot use the engine address {address!r}: named pipes are not supported yet; let the"
            " engine listen on tcp:// with TLS"
        )
    raise transport.BadAddress(
        f"cannot use the engine address {address!r}: only unix:///path/to/socket, tcp://host:port"
        " and ssh://user@host are supported"
    )


def _parse_tcp(address: str, rest: str, identity: tls.Identity | None) -> transport.TcpTransport:
    rest, _, path = rest.partition("/")
    path = path.strip("/")
    if not all("!" <= char <= "~" and char not in "?#" for char in path):
        raise transport.BadAddress(f"engine address {address!r}: {path!r} is no path")
    port = TLS_PORT if identity else TCP_PORT
    if rest.startswith("["):
        host, closed, tail = rest[1:].partition("]")
        if not closed or (tail and not tail.startswith(":")):
            raise transport.BadAddress(
                f"engine address {address!r}: the IPv6 address is not closed by ']'"
            )
        port_text = tail[1:]
    else:
        host, _, port_text = rest.partition(":")
    if port_text:
        port = transport.parse_port(address, port_text)
    base = f"/{path}" if path else ""
    return transport.TcpTransport(host or "127.0.0.1", port, identity, base)
