"""What the kernel refuses, in words for the user."""

from __future__ import annotations

import contextlib
import errno
from collections.abc import Iterator

from firkin import errdefs

_WORDS = {
    errno.ENOSPC: "the disk is full: free some space",
    errno.EDQUOT: "the disk quota is used up",
    errno.EROFS: "the file system is read-only",
    errno.EMFILE: "the engine has too many files open",
    errno.ENFILE: "the host has too many files open",
}


def reason(error: OSError) -> str:
    """Why, and where if that is known."""
    text = _WORDS.get(error.errno or 0) or error.strerror or str(error) or type(error).__name__
    return f"{error.filename}: {text}" if isinstance(error.filename, str) else text


@contextlib.contextmanager
def told(what: str) -> Iterator[None]:
    """Turn an ``OSError`` inside into ``System``, which says that and why ``what`` failed."""
    try:
        yield
    except OSError as error:
        raise errdefs.System(f"cannot {what}: {reason(error)}") from error
