"""What this host is and offers. Probed once, when the engine starts."""

from __future__ import annotations

import dataclasses
import os
import platform
import shutil

from firkin import errdefs
from firkin.linux import cgroup


@dataclasses.dataclass(frozen=True, slots=True, kw_only=True)
class Host:
    """Facts about the host.

    ``memory`` is in bytes, ``kernel`` as uname -r tells, ``capabilities`` the engine's own bounding
    set as a hexadecimal mask.
    """

    cgroup: cgroup.Layout
    moved_controllers: tuple[str, ...]
    boot_id: str
    kernel: str
    architecture: str
    operating_system: str
    os_version: str
    hostname: str
    cpus: int
    memory: int
    capabilities: str
    conmon: str
    runtimes: dict[str, str]
    init: str
    apparmor: bool
    seccomp: bool


def probe() -> Host:
    """Look at the host, and settle its cgroups so that containers can run.

    Raises ``System`` naming the package when a program that is needed is missing.
    """
    layout = cgroup.probe()
    moved = cgroup.settle(layout)
    if moved:
        layout = cgroup.probe()
    conmon = shutil.which("conmon", path=_path())
    if conmon is None:
        raise errdefs.System("conmon is not installed: install the Debian package conmon")
    runtimes = {
        name: path
        for name in ("crun", "runc")
        if (path := shutil.which(name, path=_path())) is not None
    }
    names = platform.uname()
    release = _os_release()
    return Host(
        cgroup=layout,
        moved_controllers=tuple(moved),
        boot_id=_read("/proc/sys/kernel/random/boot_id"),
        kernel=names.release,
        architecture=names.machine,
        operating_system=release.get("PRETTY_NAME", "Linux"),
        os_version=release.get("VERSION_ID", ""),
        hostname=names.node,
        cpus=os.cpu_count() or 1,
        memory=os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES"),
        capabilities=_bounding_set(),
        conmon=conmon,
        runtimes=runtimes,
        init=shutil.which("tini-static", path=_path()) or shutil.which("tini", path=_path()) or "",
        apparmor=_read("/sys/module/apparmor/parameters/enabled") == "Y",
        seccomp=os.path.exists("/proc/sys/kernel/seccomp/actions_avail"),
    )


def _bounding_set() -> str:
    for line in _read("/proc/self/status").splitlines():
        if line.startswith("CapBnd:"):
            return line.split()[1]
    raise errdefs.System("cannot read this process's capabilities: /proc is not mounted")


def _path() -> str:
    return os.environ.get("PATH", "") + ":/usr/sbin:/usr/bin:/sbin:/bin:/usr/local/sbin"


def _read(path: str) -> str:
    try:
        with open(path, encoding="utf-8", errors="replace") as file:
            return file.read().strip()
    except OSError:
        return ""


def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}
