"""Where images and containers are to be kept."""

from __future__ import annotations

import os
from collections.abc import Iterator

from firkin.doctor import findings, hosts

_LEAST = 1 << 30

_OVERLAY = (
    'set -e; d="$(mktemp -d -p "$1")"; trap \'umount "$d/m" 2>/dev/null; rm -rf "$d"\' EXIT; '
    'mkdir "$d/l" "$d/u" "$d/w" "$d/m"; '
    'mount -t overlay overlay -o "lowerdir=$d/l,upperdir=$d/u,workdir=$d/w" "$d/m"; '
    ': >"$d/m/probe"'
)
"""Mounts an overlay below $1, writes to it and takes it away again."""


def data_root(host: hosts.Host) -> Iterator[findings.Finding]:
    """Whether there is room."""
    place = hosts.existing(host.data_root)
    free = host.free_space(host.data_root)
    text = f"{free / (1 << 30):.1f} GiB free for {host.data_root}"
    if free < _LEAST:
        yield findings.warn(
            "disk", text, "free some space, or start firkind with --data-root on a larger disk"
        )
    elif host.is_root() and not os.access(place, os.W_OK):
        yield findings.fail("disk", f"{place} is read-only", f"mount -o remount,rw {place}")
    else:
        yield findings.ok("disk", text)


def overlay(host: hosts.Host) -> Iterator[findings.Finding]:
    """Whether layers can be stacked there without copying, tried in a mount namespace."""
    if not host.is_root():
        return
    place = hosts.existing(host.data_root)
    works = host.succeeds("unshare", "--mount", "sh", "-c", _OVERLAY, "sh", place)
    if works:
        yield findings.ok("overlay", f"layers are stacked by the kernel on {place}")
    elif works is not None:
        yield findings.warn(
            "overlay",
            f"no overlay can be mounted on {place}: each container copies its image",
            "modprobe overlay, or start firkind with --data-root on ext4 or xfs",
        )
