"""Programs, libraries and Python packages that the engine stands on."""

from __future__ import annotations

import sys
from collections.abc import Iterator

from firkin.doctor import findings, hosts

_LIBRARIES = (
    ("libnftables.so.1", "no rule of the firewall can be set",
     {"": "nftables", "debian": "libnftables1"}),
    ("libseccomp.so.2", "system calls can't be filtered",
     {"": "libseccomp", "debian": "libseccomp2", "suse": "libseccomp2"}),
    ("libarchive.so.13", "no layer can be unpacked",
     {"": "libarchive", "debian": "libarchive13", "suse": "libarchive13"}),
)  # fmt: skip

_MODULES = {
    "aiohttp": "aiohttp",
    "isal": "isal",
    "msgspec": "msgspec",
    "pyroute2": "pyroute2",
    "uvloop": "uvloop",
    "zstandard": "zstandard",
}
"""Modules of the extra ``engine`` by import name."""


def runtime(host: hosts.Host) -> Iterator[findings.Finding]:
    """Whether something can make a container."""
    found = [name for name in ("crun", "runc") if host.program(name)]
    if found:
        yield findings.ok("OCI runtime", ", ".join(found))
    else:
        yield findings.fail(
            "OCI runtime", "neither crun nor runc is installed", host.install({"": "crun"})
        )


def helpers(host: hosts.Host) -> Iterator[findings.Finding]:
    """The monitor, and the init of ``run --init``."""
    if host.program("conmon"):
        yield findings.ok("monitor", "conmon")
    else:
        yield findings.fail("monitor", "conmon is not installed", host.install({"": "conmon"}))
    if not host.program("tini-static", "tini"):
        yield findings.warn(
            "init", "tini is not installed: run --init can't be used", host.install({"": "tini"})
        )


def libraries(host: hosts.Host) -> Iterator[findings.Finding]:
    """Shared libraries, loaded as the engine loads them."""
    missing = False
    for name, consequence, packages in _LIBRARIES:
        if not host.library(name):
            missing = True
            yield findings.fail(name, f"not installed: {consequence}", host.install(packages))
    if not missing:
        yield findings.ok("libraries", ", ".join(name for name, _, _ in _LIBRARIES))


def python_packages(host: hosts.Host) -> Iterator[findings.Finding]:
    """What the interpreter that runs the engine must have."""
    missing = [package for name, package in _MODULES.items() if not host.python_module(name)]
    if missing:
        yield findings.fail(
            "Python packages",
            f"{', '.join(missing)}: not installed",
            f"{sys.executable} -m pip install 'firkin[engine]'",
        )
    else:
        yield findings.ok("Python packages", ", ".join(_MODULES.values()))
