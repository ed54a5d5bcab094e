"""The contract of a snapshotter: file trees that are stacked on each other.

::

    prepare(key, parent) ──> active ── the caller changes it ── commit(key, name) ──> committed
                               └── remove(key) ──> gone                                       │
                                                                remove(name), childless only ─┘

* An *active* snapshot is writable. It is the writable layer of a container (its key is then the
  container's id) or a layer being unpacked.
* A *committed* snapshot never changes again; it may be the parent of others. Layers of images are
  committed under their chain id.
* ``mounts`` are what has to be mounted, in order, at a directory to see the whole tree; see
  ``firkin.snapshots.mounting``. Nothing is mounted by the snapshotter itself.
* ``directory`` is where the changes of a snapshot lie. With a driver whose ``rebases`` is true it
  holds this layer alone, whiteouts in overlayfs form, so a layer can be unpacked before its
  parent is known: ``commit`` then takes the parent. With others it is the whole tree.
* The database row is the truth. A directory without a row is a leftover of a killed process:
  ``cleanup`` removes it; ``prepare`` makes the directory before the row can be seen, ``remove``
  deletes the row before the directory.

Keys are unique over both kinds. Missing keys are ``NotFound``, existing ones and parents in use are
``Conflict``.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NamedTuple, Protocol

from firkin.linux.treesize import Usage
from firkin.store.snapshots import Info
from firkin.types import mount

__all__ = ["Info", "Snapshotter", "Taken", "Usage"]


class Taken(NamedTuple):
    """Bytes on the disk: of a snapshot's own changes, and of all that there is because of it."""

    own: int
    whole: int


class Snapshotter(Protocol):
    """See the module's description for the life of a snapshot."""

    name: str
    rebases: bool

    async def prepare(
        self, key: str, parent: str = "", *, counted: bool = False
    ) -> list[mount.Mount]:
        """Make an active snapshot on a committed ``parent`` ("" for an empty tree).

        With ``counted`` the kernel counts what it takes from now on, where the file system can.
        """

    async def mounts(self, key: str) -> list[mount.Mount]:
        """Mounts of an active snapshot, writable; of a committed one, read-only."""

    async def commit(
        self, key: str, name: str, *, parent: str | None = None, size: int = 0, disk: int = -1
    ) -> None:
        """Turn the active snapshot ``key`` into the committed ``name``.

        ``parent`` moves it onto another parent first; only drivers with ``rebases`` take one that
        differs. ``size`` is remembered as the layer's size, ``disk`` as what the tree at
        ``directory`` takes on the disk: it is measured when the caller does not know.
        """

    async def weigh(self, disk: dict[int, int]) -> None:
        """Record what committed snapshots take, by their directories' numbers."""

    async def remove(self, key: str) -> None:
        """Remove a snapshot that is nobody's parent, with its files."""

    async def forget(self, key: str) -> str:
        """The same without its files: returns their directory, which ``cleanup`` would remove."""

    async def stat(self, key: str) -> Info:
        """What is known about a snapshot."""

    async def walk(self) -> list[Info]:
        """All snapshots, parents before their children."""

    async def usage(self, key: str) -> Usage:
        """What the snapshot's own changes take, without the directory they lie in. A walk."""

    async def meters(self) -> dict[str, Callable[[], Taken]]:
        """What measures each active snapshot, by key. Meters block: a walk, unless it is counted.

        One whose snapshot is gone finds nothing.
        """

    async def sizes(self) -> dict[str, int]:
        """What each committed snapshot takes on the disk: recorded when it was committed."""

    async def directory(self, key: str) -> str:
        """Where the snapshot's own files lie."""

    async def layers(self, key: str) -> list[str]:
        """The directories of a snapshot and its ancestors, itself first."""

    async def cleanup(self) -> int:
        """Remove directories that no row knows. Returns how many there were."""
