"""What a host lacks before it can run containers, and the command that mends it.

It is asked before the first run, so it needs nothing that it may find missing: the standard library
only, and no engine. :func:`diagnose` runs every check of :data:`CHECKS` against a :class:`Host` and
yields findings. A check looks at one thing, changes nothing that lasts, and never raises.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from firkin.doctor import findings, hosts
from firkin.doctor.checks import cgroups, kernel, limits, network, programs, storage

Check = Callable[[hosts.Host], Iterator[findings.Finding]]

CHECKS: tuple[Check, ...] = (
    kernel.root,
    kernel.version,
    kernel.namespaces,
    kernel.seccomp,
    programs.runtime,
    programs.helpers,
    programs.libraries,
    programs.python_packages,
    cgroups.layout,
    cgroups.controllers,
    storage.data_root,
    storage.overlay,
    network.devices,
    network.firewall,
    network.forwarding,
    network.resolvers,
    limits.open_files,
    limits.kernel_tables,
)


def diagnose(host: hosts.Host) -> Iterator[findings.Finding]:
    """Everything there is to say about the host, in the order of :data:`CHECKS`."""
    for check in CHECKS:
        yield from check(host)
