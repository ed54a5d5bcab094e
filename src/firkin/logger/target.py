"""Connections to log targets: streams and datagrams, by an address such as ``tcp://host:port``.

All waiting is bounded by :data:`TIMEOUT`. A stream whose far end has closed is noticed before the
next write, not after it.
"""

from __future__ import annotations

import os
import socket
import ssl
from collections.abc import Mapping
from typing import NamedTuple

from firkin import errdefs

TIMEOUT = 10.0
"""Seconds that connecting, and sending one piece, may take."""


class Address(NamedTuple):
    """``kind`` is udp, tcp, tls, unix or unixgram; ``host`` a path for the last two."""

    kind: str
    host: str
    port: int = 0


def parse(text: str, kinds: Mapping[str, str], port: int, option: str) -> Address:
    """An address whose scheme is one of ``kinds`` (scheme to kind). Raises ``InvalidParameter``."""
    scheme, found, rest = text.partition("://")
    if not found:
        scheme, rest = next(iter(kinds)), text
    wanted = f"log option {option}={text[:80]}: use {', '.join(f'{k}://...' for k in kinds)}"
    if scheme not in kinds:
        raise errdefs.InvalidParameter(wanted)
    kind = kinds[scheme]
    if kind in ("unix", "unixgram"):
        if not rest.startswith("/"):
            raise errdefs.InvalidParameter(f"{wanted}, with an absolute path for a socket")
        return Address(kind, rest)
    rest = rest.rstrip("/")
    if rest.startswith("["):
        host, _, tail = rest[1:].partition("]")
        digits = tail.removeprefix(":")
    else:
        host, _, digits = rest.partition(":")
    if not host or (digits and not (digits.isascii() and digits.isdigit())) or len(digits) > 5:
        raise errdefs.InvalidParameter(f"{wanted}, with HOST[:PORT]")
    number = int(digits or port)
    if not 0 < number < 65536:
        raise errdefs.InvalidParameter(f"{wanted}, with a port from 1 to 65535")
    return Address(kind, host, number)


class Target:
    """A connected target. ``tls`` is for addresses of that kind. Raises ``OSError``."""

    def __init__(self, address: Address, tls: ssl.SSLContext | None = None) -> None:
        self._stream = address.kind in ("tcp", "tls", "unix")
        self._tls: ssl.SSLSocket | None = None
        if address.kind in ("unix", "unixgram"):
            self._socket = _unix(address)
            self._stream = self._socket.type == socket.SOCK_STREAM
        elif address.kind == "udp":
            family, kind, proto, _, where = socket.getaddrinfo(
                address.host, address.port, type=socket.SOCK_DGRAM
            )[0]
            self._socket = socket.socket(family, kind, proto)
            self._socket.settimeout(TIMEOUT)
            self._socket.connect(where)
        else:
            self._socket = socket.create_connection((address.host, address.port), TIMEOUT)
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            if tls is not None:
                self._socket = self._tls = tls.wrap_socket(
                    self._socket, server_hostname=address.host
                )

    def send(self, data: bytes) -> None:
        """Send all of ``data``; one datagram where it is no stream. Raises ``OSError``."""
        if not self._stream:
            self._socket.send(data)
            return
        self._check()
        self._socket.sendall(data)

    def _check(self) -> None:
        """Raise when the far end has closed: what is sent then would be lost unnoticed."""
        raw = self._socket
        raw.setblocking(False)
        try:
            if self._tls is None:
                gone = raw.recv(1, socket.MSG_PEEK) == b""
            else:
                gone = self._tls.recv(4096) == b""
        except (BlockingIOError, ssl.SSLWantReadError):
            gone = False
        finally:
            raw.settimeout(TIMEOUT)
        if gone:
            raise ConnectionResetError("the log target closed the connection")

    def receive(self, limit: int = 4096) -> bytes:
        """The next bytes of a stream. Raises ``OSError``, also when there are none in time."""
        data = self._socket.recv(limit)
        if not data:
            raise ConnectionResetError("the log target closed the connection")
        return data

    def close(self) -> None:
        """The end."""
        self._socket.close()


def _unix(address: Address) -> socket.socket:
    """A Unix socket of the kind that listens there: datagrams where both would do."""
    kinds = [socket.SOCK_DGRAM, socket.SOCK_STREAM]
    for kind in kinds if address.kind == "unixgram" else kinds[::-1]:
        made = socket.socket(socket.AF_UNIX, kind)
        made.settimeout(TIMEOUT)
        try:
            made.connect(address.host)
            return made
        except OSError as error:
            made.close()
            failure = error
    raise failure


def tls_context(
    *, ca: str = "", cert: str = "", key: str = "", verify: bool = True
) -> ssl.SSLContext:
    """A client's TLS settings from PEM files. Raises ``InvalidParameter`` naming a bad one."""
    for path in filter(None, (ca, cert, key)):
        if not os.path.isfile(path):
            raise errdefs.InvalidParameter(f"log target's TLS: {path}: no such file")
    try:
        context = ssl.create_default_context(cafile=ca or None)
        if cert or key:
            context.load_cert_chain(cert, key or None)
    except (ssl.SSLError, OSError) as error:
        raise errdefs.InvalidParameter(f"log target's TLS: {error}") from error
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context
