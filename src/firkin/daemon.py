"""``firkind``: reads the configuration, builds the parts, serves until told to stop. No logic."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import functools
import gc
import hashlib
import logging
import os
import secrets
import signal
import sys

import uvloop

from firkin import errdefs, extensions
from firkin.api import authorization, listeners, secure, server
from firkin.builder import cache as buildcache
from firkin.builder import service as builds
from firkin.engine import (
    build,
    buildgc,
    flags,
    logbook,
    quota,
    registries,
    reload,
    restore,
    secretstore,
    stacks,
)
from firkin.engine import config as configuration
from firkin.engine import core as engine
from firkin.engine import host as hosts
from firkin.engine.containers import (
    health,
    logkeeper,
    registry,
    remove,
    start,
    stats,
    supervise,
    tidy,
)
from firkin.events import exchange
from firkin.images import service as images
from firkin.linux import cgroupdriver, descriptors, inotify, systemd, tasks
from firkin.logger import logger
from firkin.logger.drivers import fluentd, gelf, journald, jsonfile, syslog
from firkin.logger.drivers import local as local_log
from firkin.network import controller
from firkin.plugins import plugin
from firkin.runtime import conmon, oci_runtime
from firkin.store import containers as rows
from firkin.store import db
from firkin.volumes import local
from firkin.volumes import service as volumes

log = logging.getLogger("firkin")

DEFAULT_HOST = "unix:///run/firkin/firkin.sock"


def _lock(root: str) -> int:
    """Hold the data root for this process. Raises ``Conflict`` when another engine has it."""
    os.makedirs(root, mode=0o711, exist_ok=True)
    fd = os.open(os.path.join(root, "lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        owner = os.pread(fd, 32, 0).decode(errors="replace").strip()
        os.close(fd)
        raise errdefs.Conflict(
            f"another firkind (pid {owner or 'unknown'}) uses the data root {root}: stop it, or "
            "choose another --data-root"
        ) from None
    # In this order the file keeps its block: on a full disk there may be no other.
    with contextlib.suppress(OSError):
        os.ftruncate(fd, os.pwrite(fd, f"{os.getpid()}\n".encode(), 0))
    return fd


def _engine_id(root: str) -> str:
    path = os.path.join(root, "engine-id")
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip()
    except FileNotFoundError:
        value = secrets.token_hex(16)
        with open(path + ".new", "w", encoding="ascii") as file:
            file.write(value)
        os.rename(path + ".new", path)
        return value


def _runtimes(
    config: configuration.Config, host: hosts.Host, driver: str
) -> tuple[dict[str, conmon.Conmon], str]:
    """The OCI runtimes by name, and the name of the default.

    Raises ``InvalidParameter`` when the default is not among them, ``System`` when there is none.
    """
    found = {name: (path, ()) for name, path in host.runtimes.items()}
    for name, entry in config.runtimes.items():
        if not os.access(entry.path, os.X_OK):
            raise errdefs.InvalidParameter(
                f"runtime {name}: {entry.path} is not an executable file"
            )
        found[name] = (entry.path, tuple(entry.runtime_args))  # type: ignore[assignment]
    if not found:
        raise errdefs.System("no OCI runtime on this host: install the Debian package crun")
    default = config.default_runtime or next(
        name for name in ("crun", "runc", *found) if name in found
    )
    if default not in found:
        raise errdefs.InvalidParameter(
            f"--default-runtime {default}: unknown; there are {', '.join(sorted(found))}"
        )
    root = os.path.join(config.exec_root, "runtimes")
    made = {}
    for name, (path, args) in found.items():
        oci = oci_runtime.OCIRuntime(name, path, os.path.join(root, name), args)
        made[name] = conmon.Conmon(
            oci, conmon=host.conmon, systemd_cgroup=driver == cgroupdriver.SYSTEMD
        )
    return made, default


def _table(data_root: str) -> str:
    """The name of this engine's nftables table: one for each data root on a host."""
    if data_root == configuration.Config().data_root:
        return "firkin"
    return "firkin-" + hashlib.sha256(data_root.encode()).hexdigest()[:8]


