"""ContainerCreate: everything is decided and checked here, so that start only has to do it."""

from __future__ import annotations

import asyncio
import contextlib
import os
import posixpath
import secrets
import shutil
import time

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine import rootfs as rootfs_of
from firkin.engine.containers import (
    cautions,
    emit,
    healthcheck,
    limits,
    links,
    model,
    mounts,
    netmode,
    networking,
    registry,
    secretfiles,
    specs,
)
from firkin.linux import failures
from firkin.linux import mount as kernel
from firkin.oci import process, resources, security
from firkin.types import container, image
from firkin.volumes import copyup


async def create(
    core: engine.Core, name: str, request: container.CreateRequest, *, platform: str = ""
) -> container.CreateResponse:
    """Create a container and return its id and warnings.

    Raises ``NotFound`` (image), ``Conflict`` (name), ``InvalidParameter``, ``NotImplemented``.
    Whatever it raises, nothing is left.
    """
    if not request.image:
        raise errdefs.InvalidParameter(
            "config cannot be empty in order to create a container: no image given"
        )
    bare = registry.check_name(name) if name else ""
    found = core.images.resolve(request.image, platform)
    try:
        created, warnings = await _checked(core, request, found, bare)
    except errdefs.NotFound as error:
        # ContainerCreate's 404 tells clients to pull the image.
        raise errdefs.InvalidParameter(str(error)) from error
    emit.container(core, created, "create")
    warnings += cautions.cautions(created.record.host, found, platform)
    return container.CreateResponse(id=created.id, warnings=warnings)


async def _checked(
    core: engine.Core, request: container.CreateRequest, found: image.Image, name: str
) -> tuple[model.Container, list[str]]:
    host = request.host_config
    published = host.port_bindings or host.publish_all_ports
    if request.exposed_ports and not published and netmode.shared_with(host.network_mode):
        raise errdefs.InvalidParameter(
            "conflicting options: port exposing and the container type network mode: expose the "
            "ports with the container whose network it is"
        )
    for what, mode in (
        ("network", host.network_mode), ("IPC", host.ipc_mode), ("PID", host.pid_mode),
    ):  # fmt: skip
        if name and mode == f"container:{name}":
            raise errdefs.InvalidParameter(f"cannot join own {what} namespace: {mode}")
    config = merge(_config_of(request), found.config.config)
    warnings = check(core, config, host)
    args = _arguments(config, request.image)
    inherited = mounts.inherited(_volumes_from(core, host))
    secretfiles.plan(core, host)
    record = model.Record(
        image_id=found.id,
        config=config,
        host=host,
        args=args,
        networks=networking.plan(core, config, host, _asked(request)),
        mounts=mounts.plan(config, host, inherited, (core.config.data_root, core.config.exec_root)),
        runtime=host.runtime,
    )
    async with contextlib.AsyncExitStack() as undo:
        undo.enter_context(failures.told(f"create container {name}".rstrip()))
        created = await _build(core, name, found, record, undo)
        undo.pop_all()
    return created, warnings


async def _build(
    core: engine.Core,
    name: str,
    found: image.Image,
    record: model.Record,
    undo: contextlib.AsyncExitStack,
) -> model.Container:
    container_id = secrets.token_hex(32)
    while core.containers.has_id(container_id) or container_id[:12].isdigit():
        container_id = secrets.token_hex(32)
    name = name or _random_name(core, container_id)
    core.containers.reserve_name(name, container_id)
    undo.callback(core.containers.release_name, name, container_id)
    if not record.config.hostname and not _shares_names(record.host):
        own = record.host.network_mode != "host"
        record.config.hostname = container_id[:12] if own else core.host.hostname
    for planned in record.mounts:
        if planned.type != "volume":
            if planned.type == "bind" and planned.shown:
                mounts.prepare_bind(planned)
            if planned.type == "image":
                planned.source = core.images.resolve(planned.name).id
            continue
        volume, new = await core.volumes.create(
            planned.name,
            planned.driver,
            planned.driver_options,
            planned.labels,
            user=container_id,
        )
        planned.name = volume.name
        planned.driver = volume.driver
        if new:
            undo.push_async_callback(_take_back, core, volume.name)
        undo.callback(core.volumes.forget_user, container_id)
    home = core.home(container_id)
    os.makedirs(home, mode=0o700)
    undo.callback(shutil.rmtree, home, ignore_errors=True)
    await core.images.create_rootfs(found, container_id)
    undo.push_async_callback(core.images.remove_rootfs, container_id)
    await _copy_up(core, container_id, record)
    created = model.Container(container_id, name, time.time_ns(), record, model.State())
    await core.containers.add(created, [m.name for m in record.mounts if m.type == "volume"])
    return created


