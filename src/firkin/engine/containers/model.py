"""A container as the engine holds it, and the table of its life.

::

    created ──start──▶ running ◀──unpause── paused
       │                │  │ └────pause────────▲
       │                │  └─exit, policy─▶ restarting ──start──▶ running
       │              exit                     │
       │                ▼                      │ stop
       │              exited ◀─────────────────┘
       └──remove──┐     │ ▲ start: back to running
                  ▼     ▼
                removing ──failure──▶ dead ──remove──▶ removing

:data:`MOVES` is this picture; :meth:`Container.move` the only way along it.
"""

from __future__ import annotations

import asyncio
import enum
from typing import Any

import msgspec

from firkin import errdefs
from firkin.runtime import attach
from firkin.types import container


class Status(enum.StrEnum):
    """The states of a container, in the words of the Engine API."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"


MOVES: dict[Status, frozenset[Status]] = {
    Status.CREATED: frozenset({Status.RUNNING, Status.REMOVING}),
    Status.RUNNING: frozenset({Status.PAUSED, Status.RESTARTING, Status.EXITED}),
    Status.PAUSED: frozenset({Status.RUNNING, Status.RESTARTING, Status.EXITED}),
    Status.RESTARTING: frozenset({Status.RUNNING, Status.EXITED, Status.REMOVING}),
    Status.EXITED: frozenset({Status.RUNNING, Status.REMOVING}),
    Status.REMOVING: frozenset({Status.DEAD}),
    Status.DEAD: frozenset({Status.REMOVING}),
}


class MountRecord(msgspec.Struct, kw_only=True):
    """A mount decided at creation. ``options`` are mount(8) options beyond rw and propagation.

    ``subpath`` is what of a volume or image is mounted. ``recursive_ro`` makes what is mounted
    below a read-only bind read-only too ("force": or refuse). ``idmap`` is how the owners of a
    bind's files are shown: "" as they are, "caller" as the container's user, else id ranges.
    """

    type: str
    destination: str
    name: str = ""
    source: str = ""
    driver: str = ""
    mode: str = ""
    rw: bool = True
    propagation: str = ""
    recursive: bool = True
    copy_up: bool = False
    options: list[str] = []
    anonymous: bool = False
    shown: bool = True
    subpath: str = ""
    recursive_ro: str = ""
    idmap: str = ""
    driver_options: dict[str, str] = {}
    labels: dict[str, str] = {}


class Record(msgspec.Struct, kw_only=True):
    """What is decided at creation and kept in the database."""

    image_id: str
    config: container.Config
    host: container.HostConfig
    args: list[str]
    networks: dict[str, container.EndpointSettings] = {}
    mounts: list[MountRecord] = []
    runtime: str = ""
    platform: str = "linux"


class Probe(msgspec.Struct, kw_only=True):
    """One result of a health check. Times are nanoseconds since the epoch."""

    start: int
    end: int
    code: int
    output: str


class Health(msgspec.Struct, kw_only=True):
    """How a container with a health check is: ``streak`` failures in a row, the last results."""

    status: str = "none"
    streak: int = 0
    log: list[Probe] = []


class State(msgspec.Struct, kw_only=True):
    """What changes while it lives. Times are nanoseconds since the epoch, 0 for never.

    ``cgroup`` is the group, within the hierarchies, that it was last started in. ``briefly``: it
    is frozen, or about to be, for a work of the engine's own, and goes on after that.
    """

    status: Status = Status.CREATED
    pid: int = 0
    pid_started: int = 0
    monitor: int = 0
    monitor_started: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started_at: int = 0
    finished_at: int = 0
    restart_count: int = 0
    stopped_by_user: bool = False
    removes_volumes: bool = False
    boot_id: str = ""
    health: Health | None = None
    cgroup: str = ""
    briefly: bool = False


class Container:
    """One container.

    ``lock`` is held by whoever changes its state, and never while waiting for a client or for the
    container to end. ``pidfd`` and ``monitor_fd`` are pidfds of its process and of its monitor
    while it runs, else -1. ``doomed`` counts the removals by force that are under way: it is not
    started again meanwhile. ``returning`` counts the restarts by users that are under way: its end
    is no reason to remove it. ``clean_end``: since its last start it has ended, and its monitor has
    told how.
    """

    def __init__(
        self, container_id: str, name: str, created: int, record: Record, state: State
    ) -> None:
        self.id = container_id
        self.name = name
        self.created = created
        self.record = record
        self.state = state
        self.lock = asyncio.Lock()
        self.pidfd = -1
        self.monitor_fd = -1
        self.execs: set[str] = set()
        self.pending: list[Pending] = []
        self.parked: list[attach.Connection] = []
        self.exit_waiters: list[asyncio.Future[tuple[int, str]]] = []
        self.removal_waiters: list[asyncio.Future[tuple[int, str]]] = []
        self.restarting: asyncio.Task[None] | None = None
        self.started_monotonic = 0.0
        self.backoff = 0.0
        self.clean_end = False
        self.doomed = 0
        self.rows: dict[int, Any] = {}
        """Belongs to ``firkin.engine.containers.rows``."""
        self.returning = 0

    @property
    def short(self) -> str:
        """The first 12 digits of the id."""
        return self.id[:12]

    @property
    def running(self) -> bool:
        """Whether there is a process: running or paused."""
        return self.state.status in (Status.RUNNING, Status.PAUSED)

    def move(self, status: Status) -> None:
        """Go to ``status``. Raises ``Conflict`` naming the state when there is no such move."""
        if status not in MOVES[self.state.status]:
            raise errdefs.Conflict(
                f"container {self.name} is {self.state.status}: it can't become {status} from that"
            )
        self.state.status = status

    def require_running(self, what: str) -> None:
        """Raise ``Conflict`` unless there is a process to ``what``."""
        if not self.running:
            raise errdefs.Conflict(
                f"cannot {what} container {self.name}: container {self.id} is not running "
                f"(it is {self.state.status})"
            )

    def require_settled(self) -> None:
        """Raise ``Conflict`` while it waits for its next start by its restart policy."""
        if self.state.status is Status.RESTARTING:
            raise errdefs.Conflict(
                f"Container {self.id} is restarting, wait until the container is running"
            )

    def require_unpaused(self, what: str) -> None:
        """Raise ``Conflict`` while its processes are frozen."""
        if self.state.status is Status.PAUSED:
            raise errdefs.Conflict(
                f"Container {self.name} is paused, unpause the container before {what}"
            )

    def stay_ended(self) -> None:
        """Give up the restart that it waits for; those who wait for its end are told."""
        if self.restarting is not None and self.restarting is not asyncio.current_task():
            self.restarting.cancel()
        self.restarting = None
        self.move(Status.EXITED)
        self.finish_exit_waiters()

    def finish_exit_waiters(self) -> None:
        """Tell those who wait for the end of the process."""
        result = (self.state.exit_code, self.state.error)
        waiters, self.exit_waiters = self.exit_waiters, []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result(result)

    def finish_removal_waiters(self, error: str = "") -> None:
        """Tell those who wait for the container to be gone."""
        waiters = self.removal_waiters + self.exit_waiters
        self.removal_waiters, self.exit_waiters = [], []
        for waiter in waiters:
            if not waiter.done():
                waiter.set_result((self.state.exit_code, error))


class Pending:
    """A client that attached before the start and gets its streams when they exist."""

    def connect(self, path: str) -> None:
        """The streams are at the monitor socket ``path`` now."""
        raise NotImplementedError

    def abandon(self, reason: str) -> None:
        """They will not exist: the start failed or the container was removed."""
        raise NotImplementedError
