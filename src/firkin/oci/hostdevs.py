"""The device nodes of this host: the lookups that ``devices`` asks for. This module does I/O."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator

from firkin.oci import devices


def _device(path: str, facts: os.stat_result) -> devices.Device | None:
    if stat.S_ISCHR(facts.st_mode):
        kind = "c"
    elif stat.S_ISBLK(facts.st_mode):
        kind = "b"
    else:
        return None
    return devices.Device(
        path=path,
        kind=kind,
        major=os.major(facts.st_rdev),
        minor=os.minor(facts.st_rdev),
        mode=stat.S_IMODE(facts.st_mode),
        uid=facts.st_uid,
        gid=facts.st_gid,
    )


def _below(directory: str) -> Iterator[devices.Device]:
    for parent, _, names in os.walk(directory):
        for name in sorted(names):
            path = os.path.join(parent, name)
            try:
                found = _device(path, os.lstat(path))
            except FileNotFoundError:  # udev removed it meanwhile
                continue
            if found is not None:
                yield found


def lookup(path: str) -> list[devices.Device]:
    """The node at ``path`` (symlinks followed) or the nodes below it. Raises ``OSError``."""
    facts = os.stat(path)
    if stat.S_ISDIR(facts.st_mode):
        return list(_below(path))
    found = _device(path, facts)
    return [found] if found else []


def every() -> list[devices.Device]:
    """All nodes below /dev, for privileged containers."""
    return list(_below("/dev"))
