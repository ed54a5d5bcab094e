"""The logs of all containers: choosing drivers, forwarding, rotation.

See ``firkin.logger`` for how a line gets from a container to its target. What is here ties that to
the lives of containers: a forwarder begins before the process, goes on after its end until all is
delivered, and is taken up again by the next engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
from collections.abc import Mapping

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine.containers import emit, model
from firkin.linux import inotify
from firkin.logger import forwarder, logger, options, spool
from firkin.logger.drivers import jsonfile, local
from firkin.runtime import conmon
from firkin.types import container as wire

log = logging.getLogger(__name__)

NONE = "none"
_PERIOD = 2.0  # seconds between two looks at the sizes of the logs
_LEAVE = 1.0  # seconds that it waits for the end of a forwarder that is given up
_DRAIN = 5.0  # seconds that a removal waits for the last entries to be delivered
_QUEUE = spool.Limits(4 << 20, 1 << 20, False)  # a spool that is emptied as it is forwarded
_UNREAD = spool.Limits(4 << 20, 25, False)
_LEAST_GUARD = 64 << 20  # a burst between two looks is for the engine to rotate
_GUARD = 4  # times its limits is what a log may grow to while no engine rotates it


class _Forwarding:
    """A container's forwarder, while it runs."""

    def __init__(self, subject: forwarder.Forwarder, path: str) -> None:
        self.forwarder = subject
        self.path = path
        self.task: asyncio.Task[None] | None = None
        self.tending: asyncio.Task[None] | None = None
        self.handle: tuple[int, int] | None = None


