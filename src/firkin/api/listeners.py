"""The sockets that the API is served on."""

from __future__ import annotations

import grp
import logging
import os
import socket
import stat
from collections.abc import Sequence
from typing import NamedTuple

from firkin import errdefs
from firkin.engine import doors
from firkin.linux import systemd

log = logging.getLogger(__name__)

BACKLOG = 4096
DEFAULT_GROUP = "docker"
"""The group that need not exist."""

_KEEPALIVE = ((socket.TCP_KEEPIDLE, 30), (socket.TCP_KEEPINTVL, 10), (socket.TCP_KEEPCNT, 3))
"""A TCP client that has vanished without a word is noticed after a minute."""


class Listener(NamedTuple):
    """A listening socket; ``path`` is the file to remove when it is closed, "" for none.

    ``secure``: TLS is spoken there.
    """

    name: str
    sock: socket.socket
    path: str = ""
    secure: bool = False


def listen(hosts: Sequence[str], group: str, policy: doors.Policy) -> list[Listener]:
    """Open all of ``hosts`` (``unix://PATH``, ``tcp://ADDRESS:PORT``, ``fd://``).

    Raises ``InvalidParameter``, ``Conflict`` or ``System``; nothing stays open then.
    """
    found: list[Listener] = []
    try:
        for host in hosts:
            address = doors.parse(host, policy)
            if address.kind == "fd":
                found += _handed_over(host, policy)
            elif address.kind == "unix":
                found.append(Listener(host, unix_socket(address.path, group), address.path))
            else:
                for sock in tcp_sockets(address.host, address.port):
                    found.append(Listener(_name(sock), sock, secure=policy.secure))
                if not policy.verify:
                    log.warning("%s: whoever can reach this address is root on this machine", host)
    except BaseException:
        for listener in found:
            listener.sock.close()
        raise
    return found


def _handed_over(host: str, policy: doors.Policy) -> list[Listener]:
    sockets = systemd.listening()
    if not sockets:
        raise errdefs.InvalidParameter(
            f"--host {host}: the service manager handed no socket over: start firkind by its "
            "socket unit (systemctl start firkin.socket)"
        )
    if any(sock.family != socket.AF_UNIX for sock in sockets):
        policy.check(host)
    return [
        Listener(
            f"{host}{sock.fileno()}",
            sock,
            secure=policy.secure and sock.family != socket.AF_UNIX,
        )
        for sock in sockets
    ]


def _name(sock: socket.socket) -> str:
    address, port = sock.getsockname()[:2]
    return f"tcp://[{address}]:{port}" if ":" in address else f"tcp://{address}:{port}"


def tcp_sockets(host: str, port: int) -> list[socket.socket]:
    """Sockets that listen at every address of ``host``; "" is every address of this machine.

    Port 0 is one that is free. Raises ``System`` when that is not possible.
    """
    made: list[socket.socket] = []
    try:
        if not host and socket.has_dualstack_ipv6():
            made.append(
                socket.create_server(
                    ("", port), family=socket.AF_INET6, backlog=BACKLOG, dualstack_ipv6=True
                )
            )
        else:
            for family, _, _, _, address in socket.getaddrinfo(
                host or "0.0.0.0", port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
            ):
                made.append(socket.create_server(address, family=family, backlog=BACKLOG))
        for sock in made:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1)
            for option, value in _KEEPALIVE:
                sock.setsockopt(socket.IPPROTO_TCP, option, value)
            sock.setblocking(False)
    except OSError as error:
        for sock in made:
            sock.close()
        raise errdefs.System(
            f"cannot listen on tcp://{host}:{port}: {error.strerror or error}"
        ) from error
    return made


def unix_socket(path: str, group: str) -> socket.socket:
    """A listening Unix socket at ``path``, open to root and to ``group`` if that exists.

    Takes the place of a socket that nobody listens at. Raises ``Conflict`` when somebody does, and
    ``System`` when the socket can't be made.
    """
    directory = os.path.dirname(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        os.makedirs(directory, mode=0o755, exist_ok=True)
        if os.path.exists(path):
            if not stat.S_ISSOCK(os.stat(path).st_mode):
                raise errdefs.Conflict(f"{path} exists and is not a socket: remove it")
            with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
                try:
                    probe.connect(path)
                except OSError:
                    os.unlink(path)
                else:
                    raise errdefs.Conflict(
                        f"another process serves {path}: stop it or choose another --host"
                    )
        old = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(old)
        _give_to(path, group)
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise errdefs.System(f"cannot listen on unix://{path}: {error.strerror}") from error
    except BaseException:
        sock.close()
        raise
    return sock


def _give_to(path: str, group: str) -> None:
    if not group:
        return
    try:
        gid = grp.getgrnam(group).gr_gid
    except KeyError:
        if group.isdecimal() and int(group) < 2**32 - 1:
            gid = int(group)
        elif group == DEFAULT_GROUP:
            log.info("group %s does not exist: %s is for root alone", group, path)
            return
        else:
            raise errdefs.InvalidParameter(
                f"--group {group}: there is no such group: make it with groupadd, or give another"
            ) from None
    os.chown(path, 0, gid)
    os.chmod(path, 0o660)
