"""The contract of a blob storage.

A blob is named by its digest and never changes. Its life::

    put(digest, file, size) ──> open(), stat(), walk() ──> delete()

* ``put`` is atomic and durable: when it returns, the whole blob is there and survives a power cut;
  when the process is killed before, no part of it is ever visible. The caller has verified the
  file's bytes against the digest; the storage takes the file over, it is gone afterwards.
* ``put`` of a blob that is there replaces it, which mends one that was damaged.
* The storage does not know what refers to a blob. Who deletes holds the blob's lock
  (``firkin.registry.locks``), so that nobody is told meanwhile that it is there.
* All methods block; call them in worker threads, from any of them.

Errors: ``NotFound`` for a blob that is not there, ``Unavailable`` when the storage does not answer
or has no room, ``System`` for everything else.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import NamedTuple, Protocol


class Info(NamedTuple):
    """A blob as the storage sees it. ``modified`` is in seconds since the epoch."""

    digest: str
    size: int
    modified: float


class Reader(Protocol):
    """A blob's bytes, from where it was opened to its end."""

    def read(self, size: int = -1, /) -> bytes | None:
        """The next bytes, as many as there are but not more than ``size``; b"" at the end."""

    def close(self) -> None:
        """Give up what is held."""


class Storage(Protocol):
    """Blobs by digest."""

    def put(self, digest: str, file: str, size: int) -> None:
        """Make a blob of the file of this path."""

    def open(self, digest: str, offset: int = 0, length: int = -1) -> Reader:
        """Read a blob from ``offset`` on; ``length`` bytes are wanted, or all to the end.

        A reader with a method ``fileno`` may be given to sendfile(2) instead.
        """

    def stat(self, digest: str) -> Info:
        """What is known about a blob."""

    def delete(self, digest: str) -> bool:
        """Remove a blob; tells whether it was there."""

    def walk(self) -> Iterator[Info]:
        """All blobs, in no order."""

    def url(self, digest: str, seconds: int) -> str:
        """Where a client may fetch the blob by itself for so long; "" where it can't."""

    def check(self) -> None:
        """Raise unless the storage can be read and written now."""