class Logs:
    """All logs. ``drivers`` by name; ``broken`` are those that can't be used, and why."""

    def __init__(self, drivers: Mapping[str, logger.Driver], broken: Mapping[str, str]) -> None:
        self._drivers = dict(drivers)
        self._broken = dict(broken)
        self._forwarding: dict[str, _Forwarding] = {}
        self._tending: asyncio.Task[None] | None = None

    def names(self) -> list[str]:
        """The drivers that there are."""
        return sorted([*self._drivers, NONE])

    def complete(self, core: engine.Core, config: wire.LogConfig) -> None:
        """Fill in the engine's defaults and check. Raises ``InvalidParameter``."""
        default = core.config.log_driver
        config.type = config.type or default
        if config.type == default:
            config.config = {**core.config.log_opts, **(config.config or {})}
        given = config.config or {}
        if config.type == NONE:
            if given:
                raise errdefs.InvalidParameter(
                    f"the log driver none takes no options ({', '.join(sorted(given))})"
                )
            return
        options.check(self._driver(config.type), given, reads=_reads(config.type))

    def _driver(self, name: str) -> logger.Driver:
        found = self._drivers.get(name)
        if found is None:
            reason = self._broken.get(name) or f"there are {', '.join(self.names())}"
            raise errdefs.InvalidParameter(
                f"logger: no log driver named '{name[:80]}' is registered: {reason}"
            )
        return found

    def monitor_limit(self, container: model.Container) -> int:
        """How long the monitor may let the spool become by itself, in bytes; 0 for no limit."""
        config = container.record.host.log_config
        given = config.config or {}
        if config.type == jsonfile.NAME:
            size = options.size(given, "max-size", 0)
            return max(256 << 20, _GUARD * size * options.count(given, "max-file", 1)) * bool(size)
        total = _limits(config).total * (1 if config.type == local.NAME else 2)
        return max(_LEAST_GUARD, _GUARD * total) * bool(total)

    async def begin(
        self, core: engine.Core, container: model.Container, *, found: bool = False
    ) -> None:
        """A container is about to start; with ``found`` it runs already, or has entries left.

        Raises ``Unavailable`` when its driver can't be opened and the mode is blocking.
        """
        config = container.record.host.log_config
        if config.type == NONE:
            return
        if self._tending is None or self._tending.done():
            self._tending = core.tasks.spawn(self._tend(core), "rotation of logs")
        if config.type == local.NAME:
            return
        await self._stop(container)
        given = config.config or {}
        try:
            driver = self._driver(config.type)
        except errdefs.InvalidParameter as error:
            if not found:
                raise
            log.error("the log of container %s goes nowhere: %s", container.short, error)
            return

        def report(what: str, details: dict[str, str]) -> None:
            emit.container(core, container, what, **details)

        made = forwarder.Forwarder(
            spool.Spool(core.home(container.id)),
            driver,
            info(core, container),
            _limits(config),
            report,
            keeps=_keeps(config),
        )
        if not found and not _lazy(given):
            await made.open()
        forwarding = _Forwarding(made, core.log_path(container.id))
        self._forwarding[container.id] = forwarding
        forwarding.task = core.tasks.spawn(
            self._run(core, container, forwarding), f"log of {container.short}"
        )

    async def _run(
        self, core: engine.Core, container: model.Container, forwarding: _Forwarding
    ) -> None:
        try:
            await forwarding.forwarder.run()
        finally:
            _unwatch(core, forwarding)
            if self._forwarding.get(container.id) is forwarding:
                del self._forwarding[container.id]

    def started(self, core: engine.Core, container: model.Container) -> None:
        """The container's monitor has made its log file."""
        if (forwarding := self._forwarding.get(container.id)) is not None:
            _watch(core, forwarding)

    def ended(self, container: model.Container) -> None:
        """The container has ended: the forwarder ends when it has delivered all."""
        if (forwarding := self._forwarding.get(container.id)) is not None:
            forwarding.forwarder.end()

    async def resume(self, core: engine.Core, container: model.Container) -> None:
        """A new engine has found the container: go on where the one before was."""
        config = container.record.host.log_config
        if not container.running and config.type in (NONE, local.NAME):
            return
        if not container.running and not spool.Spool(core.home(container.id)).segments():
            return
        await self.begin(core, container, found=True)
        self.started(core, container)
        if not container.running:
            self.ended(container)

    async def settle(self, container: model.Container, seconds: float = 2.0) -> None:
        """Let what is written by now get to the driver, for at most ``seconds``."""
        forwarding = self._forwarding.get(container.id)
        if forwarding is not None and not forwarding.forwarder.failing:
            await forwarding.forwarder.settle(seconds)

    def forwarder_of(self, container: model.Container) -> forwarder.Forwarder | None:
        """What forwards the container's log, if anything does now."""
        forwarding = self._forwarding.get(container.id)
        return None if forwarding is None else forwarding.forwarder

    async def drop(self, container: model.Container) -> None:
        """The container is about to be removed: deliver what there is, unless it takes long."""
        forwarding = self._forwarding.get(container.id)
        if forwarding is None:
            return
        forwarding.forwarder.end()
        if forwarding.task is not None and not forwarding.forwarder.failing:
            await asyncio.wait({forwarding.task}, timeout=_DRAIN)
        with contextlib.suppress(TimeoutError):  # its thread may still wait for a dead target
            await asyncio.wait_for(self._stop(container), _LEAVE)

    async def _stop(self, container: model.Container) -> None:
        forwarding = self._forwarding.pop(container.id, None)
        if forwarding is None or forwarding.task is None:
            return
        forwarding.task.cancel()
        await asyncio.wait({forwarding.task})
        await forwarding.forwarder.idle()

    async def _tend(self, core: engine.Core) -> None:
        """Rotate what has grown, and look after monitors that were not told to reopen."""
        while True:
            await asyncio.sleep(_PERIOD)
            due = await asyncio.to_thread(_due, _looked_after(core))
            for container_id in due:
                container = core.containers.find(container_id)
                if container is None or not container.running:
                    continue
                bundle = core.bundle(container_id)
                if (forwarding := self._forwarding.get(container_id)) is None:
                    store = spool.Spool(core.home(container_id))
                    limits = _limits(container.record.host.log_config)
                    await asyncio.to_thread(_rotate, store, limits, bundle)
                elif forwarding.tending is None or forwarding.tending.done():
                    forwarding.tending = core.tasks.spawn(
                        _tend_forwarding(core, forwarding, bundle), f"rotation {container_id[:12]}"
                    )


