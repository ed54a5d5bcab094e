"""Reading files of a container's root file system, whatever its links say."""

from __future__ import annotations

from firkin.linux import regular
from firkin.oci import user as users

_LIMIT = 4 << 20


def read(root: str, path: str) -> str:
    """The text of ``path`` below ``root``; "" when there is no such regular file.

    Links are resolved inside ``root``; at most 4 MiB are read.
    """
    try:
        return regular.read(root, path, _LIMIT).decode(errors="replace")
    except OSError:
        return ""


def user(root: str, spec: str, groups: list[str] | None) -> users.User:
    """Who ``spec`` is, by the passwd and group files of ``root``. Raises ``InvalidParameter``."""
    return users.resolve(spec, read(root, "etc/passwd"), read(root, "etc/group"), groups or [])
