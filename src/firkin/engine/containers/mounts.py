"""Mounts of a container: from ``-v``, ``--mount``, ``--volumes-from`` and the image's VOLUMEs to
:class:`~firkin.engine.containers.model.MountRecord`, and from those to what the runtime mounts.

Where several name the same destination, ``--mount`` and ``-v`` may not both do so; either wins over
``--volumes-from``, and that over the image.
"""

from __future__ import annotations

import os
import posixpath

from firkin import errdefs
from firkin.engine.containers import model
from firkin.types import container, mount
from firkin.volumes import service as volumes

_PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
_IGNORED_MODES = ("z", "Z", "consistent", "cached", "delegated")


def _destination(text: str, spec: str) -> str:
    if not text.startswith("/"):
        raise errdefs.InvalidParameter(
            f"invalid volume specification: {spec!r}: invalid mount path: {text!r} mount path must "
            "be absolute"
        )
    clean = posixpath.normpath(text)
    clean = "/" + clean.lstrip("/")
    if clean == "/":
        raise errdefs.InvalidParameter(
            f"invalid volume specification: {spec!r}: destination can't be '/'"
        )
    return clean


def parse_bind(spec: str, volume_driver: str = "") -> model.MountRecord:
    """A ``-v`` argument: ``[SOURCE:]DESTINATION[:MODE[,MODE...]]``. Raises ``InvalidParameter``."""
    parts = spec.split(":")
    if len(parts) == 1:
        parts = ["", parts[0]]
    if len(parts) > 3 or not parts[1] or "\0" in spec:
        raise errdefs.InvalidParameter(
            f"invalid volume specification: {spec!r}: use [SOURCE:]DESTINATION[:OPTIONS]"
        )
    source, destination = parts[0], _destination(parts[1], spec)
    record = model.MountRecord(
        type="bind" if source.startswith("/") else "volume", destination=destination
    )
    record.mode = parts[2] if len(parts) == 3 else ""
    record.copy_up = record.type == "volume"
    for word in filter(None, record.mode.split(",")):
        if word in ("ro", "rw"):
            record.rw = word == "rw"
        elif word in _PROPAGATIONS and record.type == "bind":
            record.propagation = word
        elif word == "nocopy" and record.type == "volume":
            record.copy_up = False
        elif word not in _IGNORED_MODES:
            raise errdefs.InvalidParameter(
                f"invalid volume specification: {spec!r}: invalid mode: {word}"
            )
    if record.type == "bind":
        record.source = posixpath.normpath(source)
        record.propagation = record.propagation or "rprivate"
    else:
        record.name = source
        record.anonymous = not source
        record.driver = volume_driver or "local"
        if source and not volumes.NAME.fullmatch(source):
            raise errdefs.InvalidParameter(
                f"invalid volume specification: {spec!r}: {source!r} includes invalid characters "
                'for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you '
                "intended to pass a host directory, use absolute path"
            )
    return record


def parse_mount(asked: container.Mount) -> model.MountRecord:
    """A ``--mount`` argument. Raises ``InvalidParameter`` or ``NotImplemented``."""
    spec = f"type={asked.type},target={asked.target}"
    if not asked.target:
        raise errdefs.InvalidParameter(
            f"invalid mount config for type {asked.type!r}: field Target must not be empty"
        )
    record = model.MountRecord(
        type=asked.type, destination=_destination(asked.target, spec), rw=not asked.read_only
    )
    if asked.type == "bind":
        options = asked.bind_options or container.BindOptions()
        if not asked.source.startswith("/"):
            raise errdefs.InvalidParameter(
                f"invalid mount config for type 'bind': source {asked.source!r}: invalid mount "
                "path: mount path must be absolute"
            )
        if options.propagation and options.propagation not in _PROPAGATIONS:
            raise errdefs.InvalidParameter(
                f"invalid mount config for type 'bind': propagation {options.propagation!r}: use "
                + ", ".join(_PROPAGATIONS)
            )
        record.source = posixpath.normpath(asked.source)
        record.propagation = options.propagation or "rprivate"
        record.recursive = not options.non_recursive
        if not os.path.lexists(record.source):
            if not options.create_mountpoint:
                raise errdefs.InvalidParameter(
                    f"invalid mount config for type {'bind'!r}: bind source path does not exist: "
                    f"{asked.source}"
                )
            os.makedirs(record.source, exist_ok=True)
    elif asked.type == "volume":
        volume_options = asked.volume_options or container.VolumeOptions()
        if volume_options.subpath:
            raise errdefs.NotImplemented(
                f"mount {asked.target}: volume-subpath is not supported by this version"
            )
        if asked.source and not volumes.NAME.fullmatch(asked.source):
            raise errdefs.InvalidParameter(
                f"invalid mount config for type 'volume': {asked.source!r} is not a volume name"
            )
        record.name = asked.source
        record.anonymous = not asked.source
        record.copy_up = not volume_options.no_copy
        driver = volume_options.driver_config
        record.driver = (driver.name if driver else "") or "local"
        if driver and driver.options:
            raise errdefs.NotImplemented(
                f"mount {asked.target}: volume-opt is not supported by this version"
            )
    elif asked.type == "tmpfs":
        if asked.source:
            raise errdefs.InvalidParameter(
                "invalid mount config for type 'tmpfs': field Source must not be specified"
            )
        record.source = "tmpfs"
        tmpfs = asked.tmpfs_options or container.TmpfsOptions()
        record.options = ["nosuid", "nodev", "noexec"]
        if tmpfs.size_bytes:
            record.options.append(f"size={tmpfs.size_bytes}")
        if tmpfs.mode:
            record.options.append(f"mode={tmpfs.mode:o}")
        for option in tmpfs.options or []:
            if option == ["exec"]:
                record.options.remove("noexec")
            elif option != ["noexec"]:
                raise errdefs.InvalidParameter(
                    f"invalid mount config for type 'tmpfs': unknown option {'='.join(option)}"
                )
    else:
        raise errdefs.NotImplemented(
            f"mount type {asked.type!r} is not supported by this version: use bind, volume or tmpfs"
        )
    return record


