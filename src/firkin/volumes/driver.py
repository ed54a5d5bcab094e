"""What a volume driver is.

A driver keeps volumes by name. The service calls ``create`` once, then any number of times
``mount`` and ``unmount`` in pairs, then ``remove``. A mounted volume stays so when the engine ends:
after its restart the pair may be ended by an ``unmount`` on a new object. ``path`` tells where a
mounted volume is on the host and never blocks. All other calls may; they run in worker threads, at
any time and several at once for different volumes.

Errors are those of ``firkin.errdefs``; an ``OSError`` is told to the user with what was attempted.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, runtime_checkable


class Driver(Protocol):
    """Keeps volumes. See the module's text for the lifecycle."""

    name: str

    scope: str
    """"local" for volumes of this host, "global" for those that every host sees."""

    exclusive: bool
    """Whether this engine makes all volumes there are. Then those in ``list`` that the engine does
    not know are leftovers of a killed one and are removed; else they are taken as volumes."""

    def create(self, name: str, options: Mapping[str, str]) -> None:
        """Make a volume; an existing one stays as it is.

        Raises ``InvalidParameter`` for options that the driver does not have.
        """
        ...

    def mount(self, name: str, options: Mapping[str, str]) -> str:
        """Make the volume usable on this host and return its directory.

        Raises ``NotFound`` for a volume that is not there.
        """
        ...

    def unmount(self, name: str) -> None:
        """The opposite, for one user of it."""
        ...

    def path(self, name: str) -> str:
        """Where the volume is, or would be, on the host; "" if only a mount will tell."""
        ...

    def remove(self, name: str) -> None:
        """Delete the volume and what it holds. Idempotent."""
        ...

    def list(self) -> list[str]:
        """Names of the volumes that are really there."""
        ...


@runtime_checkable
class Measuring(Protocol):
    """What a driver may have beyond that: it knows better than a walk what a volume takes."""

    def usage(self, name: str) -> int:
        """Bytes on the disk, of all that there is because of the volume."""
        ...


@runtime_checkable
class Renaming(Protocol):
    """What a driver may have beyond that: volumes can get another name."""

    def rename(self, old: str, new: str) -> None:
        """Rename an unmounted volume. Idempotent: done already when ``old`` is not there."""
        ...
