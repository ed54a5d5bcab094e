"""Who makes the groups of containers: the runtime itself (``cgroupfs``) or ``systemd``.

Where systemd runs a unified hierarchy, it is the one writer of that tree, and containers are units
of it: each a scope in a slice. Elsewhere the runtime makes directories below a parent of the
engine's own. The runtime-spec has one field for both, linux.cgroupsPath: a path, or
``SLICE:PREFIX:NAME``, which the runtimes read when called with --systemd-cgroup.
"""

from __future__ import annotations

import os
import re
from typing import NamedTuple

from firkin import errdefs
from firkin.linux import cgroup

CGROUPFS = "cgroupfs"
SYSTEMD = "systemd"
PREFIX = "firkin"

#: Without a scope of its own below the container's, which crun would make for systemd: limits and
#: figures are then those of the group that the container sees as its root. crun(1).
SUBGROUP = ("run.oci.systemd.subgroup", "")

_BOOTED = "/run/systemd/system"
_DEFAULT_PARENT = {CGROUPFS: "/firkin", SYSTEMD: "system.slice"}
# systemd.slice(5): a dash separates a slice's name from its parent's
_SLICE = re.compile(r"(?:-|[A-Za-z0-9_.\\]+(?:-[A-Za-z0-9_.\\]+)*)\.slice", re.ASCII)
_LONGEST = 200


class Group(NamedTuple):
    """A container's group: ``path`` is absolute within the hierarchies, ``spec`` cgroupsPath."""

    path: str
    spec: str


def booted(path: str = _BOOTED) -> bool:
    """Whether systemd is the init of this host: sd_booted(3)."""
    return os.path.isdir(path)


def choose(wanted: str, layout: cgroup.Layout, *, systemd: bool) -> str:
    """The driver to use; ``wanted`` may be "" for the host's own.

    Raises ``InvalidParameter`` for a driver that there is not, or not on this host.
    """
    if not wanted:
        return SYSTEMD if systemd and layout.version == 2 else CGROUPFS
    if wanted not in (CGROUPFS, SYSTEMD):
        raise errdefs.InvalidParameter(
            f"native.cgroupdriver={wanted[:40]}: use {CGROUPFS} or {SYSTEMD}"
        )
    if wanted == SYSTEMD and not systemd:
        raise errdefs.InvalidParameter(
            f"native.cgroupdriver={SYSTEMD}: systemd does not run this host: use {CGROUPFS}"
        )
    return wanted


def check_parent(driver: str, parent: str) -> None:
    """Raise ``InvalidParameter`` for a parent that this driver can't use; "" is the default's."""
    if not parent:
        return
    if driver == SYSTEMD:
        if len(parent) > _LONGEST or not _SLICE.fullmatch(parent):
            raise errdefs.InvalidParameter(
                f"invalid cgroup-parent {parent[:80]!r}: with the cgroup driver systemd it has to "
                'be a slice named as "xxx.slice"'
            )
    elif "\0" in parent or ".." in parent.split("/") or not parent.strip("/"):
        raise errdefs.InvalidParameter(
            f"invalid cgroup-parent {parent[:80]!r}: use a path such as /mine, without '..'"
        )
    elif parent.endswith(".slice") and "/" not in parent:
        raise errdefs.InvalidParameter(
            f"invalid cgroup-parent {parent[:80]!r}: a slice needs the cgroup driver systemd: "
            "--exec-opt native.cgroupdriver=systemd"
        )


def group(driver: str, parent: str, container_id: str) -> Group:
    """The group of a container below a checked ``parent``, "" for the driver's default."""
    parent = parent or _DEFAULT_PARENT[driver]
    if driver == SYSTEMD:
        return Group(
            f"{_slice_path(parent)}/{PREFIX}-{container_id}.scope",
            f"{parent}:{PREFIX}:{container_id}",
        )
    path = f"/{parent.strip('/')}/{container_id}"
    return Group(path, path)


def path_of(spec: str) -> str:
    """The group's path of a cgroupsPath, for either driver; "" for none."""
    parent, colon, rest = spec.partition(":")
    prefix, more, name = rest.partition(":")
    return f"{_slice_path(parent)}/{prefix}-{name}.scope" if colon and more else spec


def _slice_path(name: str) -> str:
    """Where systemd puts a slice: ``a-b.slice`` is /a.slice/a-b.slice."""
    if name == "-.slice":
        return ""
    words = name.removesuffix(".slice").split("-")
    return "".join(f"/{'-'.join(words[: n + 1])}.slice" for n in range(len(words)))