def _looked_after(core: engine.Core) -> list[tuple[str, str, int]]:
    return [
        (container.id, core.log_path(container.id), _limits(container.record.host.log_config).size)
        for container in core.containers
        if container.running and container.record.host.log_config.type != NONE
    ]


def _due(logs: list[tuple[str, str, int]]) -> list[str]:
    """Those whose live segment is too long, or missing."""
    found = []
    for container_id, path, size in logs:
        try:
            if size and os.stat(path).st_size > size:
                found.append(container_id)
        except FileNotFoundError:
            found.append(container_id)
    return found


def _reopen(bundle: str) -> None:
    with contextlib.suppress(OSError):  # its monitor has just ended
        conmon.reopen_log(bundle)


def _rotate(store: spool.Spool, limits: spool.Limits, bundle: str) -> None:
    store.rotate()
    _reopen(bundle)
    spool.prune(store, limits)
    if limits.compress:
        rotated = [segment for segment in store.segments() if not segment.live]
        for segment in rotated[:-1]:  # the newest may not be complete yet
            if not segment.compressed:
                store.compress(segment)


async def _tend_forwarding(core: engine.Core, forwarding: _Forwarding, bundle: str) -> None:
    await forwarding.forwarder.tend(lambda: _reopen(bundle))
    _unwatch(core, forwarding)
    for _ in range(100):
        if _watch(core, forwarding):
            break
        await asyncio.sleep(0.01)
    forwarding.forwarder.wake()


def _watch(core: engine.Core, forwarding: _Forwarding) -> bool:
    try:
        forwarding.handle = core.watcher.watch(
            forwarding.path, inotify.MODIFY, forwarding.forwarder.wake
        )
    except OSError:  # it looks by itself now and then
        return False
    return True


def _unwatch(core: engine.Core, forwarding: _Forwarding) -> None:
    handle, forwarding.handle = forwarding.handle, None
    if handle is not None:
        core.watcher.unwatch(handle)


def _reads(name: str) -> bool:
    return name in (local.NAME, jsonfile.NAME)


def _keeps(config: wire.LogConfig) -> bool:
    """Whether the spool stays as what ``logs`` reads."""
    given = config.config or {}
    return config.type != jsonfile.NAME and not options.truth(given, "cache-disabled", False)


def _lazy(given: Mapping[str, str]) -> bool:
    """Whether a target that does not answer may not keep the container from starting."""
    return given.get("mode") == "non-blocking" or any(
        options.truth(given, name, False) for name in ("fluentd-async", "fluentd-async-connect")
    )


def _limits(config: wire.LogConfig) -> spool.Limits:
    """How much of the spool is kept."""
    given = config.config or {}
    if config.type == local.NAME:
        return local.limits(given)
    if config.type == jsonfile.NAME:
        return _QUEUE
    return local.limits(given, "cache-") if _keeps(config) else _UNREAD


def info(core: engine.Core, container: model.Container) -> logger.Info:
    """What a driver is told of the container."""
    record = container.record
    return logger.Info(
        id=container.id,
        name=container.name,
        image_id=record.image_id,
        image=record.config.image,
        created=container.created,
        args=tuple(record.args),
        hostname=core.host.hostname,
        directory=core.home(container.id),
        options=record.host.log_config.config or {},
        labels=record.config.labels or {},
        env=record.config.env or [],
    )


def path(core: engine.Core, container: model.Container) -> str:
    """The LogPath of inspect: "" where the log is no file of this host."""
    kind = container.record.host.log_config.type
    if kind == jsonfile.NAME:
        return jsonfile.path_of(core.home(container.id), container.id)
    return core.log_path(container.id) if kind == local.NAME else ""


def readable(container: model.Container) -> bool:
    """Whether ``logs`` can show the log."""
    config = container.record.host.log_config
    return config.type == jsonfile.NAME or (config.type != NONE and _keeps(config))


def files(core: engine.Core, container: model.Container) -> tuple[list[str], bool]:
    """The files that ``logs`` reads, the oldest first; and whether they hold JSON."""
    home = core.home(container.id)
    if container.record.host.log_config.type == jsonfile.NAME:
        return jsonfile.files(home, container.id), True
    return [segment.path for segment in spool.Spool(home).segments()], False
