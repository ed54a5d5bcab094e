"""What the engine needs from a container runtime.

The life of a container in a runtime::

    create ──▶ (created) ──▶ start ──▶ (running) ──▶ the process ends ──▶ delete
                                          │  ▲
                                   pause  ▼  │  resume
                                        (paused)

``create`` makes everything that the bundle's ``config.json`` asks for, up to but without running
the user's process, whose standard streams are by then in the hands of a monitor that outlives the
engine. Clients attach before ``start``, so no byte of output is missed. ``delete`` may be called in
any state and any number of times; it removes whatever ``create`` made, even when that was cut
short.
"""

from __future__ import annotations

from typing import Protocol

import msgspec


class Bundle(msgspec.Struct, frozen=True, kw_only=True):
    """What ``create`` is given.

    ``path`` is a directory with ``config.json``; ``log_path`` the log file ("" for none),
    which starts over when it is longer than ``log_limit`` bytes (0: never);
    ``terminal``, ``stdin`` and ``stdin_once`` say how the standard streams are made:
    with ``stdin_once`` the end of the attached client's input is the end of the container's.
    """

    id: str
    path: str
    log_path: str
    log_limit: int = 0
    terminal: bool = False
    stdin: bool = False
    stdin_once: bool = False


class Monitored(msgspec.Struct, frozen=True, kw_only=True):
    """A created container: its process and its monitor, each with its start time in ticks."""

    pid: int
    pid_started: int
    monitor: int
    monitor_started: int


class Exit(msgspec.Struct, frozen=True, kw_only=True):
    """How a process ended. ``known`` is false when its monitor died before it could tell."""

    code: int
    oom_killed: bool = False
    known: bool = True


class ExecBundle(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of a process to be added to a running container before it is let go."""

    id: str
    container: str
    path: str
    terminal: bool = False
    stdin: bool = False


class Exec(Protocol):
    """An exec that is ready to go: its streams are there, the process is not running yet.

    When the engine ends before :meth:`go`, the monitor ends without having run anything.
    """

    @property
    def socket_path(self) -> str:
        """The monitor's attach socket."""
        ...

    async def go(self, process: dict[str, object]) -> int:
        """Run the process, a runtime-spec process object, and return its pid.

        Raises as :meth:`Runtime.create` does.
        """
        ...

    async def wait(self) -> int:
        """Wait for the process to end and return its exit code."""
        ...

    async def close(self) -> None:
        """Give up what is held for it, its directory too; ends the monitor if nothing ran."""
        ...


class Runtime(Protocol):
    """A container runtime with its monitor. See the module's text for the lifecycle."""

    name: str

    async def create(self, bundle: Bundle) -> Monitored:
        """Create a container.

        Raises ``InvalidParameter`` when the runtime rejects what the bundle asks for,
        ``CommandNotFound`` or ``CommandNotExecutable`` for an unusable command, ``System``
        otherwise. Whatever it raises, nothing is left that :meth:`delete` would not remove.
        """
        ...

    async def start(self, container_id: str) -> None:
        """Run the user's process. Raises ``System``, or as :meth:`create` for its command."""
        ...

    async def exec(self, bundle: ExecBundle) -> Exec:
        """Prepare a further process in a running container. Raises as :meth:`create` does."""
        ...

    def exec_command(self, container_id: str, process_file: str, pid_file: str) -> list[str]:
        """The program that runs a process without a monitor and ends with its exit code.

        ``process_file`` is a runtime-spec process object; the process's pid goes to ``pid_file``.
        """
        ...

    async def pause(self, container_id: str) -> None:
        """Freeze all processes."""
        ...

    async def resume(self, container_id: str) -> None:
        """Let them go on."""
        ...

    async def update(self, container_id: str, resources: dict[str, object]) -> None:
        """Give a running container other limits, a runtime-spec ``linux.resources``.

        Raises ``System`` when the kernel refuses one of them.
        """
        ...

    async def kill_all(self, container_id: str) -> None:
        """Kill every process of the container at once."""
        ...

    async def delete(self, container_id: str, *, ended: bool = False) -> None:
        """Remove the container from the runtime, killing what still runs. Idempotent.

        ``ended``: the process and its monitor have ended, so there is nothing to kill, and the
        caller will remove the group.
        """
        ...
