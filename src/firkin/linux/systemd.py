"""The two things systemd and a service agree on: sockets handed over, and news of one's state.

sd_listen_fds(3), sd_notify(3). Both are a few environment variables and no library.
"""

from __future__ import annotations

import os
import socket
from collections.abc import MutableMapping

from firkin import errdefs

_FIRST = 3


def listening(environ: MutableMapping[str, str] = os.environ) -> list[socket.socket]:
    """The listening stream sockets that this process was started with; none when there are none.

    The variables are taken away, so that no child believes they are meant for it. Raises
    ``InvalidParameter`` for a descriptor that is no such socket.
    """
    owner, count = environ.pop("LISTEN_PID", ""), environ.pop("LISTEN_FDS", "")
    environ.pop("LISTEN_FDNAMES", None)
    if owner != str(os.getpid()) or not count.isdecimal():
        return []
    found = []
    for fd in range(_FIRST, _FIRST + int(count)):
        try:
            os.set_inheritable(fd, False)
            sock = socket.socket(fileno=fd)
            usable = sock.type == socket.SOCK_STREAM and sock.getsockopt(
                socket.SOL_SOCKET, socket.SO_ACCEPTCONN
            )
        except OSError as error:
            raise errdefs.InvalidParameter(
                f"descriptor {fd} from the service manager is no socket: {error.strerror}"
            ) from error
        if not usable:
            raise errdefs.InvalidParameter(
                f"descriptor {fd} from the service manager is not a listening stream socket: use "
                "ListenStream= and Accept=no"
            )
        sock.setblocking(False)
        found.append(sock)
    return found


def notify(*lines: str, environ: MutableMapping[str, str] = os.environ) -> bool:
    """Tell the service manager (``READY=1``, ``STOPPING=1``, ...); whether there is one to tell."""
    path = environ.get("NOTIFY_SOCKET", "")
    if not path.startswith(("/", "@")):
        return False
    address = "\0" + path[1:] if path.startswith("@") else path
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as sock:
        try:
            sock.sendto("\n".join(lines).encode(), address)
        except OSError:
            return False
    return True
