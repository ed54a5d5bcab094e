"""Single files of a tree, for a client that looks into it. Links are followed inside of it."""

from __future__ import annotations

import fnmatch
import os
import stat as modes

from firkin import errdefs
from firkin.buildkit import fsutil
from firkin.buildkit.pb import fsutil_pb2
from firkin.linux import regular, syscalls

LIMIT = 16 << 20
"""Bytes of a file that are read at most: an answer is one message."""
_ENTRIES = 20_000


def _missing(path: str, error: OSError) -> errdefs.FirkinError:
    kind = errdefs.NotFound if error.errno in regular.REPLACED else errdefs.InvalidParameter
    return kind(f"{path[:200]}: {(error.strerror or str(error)).lower()}")


def _place(root: str, path: str) -> int:
    top = os.open(root, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return syscalls.openat2(
            top, path.lstrip("/") or ".", os.O_PATH,
            resolve=syscalls.RESOLVE_IN_ROOT | syscalls.RESOLVE_NO_MAGICLINKS,
        )  # fmt: skip
    finally:
        os.close(top)


def stat(root: str, path: str) -> fsutil_pb2.Stat:
    """What is at ``path``. Raises ``NotFound``. Blocks."""
    try:
        fd = _place(root, path)
        try:
            status = os.fstat(fd)
        finally:
            os.close(fd)
    except OSError as error:
        raise _missing(path, error) from None
    return fsutil.described(os.path.basename(path.rstrip("/")), status)


def read(root: str, path: str, offset: int, length: int) -> bytes:
    """A piece of a file, all of it with a ``length`` of 0.

    Raises ``NotFound``, and ``InvalidParameter`` for what is no file or too large. Blocks.
    """
    wanted = min(length, LIMIT) if length > 0 else LIMIT + 1
    try:
        with open(regular.descriptor(root, path), "rb") as file:
            file.seek(max(offset, 0))
            data = file.read(wanted)
    except OSError as error:
        raise _missing(path, error) from None
    if len(data) > LIMIT:
        raise errdefs.InvalidParameter(f"{path[:200]} has more than {LIMIT >> 20} MiB")
    return data


def entries(root: str, path: str, pattern: str) -> list[fsutil_pb2.Stat]:
    """What is in a directory and fits the pattern, if there is one. Raises as ``read``."""
    try:
        fd = _place(root, path)
        try:
            names = sorted(os.listdir(f"/proc/self/fd/{fd}"))[:_ENTRIES]
            found = []
            for name in names:
                if pattern and not fnmatch.fnmatchcase(name, pattern):
                    continue
                status = os.stat(f"/proc/self/fd/{fd}/{name}", follow_symlinks=False)
                link = modes.S_ISLNK(status.st_mode)
                target = os.readlink(f"/proc/self/fd/{fd}/{name}") if link else ""
                found.append(fsutil.described(name, status, target))
            return found
        finally:
            os.close(fd)
    except OSError as error:
        raise _missing(path, error) from None