async def _build(config: configuration.Config) -> engine.Core:
    host = hosts.probe()
    identity = _engine_id(config.data_root)
    for directory, mode in (
        (config.exec_root, 0o711),
        (os.path.join(config.exec_root, "containers"), 0o711),
        (os.path.join(config.data_root, "containers"), 0o711),
    ):
        os.makedirs(directory, mode=mode, exist_ok=True)
    database = db.Database.open(os.path.join(config.data_root, "firkin.db"))
    events = exchange.Exchange()
    driver = cgroupdriver.choose(config.cgroup_driver, host.cgroup, systemd=cgroupdriver.booted())
    cgroupdriver.check_parent(driver, config.cgroup_parent)
    runtimes, default = _runtimes(config, host, driver)
    cache = buildcache.Cache(database)
    await cache.load()

    found = plugin.Registry()
    keeper = secretstore.SecretStore(database, os.path.join(config.data_root, "secrets.key"))
    await keeper.load()
    storing = extensions.load(
        extensions.VOLUME_DRIVERS,
        data_root=config.data_root,
        exec_root=config.exec_root,
        reserved={"local"},
    )

    own_logs: list[logger.Driver] = [
        local_log.Local(),
        jsonfile.JSONFile(),
        syslog.Syslog(),
        fluentd.Fluentd(),
        gelf.Gelf(),
        journald.Journald(),
    ]
    logging_to = extensions.load(
        extensions.LOG_DRIVERS,
        data_root=config.data_root,
        exec_root=config.exec_root,
        reserved={"none", *(driver.name for driver in own_logs)},
    )

    networking = extensions.load(
        extensions.NETWORK_DRIVERS,
        data_root=config.data_root,
        exec_root=config.exec_root,
        reserved={"bridge", "host", "ipvlan", "macvlan", "none", "null", "overlay"},
    )

    def image_event(action: str, image_id: str, attributes: dict[str, str]) -> None:
        events.publish("image", action, image_id, attributes)

    core = engine.Core(
        config=config,
        host=host,
        engine_id=identity,
        db=database,
        events=events,
        images=await images.ImageService.open(
            config.data_root,
            database,
            driver=config.storage_driver,
            on_event=image_event,
            settings=registries.settings(config),
            keepers=[cache.roots],
        ),
        network=controller.Controller(
            database,
            exec_root=config.exec_root,
            bridge=config.bridges(identity),
            table=_table(config.data_root),
            firewall_rules=config.firewall_rules,
            relay=config.userland_proxy,
            options=config.default_network_opts,
            kinds={name: kind.network for name, kind in networking.drivers.items()},
        ),
        volumes=volumes.Service(
            database,
            [
                local.Local(os.path.join(config.data_root, "volumes")),
                *storing.drivers.values(),
            ],
            storing.broken,
            found,
        ),
        runtimes=runtimes,
        default_runtime=default,
        cgroup_driver=driver,
        containers=registry.Registry(rows.Containers(database)),
        watcher=inotify.Watcher(),
        tasks=tasks.Tasks("engine"),
        tidier=tidy.Tidier(),
        supervisor=supervise.Supervisor(start.locked, remove.quietly),
        health=health.Health(),
        stats=stats.Sampler(),
        logs=logkeeper.Logs(
            {**logging_to.drivers, **{driver.name: driver for driver in own_logs}},
            logging_to.broken,
        ),
        plugins=found,
        secrets=keeper,
    )
    core.builder = builds.Builder(
        cache,
        core.images,
        build.Executor(core),
        build.Images(core),
        root=config.data_root,
        exec_root=config.exec_root,
    )
    core.builder.rules = lambda: buildgc.rules(core.config.builder, core.config.data_root)
    return core


def _change_runtimes(core: engine.Core, config: configuration.Config) -> None:
    """Take over other runtimes. Raises as :func:`_runtimes`; then nothing has changed."""
    made, default = _runtimes(config, core.host, core.cgroup_driver)
    core.runtimes, core.default_runtime = made, default


async def serve(config: configuration.Config, words: list[str]) -> None:
    """Run the engine until SIGTERM or SIGINT. Raises ``FirkinError`` when it can't start.

    ``words`` is the command line, for reading the configuration again on SIGHUP.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    authorization.check(config)
    doors = listeners.listen(config.hosts or [DEFAULT_HOST], config.group, config.policy)
    encrypted = any(door.secure for door in doors)
    certificates = secure.Certificates(config) if encrypted else None
    core = await _build(config)
    await restore.restore(core)
    await core.builder.start()
    keeper = quota.Keeper(core)
    core.images.keeper = keeper
    core.tasks.spawn(keeper.watch(), "quota of the data root")
    api = server.Server(core, certificates)
    for door in doors:
        await api.listen(door)
        log.info("API listen on %s", door.name)
    if config.metrics_addr:
        await api.measure(config.metrics_addr)
    loop.add_signal_handler(signal.SIGUSR1, stacks.dump, config.exec_root)
    hooks: list[reload.Hook] = [functools.partial(_change_runtimes, core), api.reload]
    loop.add_signal_handler(signal.SIGHUP, functools.partial(reload.reload, core, words, hooks))
    gc.collect()
    gc.freeze()  # modules and what was restored stay: no collection needs to look at them again
    core.events.publish("daemon", "start", core.engine_id, {"name": core.host.hostname})
    systemd.notify("READY=1", f"MAINPID={os.getpid()}")
    await stopping.wait()
    systemd.notify("STOPPING=1")
    log.info("stopping; containers go on")
    core.events.close()
    await api.close()
    await core.builder.close()
    await core.tasks.close()
    await core.tidier.close()
    await core.sizes.close()
    await core.volumes.sizes.close()
    await core.containers.close()
    await core.network.close()
    await core.images.close()
    core.watcher.close()
    core.db.close()


def main(argv: list[str] | None = None) -> int:
    """The command ``firkind``; returns its exit status."""
    words = sys.argv[1:] if argv is None else argv
    try:
        config = flags.parse(words)
        if config is None:
            return 0
        logbook.open_log(config)
        if os.geteuid() != 0:
            raise errdefs.Forbidden("firkind needs root: run it with sudo")
        descriptors.take_all()
        lock = _lock(config.data_root)
        if config.pidfile:
            with open(config.pidfile, "w", encoding="ascii") as file:
                file.write(f"{os.getpid()}\n")
        try:
            uvloop.run(serve(config, words))
        finally:
            if config.pidfile:
                os.unlink(config.pidfile)
            os.close(lock)
    except errdefs.FirkinError as error:
        print(f"firkind: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
