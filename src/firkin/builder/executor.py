"""The contract of what runs RUN steps: the builder decides what, the engine how."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

import msgspec

from firkin.types import container, mount

Output = Callable[[int, bytes], None]
"""Takes what a step writes: 1 or 2 for its standard output or error, and the bytes."""


class Step(msgspec.Struct, frozen=True, kw_only=True):
    """A command to run to its end in a file tree.

    ``rootfs`` are the mounts that make the tree; ``mounts`` come on top, their sources are paths of
    the host or types of file systems. ``network`` is default, none, host or a network's name.
    ``host`` has limits, extra hosts and the like; ``insecure`` lifts the sandbox. ``devices`` are
    CDI names, each with whether the step needs it; ``allowed`` are those that may be used, "" for
    all.
    """

    id: str
    args: list[str]
    env: list[str]
    cwd: str
    user: str
    rootfs: list[mount.Mount]
    mounts: list[mount.Mount]
    network: str = ""
    host: container.HostConfig = msgspec.field(default_factory=container.HostConfig)
    insecure: bool = False
    hostname: str = ""
    devices: list[tuple[str, bool]] = []
    allowed: frozenset[str] = frozenset()


class Executor(Protocol):
    """Runs steps in containers.

    Whatever happens to a step, also when its task is cancelled, nothing of its container is left
    when ``run`` returns or raises: no process, mount, namespace or cgroup; and files that only
    served as mount points are gone from the tree.
    """

    async def run(self, step: Step, output: Output) -> int:
        """Run a step to its end and return its exit status (128 and more for a signal).

        Raises ``InvalidParameter`` for a device that is needed and not there, or not allowed.
        """
        ...

    async def permit(self, devices: list[tuple[str, bool]], allowed: frozenset[str]) -> None:
        """Raise ``InvalidParameter`` for a device of a step that is there and not allowed.

        Asked also for a step whose result is known: who builds must be allowed all the same.
        """
        ...

    def can_run(self, platform: str) -> bool:
        """Whether programs of a platform (os/arch[/variant]) run on this host."""
        ...