async def _take_back(core: engine.Core, volume: str) -> None:
    with contextlib.suppress(errdefs.Conflict):  # another container has come to use it
        await core.volumes.remove(volume, force=True)


async def _copy_up(core: engine.Core, container_id: str, record: model.Record) -> None:
    wanted = [m for m in record.mounts if m.type == "volume" and m.copy_up]
    if not wanted:
        return
    rootfs = os.path.join(core.home(container_id), "copy-up")
    os.mkdir(rootfs, mode=0o700)
    await rootfs_of.mount(core, container_id, rootfs)
    try:
        for planned in wanted:
            user = f"{container_id}/copy-up"
            target = await core.volumes.mount(planned.name, user)
            try:
                await asyncio.to_thread(copyup.copy_up, rootfs, planned.destination, target)
            finally:
                await core.volumes.unmount(planned.name, user)
    finally:
        await asyncio.to_thread(kernel.unmount, rootfs)
        os.rmdir(rootfs)


def _config_of(request: container.CreateRequest) -> container.Config:
    return container.Config(
        **{field: getattr(request, field) for field in container.Config.__struct_fields__}
    )


def merge(config: container.Config, defaults: image.RunConfig) -> container.Config:
    """The request's config with the image's for what it leaves open.

    Environment and labels are merged name by name; an entrypoint given by the request also drops
    the image's command.
    """
    names = {entry.partition("=")[0] for entry in config.env or []}
    config.env = [
        *(entry for entry in defaults.env or [] if entry.partition("=")[0] not in names),
        *(config.env or []),  # one without "=" takes the name away from the process
    ]
    config.labels = {**(defaults.labels or {}), **(config.labels or {})}
    config.cmd = [config.cmd] if isinstance(config.cmd, str) else config.cmd
    if isinstance(config.entrypoint, str):
        config.entrypoint = [config.entrypoint]
    if not config.entrypoint:
        reset = config.entrypoint == [""]
        config.entrypoint = None if reset else defaults.entrypoint
        if not config.cmd and not reset:
            config.cmd = defaults.cmd
    elif config.entrypoint == [""]:
        config.entrypoint = None
    config.user = config.user or defaults.user
    config.working_dir = config.working_dir or defaults.working_dir
    exposed = {**(defaults.exposed_ports or {}), **(config.exposed_ports or {})}
    config.exposed_ports = {
        port if "/" in port else f"{port}/tcp": value for port, value in exposed.items()
    } or None
    config.volumes = {**(defaults.volumes or {}), **(config.volumes or {})} or None
    config.stop_signal = config.stop_signal or defaults.stop_signal or None
    config.shell = config.shell or defaults.shell
    config.healthcheck = healthcheck.merge(config.healthcheck, defaults.healthcheck)
    if config.working_dir and not config.working_dir.startswith("/"):
        raise errdefs.InvalidParameter(
            f"the working directory {config.working_dir!r} is invalid, it needs to be an absolute "
            "path"
        )
    if config.working_dir:
        config.working_dir = "/" + posixpath.normpath(config.working_dir).lstrip("/")
    return config


def _arguments(config: container.Config, image_name: str) -> list[str]:
    args = [*(config.entrypoint or []), *(config.cmd or [])]
    if not args or not args[0]:
        raise errdefs.InvalidParameter(
            f"no command specified: image {image_name} has none of its own, so name one"
        )
    if any("\0" in arg for arg in args):
        raise errdefs.InvalidParameter("an argument of the command contains a NUL byte")
    return args


