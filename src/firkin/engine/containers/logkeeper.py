"""The logs of all containers: choosing drivers, forwarding, rotation.

See ``firkin.logger`` for how a line gets from a container to its target. What is here ties that to
the lives of containers: a forwarder begins before the process, goes on after its end until all is
delivered, and is taken up again by the next engine.
"""

from __future__ import annotations

import asyncio
import contextlib
import functools
import logging
import os
from collections.abc import Callable, Iterator, Mapping

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
_BUSY = 0.2  # the same while there are some that grow fast
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
        self._followers: dict[str, set[engine.Follower]] = {}
        self._ended: set[str] = set()
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
        self._tend_from_now_on(core)
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

    def _tend_from_now_on(self, core: engine.Core) -> None:
        if self._tending is None or self._tending.done():
            self._tending = core.tasks.spawn(self._tend(core), "rotation of logs")

    @contextlib.contextmanager
    def following(self, container: model.Container, files: engine.Follower) -> Iterator[None]:
        """While somebody follows the log, segments are not removed before ``files`` has them."""
        followers = self._followers.setdefault(container.id, set())
        followers.add(files)
        try:
            yield
        finally:
            followers.discard(files)
            if not followers and self._followers.get(container.id) is followers:
                del self._followers[container.id]

    def _hold(self, container_id: str) -> None:
        """Let those who follow a log have what there is now. Blocks."""
        for files in list(self._followers.get(container_id, ())):
            files.extend()

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
        spool.Spool(core.home(container.id)).link()
        if (forwarding := self._forwarding.get(container.id)) is not None:
            _watch(core, forwarding)

    def ended(self, container: model.Container) -> None:
        """The container has ended: the forwarder ends when it has delivered all."""
        self._ended.add(container.id)
        if (forwarding := self._forwarding.get(container.id)) is not None:
            forwarding.forwarder.end()

    async def resume(self, core: engine.Core, container: model.Container) -> None:
        """A new engine has found the container: go on where the one before was."""
        config = container.record.host.log_config
        if not container.running and config.type in (NONE, local.NAME):
            self._ended.add(container.id)
            self._tend_from_now_on(core)
            return
        if not container.running and not spool.Spool(core.home(container.id)).segments():
            return
        await self.begin(core, container, found=True)
        self.started(core, container)
        if not container.running:
            self.ended(container)

    async def settle(self, container: model.Container, seconds: float = 2.0) -> bool:
        """Let what is written by now get to the driver, for at most ``seconds``; tells whether it
        has, or will not."""
        forwarding = self._forwarding.get(container.id)
        if forwarding is None or forwarding.forwarder.failing:
            return True
        return await forwarding.forwarder.settle(seconds)

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
        due: list[str] = []
        while True:
            await asyncio.sleep(_BUSY if due else _PERIOD)
            due = await asyncio.to_thread(_due, self._looked_after(core))
            for container_id in due:
                container = core.containers.find(container_id)
                if container is None:
                    continue
                bundle = core.bundle(container_id) if container.running else ""
                hold = functools.partial(self._hold, container_id)
                if (forwarding := self._forwarding.get(container_id)) is None:
                    store = spool.Spool(core.home(container_id))
                    limits = _limits(container.record.host.log_config)
                    await asyncio.to_thread(_rotate, store, limits, bundle, hold)
                elif bundle and (forwarding.tending is None or forwarding.tending.done()):
                    forwarding.tending = core.tasks.spawn(
                        _tend_forwarding(core, forwarding, bundle, hold),
                        f"rotation {container_id[:12]}",
                    )

    def _looked_after(self, core: engine.Core) -> list[tuple[str, str, int]]:
        """Id, live segment and its limit of the logs that grow, or have just ended."""
        ended, self._ended = self._ended, set()
        return [
            (one.id, core.log_path(one.id), _limits(one.record.host.log_config).size)
            for one in core.containers
            if (one.running or one.id in ended) and one.record.host.log_config.type != NONE
        ]


def _due(logs: list[tuple[str, str, int]]) -> list[str]:
    """Those whose live segment is too long, has no second name, or is missing."""
    found = []
    for container_id, path, size in logs:
        try:
            status = os.stat(path)
            if size and (status.st_size > size or status.st_nlink < 2):
                found.append(container_id)
        except FileNotFoundError:
            found.append(container_id)
    return found


def _reopen(bundle: str) -> None:
    with contextlib.suppress(OSError):  # its monitor has just ended
        conmon.reopen_log(bundle)


def _rotate(
    store: spool.Spool, limits: spool.Limits, bundle: str, hold: Callable[[], None]
) -> None:
    """See to the live segment; ``bundle`` is its monitor's, "" when that is gone. Blocks."""
    live = store.segments()[-1:]
    if live and live[0].live and live[0].size <= limits.size:
        store.link()
    elif not bundle:
        store.rotate()
    elif not store.renew(functools.partial(_reopen, bundle)):
        return
    hold()
    spool.prune(store, limits)
    if limits.compress:
        rotated = [segment for segment in store.segments() if not segment.live]
        for segment in rotated[:-1]:  # the newest may not be complete yet
            if not segment.compressed:
                store.compress(segment)


async def _tend_forwarding(
    core: engine.Core, forwarding: _Forwarding, bundle: str, hold: Callable[[], None]
) -> None:
    await forwarding.forwarder.tend(lambda: _reopen(bundle), hold)
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


def files(
    core: engine.Core, container: model.Container
) -> tuple[str, Callable[[], list[str]], bool]:
    """The file that grows of those that ``logs`` reads, what lists them all, the oldest first, and
    whether they hold JSON."""
    home = core.home(container.id)
    if container.record.host.log_config.type == jsonfile.NAME:
        newest = jsonfile.path_of(home, container.id)
        return newest, functools.partial(jsonfile.files, home, container.id), True
    store = spool.Spool(home)
    return store.live_path, lambda: [segment.path for segment in store.segments()], False
