"""What a volume driver is.

A driver keeps volumes by name. The service calls ``create`` once, then any number of times
``mount`` and ``unmount`` in pairs (one for each running container), then ``remove``. ``path`` tells
where a mounted volume is on the host. All calls may block; they run in worker threads.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class Driver(Protocol):
    """Keeps volumes. See the module's text for the lifecycle."""

    name: str

    def create(self, name: str, options: Mapping[str, str]) -> None:
        """Make a volume; an existing one stays as it is.

        Raises ``InvalidParameter`` for options that the driver does not have.
        """
        ...

    def mount(self, name: str, options: Mapping[str, str]) -> str:
        """Make the volume usable on this host and return its directory."""
        ...

    def unmount(self, name: str) -> None:
        """The opposite, for one user of it."""
        ...

    def path(self, name: str) -> str:
        """Where the volume is, or would be, on the host."""
        ...

    def remove(self, name: str) -> None:
        """Delete the volume and what it holds. Idempotent."""
        ...

    def list(self) -> list[str]:
        """Names of the volumes that are really there."""
        ...
