"""Kernel parameters of a container: only those that belong to one of its own namespaces.

Which parameters are namespaced is listed in the kernel's Documentation/admin-guide/sysctl and in
ipc_namespaces(7), network_namespaces(7) and uts_namespaces(7).
"""

from __future__ import annotations

import re
from collections.abc import Mapping

from firkin import errdefs
from firkin.oci.tables import words

_IPC = frozenset(words("msgmax msgmnb msgmni sem shmall shmmax shmmni shm_rmid_forced", "kernel."))
_NAME = re.compile(r"[A-Za-z0-9_./:@-]{1,255}", re.ASCII)

#: In a network of its own a container may use low ports and ping without capabilities.
NETWORK_DEFAULTS: dict[str, str] = {
    "net.ipv4.ip_unprivileged_port_start": "0",
    "net.ipv4.ping_group_range": "0 2147483647",
}


def canonical(name: str) -> str:
    """The dotted form. As sysctl(8) has it, whichever separator comes first is the separator."""
    dot, slash = name.find("."), name.find("/")
    if slash != -1 and (dot == -1 or slash < dot):
        return name.translate(str.maketrans("./", "/."))
    return name


def resolve(
    given: Mapping[str, str] | None,
    *,
    host_network: bool = False,
    host_ipc: bool = False,
    host_uts: bool = False,
    own_network: bool = True,
    domainname: str = "",
) -> dict[str, str]:
    """``linux.sysctl``. Raises ``InvalidParameter`` for parameters that are not the container's.

    ``own_network``: the network namespace is made for this container, so that the defaults may be
    set; False for the host's network and for that of another container.
    """
    result: dict[str, str] = {}
    for key, value in (given or {}).items():
        name = canonical(key.strip())
        if not _NAME.fullmatch(name) or ".." in name or name.startswith((".", "/")):
            raise errdefs.InvalidParameter(f"sysctl {key[:80]!r} is not a valid name")
        if "\0" in value or "\n" in value:
            raise errdefs.InvalidParameter(f"the value of sysctl '{name}' must be one line")
        if name.startswith("net."):
            if host_network:
                raise errdefs.InvalidParameter(
                    f"sysctl '{name}' not allowed in host network namespace"
                )
        elif name in _IPC or name.startswith("fs.mqueue."):
            if host_ipc:
                raise errdefs.InvalidParameter(f"sysctl '{name}' not allowed in host ipc namespace")
        elif name == "kernel.domainname":
            if host_uts:
                raise errdefs.InvalidParameter(f"sysctl '{name}' not allowed in host uts namespace")
        else:
            raise errdefs.InvalidParameter(
                f"sysctl '{name}' is not allowed: it does not belong to a namespace of the "
                "container; set it on the host"
            )
        result[name] = value
    if own_network and not host_network:
        for name, value in NETWORK_DEFAULTS.items():
            result.setdefault(name, value)
    if domainname and not host_uts:
        result.setdefault("kernel.domainname", domainname)
    return result
