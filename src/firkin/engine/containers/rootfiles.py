"""Reading files of a container's root file system, whatever its links say."""

from __future__ import annotations

import os

from firkin.linux import syscalls
from firkin.oci import user as users

_LIMIT = 4 << 20


def read(root: str, path: str) -> str:
    """The text of ``path`` below ``root``; "" when there is no such regular file.

    Links are resolved inside ``root``; at most 4 MiB are read.
    """
    try:
        base = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        fd = syscalls.openat2(
            base,
            path,
            os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY,
            resolve=syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS,
        )
    except OSError:
        return ""
    finally:
        os.close(base)
    with open(fd, "rb") as file:
        if not os.path.isfile(f"/proc/self/fd/{fd}"):
            return ""
        return file.read(_LIMIT).decode(errors="replace")


def user(root: str, spec: str, groups: list[str] | None) -> users.User:
    """Who ``spec`` is, by the passwd and group files of ``root``. Raises ``InvalidParameter``."""
    return users.resolve(spec, read(root, "etc/passwd"), read(root, "etc/group"), groups or [])