def check(core: engine.Core, config: container.Config, host: container.HostConfig) -> list[str]:
    """Check a configuration against the host and fill in the defaults; returns warnings.

    Raises ``InvalidParameter`` or ``NotImplemented``.
    """
    limits.refuse_unsupported(config, host)
    host.network_mode = netmode.network_of(host.network_mode, core.config.bridge)
    netmode.check(config, host)
    links.check(core, host)
    limits.fill_defaults(core, host)
    limits.check_modes(core, host)
    healthcheck.validate(config.healthcheck)
    process.merge_env([], config.env)
    if "" in (host.annotations or {}):
        raise errdefs.InvalidParameter(
            "invalid Annotations: the empty string is not permitted as an annotation key"
        )
    if config.stop_signal:
        limits.signal_number(config.stop_signal)
    warnings = resources.validate(
        host,
        cgroup_v2=core.host.cgroup.version == 2,
        host_memory=core.host.memory,
        host_cpus=core.host.cpus,
        able=specs.able(core.host.cgroup),
    )
    security.parse(host.security_opt, apparmor_available=core.host.apparmor)
    return warnings


def _volumes_from(
    core: engine.Core, host: container.HostConfig
) -> list[tuple[model.Container, str]]:
    found = []
    for spec in host.volumes_from or []:
        name, _, mode = spec.partition(":")
        if not set(filter(None, mode.split(","))) <= {"ro", "rw", "z", "Z"}:
            raise errdefs.InvalidParameter(
                f"invalid --volumes-from {spec!r}: unknown mode {mode!r}"
            )
        found.append((core.containers.get(name), mode))
    return found


def _asked(request: container.CreateRequest) -> dict[str, container.EndpointSettings]:
    asked = (request.networking_config or container.NetworkingConfig()).endpoints_config or {}
    return {name: settings or container.EndpointSettings() for name, settings in asked.items()}


def _shares_names(host: container.HostConfig) -> bool:
    return bool(netmode.shared_with(host.network_mode)) or host.uts_mode == "host"


def _random_name(core: engine.Core, container_id: str) -> str:
    for _ in range(64):
        name = f"{secrets.choice(_ADJECTIVES)}_{secrets.choice(_COOPERAGE)}"
        if not core.containers.name_taken(name):
            return name
    return f"{secrets.choice(_ADJECTIVES)}_{container_id[:12]}"


_ADJECTIVES = (
    "amber", "ample", "bold", "brave", "bright", "brisk", "calm", "clear", "clever", "cosy",
    "crisp", "dapper", "eager", "early", "easy", "fair", "fine", "fond", "frosty", "gentle",
    "glad", "golden", "grand", "happy", "hardy", "honest", "jolly", "keen", "kind", "light",
    "lively", "lucky", "mellow", "merry", "mild", "nimble", "noble", "oaken", "polite", "proud",
    "quick", "quiet", "ready", "ripe", "robust", "round", "sharp", "silent", "smooth", "snug",
    "sober", "solid", "sound", "spry", "steady", "stout", "sunny", "swift", "tidy", "trusty",
    "vivid", "warm", "wise", "witty",
)  # fmt: skip
_COOPERAGE = (
    "adze", "anker", "auger", "barrel", "bilge", "bung", "butt", "cask", "chime", "cooper",
    "croze", "cutter", "drum", "firkin", "flagon", "funnel", "hogshead", "hoop", "jigger", "keeler",
    "keg", "kilderkin", "mallet", "noggin", "octave", "piggin", "pin", "pipe", "plane", "puncheon",
    "quarter", "rivet", "rundlet", "scuttle", "shaker", "shaver", "spigot", "spile", "stave",
    "stillage", "tankard", "tap", "tierce", "trestle", "trough", "truss", "tub", "tun", "vat",
)  # fmt: skip
