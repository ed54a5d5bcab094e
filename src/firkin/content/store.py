"""The contract of a content store.

A blob is named by the SHA-256 of its bytes ("sha256:<64 hex digits>"), so it never changes and a
second copy is never needed. Its life::

    writer() ── write()... ── commit(expected digest, expected size) ──> exists, for good
       └──────── abort() ──> nothing ever existed                            └── delete()

* What was written is invisible until ``commit``; ``commit`` is atomic: a process killed at any
  moment leaves either the whole, verified blob or only an ingest, which is dropped at the next
  start.
* ``commit`` refuses bytes that are not what was promised; committing a blob that is there already
  succeeds and drops the second copy.
* A blob whose digest is known beforehand can be received by ``resume`` instead of ``writer``. What
  has been written of it outlives ``suspend``, and the process: the next ``resume`` of the digest
  begins there, and has to ``replay`` it first.
* The methods block; call them in worker threads. A ``Writer`` belongs to one thread at a time,
  everything else may be called from any thread.
* The store does not know what refers to a blob: who deletes must know (``firkin.images.gc``).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import BinaryIO, NamedTuple, Protocol

from firkin import errdefs

Buffer = bytes | bytearray | memoryview


class Info(NamedTuple):
    """What the store knows about a blob."""

    digest: str
    size: int


class Writer(Protocol):
    """One blob on its way in."""

    @property
    def size(self) -> int:
        """Bytes written so far."""

    def write(self, data: Buffer) -> None:
        """Append ``data``. Raises ``System`` when the disk does not take it."""

    def writev(self, parts: Sequence[Buffer]) -> None:
        """Append all ``parts`` in order, with as few system calls as possible."""

    def commit(self, digest: str = "", size: int = -1) -> Info:
        """Make the blob exist. ``digest`` and ``size`` are what it must be, when known.

        Raises ``InvalidParameter`` when the bytes are not that, after dropping them.
        """

    def abort(self) -> None:
        """Drop what was written. Does nothing after ``commit`` or a second time."""


class Resumed(Writer, Protocol):
    """A blob on its way in that may have begun before this process did."""

    def replay(self) -> Iterator[Buffer]:
        """What is there already, to be read to its end before the first ``write``."""

    def suspend(self) -> None:
        """Stop, and keep what was written for the next ``resume``. No effect after ``commit``."""


class Store(Protocol):
    """Blobs by digest. A digest that is not of the form sha256:<hex> is ``InvalidParameter``."""

    def writer(self) -> Writer:
        """Begin a blob."""

    def resume(self, digest: str) -> Resumed:
        """Begin the blob ``digest``, or go on with it. ``size`` tells how much is there.

        Raises ``Conflict`` while another writer of the same digest is open.
        """

    def drop_partials(self, age: float = 0.0) -> int:
        """Remove suspended beginnings that were not written to for ``age`` seconds.

        Returns the bytes that frees.
        """

    def begun(self, digest: str) -> int:
        """How many bytes ``resume`` would find."""

    def open(self, digest: str) -> BinaryIO:
        """The blob's bytes, for reading. Raises ``NotFound``."""

    def exists(self, digest: str) -> bool:
        """Whether the blob is there, whole."""

    def info(self, digest: str) -> Info:
        """Size of a blob. Raises ``NotFound``."""

    def delete(self, digest: str) -> bool:
        """Remove a blob; tells whether it was there. Open readers keep their bytes."""

    def walk(self) -> Iterator[Info]:
        """All blobs, in the order of their digests."""

    def sizes(self) -> dict[str, int]:
        """What each blob takes on the disk. Kept, so only the first call looks at the files."""

    def unfinished(self) -> int:
        """What the store takes on the disk beside its blobs: what is on its way in."""


def read(store: Store, digest: str, limit: int) -> bytes:
    """A small blob, whole. Raises ``InvalidParameter`` when it has more than ``limit`` bytes."""
    with store.open(digest) as blob:
        data = blob.read(limit + 1)
    if len(data) > limit:
        raise errdefs.InvalidParameter(f"{digest} has more than {limit} bytes")
    return data


def put(store: Store, data: bytes) -> Info:
    """Store a small blob."""
    writer = store.writer()
    try:
        writer.write(data)
        return writer.commit()
    finally:
        writer.abort()
