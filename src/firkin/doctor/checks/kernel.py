"""The kernel: its age, its namespaces, its filter of system calls."""

from __future__ import annotations

import re
from collections.abc import Iterator

from firkin.doctor import findings, hosts

OLDEST = (5, 10)
"""pidfd_open (5.3), openat2 and clone3 into a cgroup (5.7), what the OCI runtimes expect."""

IDMAP = (5, 12)
"""mount_setattr(2): bind mounts whose files belong to somebody else than on the host."""

NAMESPACES = ("mnt", "pid", "net", "ipc", "uts", "cgroup")


def root(host: hosts.Host) -> Iterator[findings.Finding]:
    """Whether the other checks can look everywhere."""
    if not host.is_root():
        yield findings.warn(
            "privileges",
            "without root some things can't be tried and are left out",
            "sudo firkin doctor",
        )


def version(host: hosts.Host) -> Iterator[findings.Finding]:
    """Whether the kernel has the system calls that the engine uses."""
    release = host.kernel()
    found = re.match(r"(\d+)\.(\d+)", release)
    number = (int(found[1]), int(found[2])) if found else (0, 0)
    if host.system() != "Linux":
        yield findings.fail(
            "kernel", f"{host.system()} has no containers", "run the engine on a Linux host"
        )
    elif number < OLDEST:
        yield findings.fail(
            "kernel",
            f"Linux {release} is older than {OLDEST[0]}.{OLDEST[1]}",
            "install a newer kernel",
        )
    elif number < IDMAP:
        yield findings.warn(
            "kernel",
            f"Linux {release} can't map the owners of a bind mount (idmap)",
            f"install Linux {IDMAP[0]}.{IDMAP[1]} or newer",
        )
    else:
        yield findings.ok("kernel", f"Linux {release}")


def namespaces(host: hosts.Host) -> Iterator[findings.Finding]:
    """Whether every namespace that a container needs can be made."""
    missing = [name for name in NAMESPACES if not host.exists(f"/proc/self/ns/{name}")]
    if missing:
        yield findings.fail(
            "namespaces",
            f"the kernel has no {', '.join(missing)} namespaces",
            "boot a kernel with CONFIG_NAMESPACES and all below it",
        )
        return
    for kind in ("mnt", "pid", "net", "ipc", "uts", "cgroup"):
        if host.read(f"/proc/sys/user/max_{kind}_namespaces") == "0":
            yield findings.fail(
                "namespaces",
                f"no {kind} namespaces may be made",
                f"sysctl -w user.max_{kind}_namespaces=10000",
            )
            return
    if not host.exists("/proc/self/ns/user"):
        yield findings.warn(
            "namespaces",
            "no user namespaces: --userns and idmap can't be used",
            "boot a kernel with CONFIG_USER_NS",
        )
        return
    yield findings.ok("namespaces", "mount, pid, net, ipc, uts, cgroup, user")


def seccomp(host: hosts.Host) -> Iterator[findings.Finding]:
    """Whether system calls can be filtered."""
    if host.exists("/proc/sys/kernel/seccomp/actions_avail"):
        yield findings.ok("seccomp", "system calls are filtered by the default profile")
    else:
        yield findings.warn(
            "seccomp",
            "the kernel can't filter system calls: containers run unconfined by it",
            "boot a kernel with CONFIG_SECCOMP_FILTER",
        )