def plan(
    config: container.Config,
    host: container.HostConfig,
    inherited: list[model.MountRecord],
) -> list[model.MountRecord]:
    """All mounts of a new container, one for a destination.

    Raises ``InvalidParameter`` when two are asked for at the same place.
    """
    found: dict[str, model.MountRecord] = {}

    def add(record: model.MountRecord) -> None:
        if record.destination in found:
            raise errdefs.InvalidParameter(f"Duplicate mount point: {record.destination}")
        found[record.destination] = record

    for spec in host.binds or []:
        add(parse_bind(spec, host.volume_driver))
    for asked in host.mounts or []:
        add(parse_mount(asked))
    for path in host.tmpfs or {}:
        destination = _destination(path, path)
        if destination in found:
            raise errdefs.InvalidParameter(f"Duplicate mount point: {destination}")
    for record in inherited:
        found.setdefault(record.destination, record)
    taken = {_destination(path, path) for path in host.tmpfs or {}}
    for path in config.volumes or {}:
        record = parse_bind(path, host.volume_driver)
        if record.destination not in taken:
            found.setdefault(record.destination, record)
    return sorted(found.values(), key=lambda m: (m.destination.count("/"), m.destination))


def inherited(
    containers: list[tuple[model.Container, str]],
) -> list[model.MountRecord]:
    """What ``--volumes-from`` brings: each container's binds and volumes, in its mode or given."""
    records = []
    for source, mode in containers:
        for old in source.record.mounts:
            if old.type not in ("bind", "volume"):
                continue
            records.append(
                model.MountRecord(
                    type=old.type,
                    destination=old.destination,
                    name=old.name,
                    source=old.source,
                    driver=old.driver,
                    mode=mode or old.mode,
                    rw=old.rw if not mode else mode != "ro",
                    propagation=old.propagation,
                    recursive=old.recursive,
                )
            )
    return records


def prepare_bind(record: model.MountRecord) -> None:
    """Make the source of a ``-v`` bind if it is missing, as a directory.

    Raises ``InvalidParameter`` when that can't be done.
    """
    if os.path.lexists(record.source):
        return
    try:
        os.makedirs(record.source, exist_ok=True)
    except OSError as error:
        raise errdefs.InvalidParameter(
            f"error while creating mount source path {record.source!r}: {error.strerror}"
        ) from error


def to_runtime(record: model.MountRecord, source: str) -> mount.Mount:
    """The runtime-spec mount for a record whose host path is ``source``."""
    if record.type == "tmpfs":
        return mount.Mount(
            destination=record.destination,
            type="tmpfs",
            source="tmpfs",
            options=(*record.options, "rw" if record.rw else "ro"),
        )
    options = ["rbind" if record.recursive else "bind", record.propagation or "rprivate"]
    options.append("rw" if record.rw else "ro")
    return mount.Mount(
        destination=record.destination, type="bind", source=source, options=tuple(options)
    )


def point(record: model.MountRecord, source: str) -> container.MountPoint:
    """The mount as inspect and ps show it."""
    return container.MountPoint(
        type=record.type,
        name=record.name,
        source="" if record.type == "tmpfs" else source,
        destination=record.destination,
        driver=record.driver,
        mode=record.mode if record.type != "volume" or record.mode else "z",
        rw=record.rw,
        propagation=record.propagation,
    )
