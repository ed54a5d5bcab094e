"""Control groups: limits, freezing, statistics."""

from __future__ import annotations

from collections.abc import Iterator

from firkin.doctor import findings, hosts

_ROOT = "/sys/fs/cgroup"
_WANTED = {
    "memory": "--memory",
    "pids": "--pids-limit",
    "cpu": "--cpus and --cpu-shares",
    "cpuset": "--cpuset-cpus",
}


def _unified(host: hosts.Host) -> bool:
    return host.exists(f"{_ROOT}/cgroup.controllers")


def layout(host: hosts.Host) -> Iterator[findings.Finding]:
    """Which hierarchies are mounted."""
    if _unified(host):
        yield findings.ok("cgroups", "v2")
    elif not host.exists("/proc/cgroups"):
        yield findings.fail(
            "cgroups", "the kernel has no cgroups", "boot a kernel with CONFIG_CGROUPS"
        )
    elif not host.exists(f"{_ROOT}/memory") and not host.exists(f"{_ROOT}/pids"):
        yield findings.fail(
            "cgroups", f"nothing is mounted at {_ROOT}", f"mount -t cgroup2 cgroup2 {_ROOT}"
        )
    else:
        owned = host.read(f"{_ROOT}/unified/cgroup.controllers")
        if owned:
            yield findings.ok("cgroups", f"hybrid; the engine mounts {owned} as v1 when it starts")
        else:
            yield findings.ok("cgroups", "v1")


def controllers(host: hosts.Host) -> Iterator[findings.Finding]:
    """Whether each limit can be set."""
    if _unified(host):
        there = set(host.read(f"{_ROOT}/cgroup.controllers").split())
    else:
        there = {name for name in _WANTED if host.exists(f"{_ROOT}/{name}")}
    missing = [name for name in _WANTED if name not in there]
    for name in missing:
        remedy = (
            "add cgroup_enable=memory swapaccount=1 to the kernel's command line and reboot"
            if name == "memory"
            else f"boot a kernel with the cgroup controller {name}"
        )
        yield findings.warn(
            "cgroup controllers", f"{name} is off: {_WANTED[name]} can't be used", remedy
        )
    if not missing:
        yield findings.ok("cgroup controllers", ", ".join(_WANTED))
