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
from firkin.linux import systemd

log = logging.getLogger(__name__)

BACKLOG = 4096


class Listener(NamedTuple):
    """A listening socket; ``path`` is the file to remove when it is closed, "" for none."""

    name: str
    sock: socket.socket
    path: str = ""


def listen(hosts: Sequence[str], group: str) -> list[Listener]:
    """Open all of ``hosts`` (``unix://PATH``, ``fd://``).

    Raises ``InvalidParameter``, ``Conflict`` or ``System``; nothing stays open then.
    """
    found: list[Listener] = []
    try:
        for host in hosts:
            if host.startswith("fd://"):
                found += _handed_over(host)
            else:
                path = host.removeprefix("unix://")
                found.append(Listener(host, unix_socket(path, group), path))
    except BaseException:
        for listener in found:
            listener.sock.close()
        raise
    return found


def _handed_over(host: str) -> list[Listener]:
    sockets = systemd.listening()
    if not sockets:
        raise errdefs.InvalidParameter(
            f"--host {host}: the service manager handed no socket over: start firkind by its "
            "socket unit (systemctl start firkin.socket)"
        )
    if any(sock.family != socket.AF_UNIX for sock in sockets):
        raise errdefs.InvalidParameter(
            f"--host {host}: this version serves Unix sockets only: use ListenStream=/PATH"
        )
    return [Listener(f"{host}{sock.fileno()}", sock) for sock in sockets]


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
        log.info("group %s does not exist: %s is for root alone", group, path)
        return
    os.chown(path, 0, gid)
    os.chmod(path, 0o660)
