"""Mounts of a container: from ``-v``, ``--mount``, ``--volumes-from`` and the image's VOLUMEs to
:class:`~firkin.engine.containers.model.MountRecord`, and from those to what the runtime mounts.

Where several name the same destination, ``--mount`` and ``-v`` may not both do so; either wins over
``--volumes-from``, and that over the image.
"""

from __future__ import annotations

import os
import posixpath
from collections.abc import Sequence

from firkin import errdefs
from firkin.engine.containers import idmap, model
from firkin.oci import mounts as oci
from firkin.types import container, mount
from firkin.volumes import service as volumes

_PROPAGATIONS = ("private", "rprivate", "shared", "rshared", "slave", "rslave")
_RESTRICTIONS = {
    os.ST_RDONLY: "ro", os.ST_NOSUID: "nosuid", os.ST_NODEV: "nodev", os.ST_NOEXEC: "noexec",
    os.ST_NOATIME: "noatime", os.ST_NODIRATIME: "nodiratime",
}  # fmt: skip
_IGNORED_MODES = ("z", "Z", "consistent", "cached", "delegated")


_OVER_PROC = (
    "/proc/cpuinfo", "/proc/diskstats", "/proc/loadavg", "/proc/meminfo", "/proc/net/dev",
    "/proc/slabinfo", "/proc/stat", "/proc/swaps", "/proc/uptime",
    "/proc/sys/crypto/fips_enabled", "/proc/sys/kernel/ns_last_pid",
)  # fmt: skip
"""What runc lets be replaced in /proc, for lxcfs and checkpoints."""


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
        elif (word == "idmap" or word.startswith("idmap=")) and record.type == "bind":
            record.idmap = idmap.check(word.partition("=")[2])
        elif word not in _IGNORED_MODES:
            raise errdefs.InvalidParameter(
                f"invalid volume specification: {spec!r}: invalid mode: {word}"
            )
    if record.type == "bind":
        record.source = posixpath.normpath(source)
        record.recursive_ro = "" if record.rw else "try"
    else:
        record.name = source
        record.anonymous = not source
        record.driver = volume_driver
        if source and not volumes.NAME.fullmatch(source):
            raise errdefs.InvalidParameter(
                f"invalid volume specification: {spec!r}: {source!r} includes invalid characters "
                'for a local volume name, only "[a-zA-Z0-9][a-zA-Z0-9_.-]" are allowed. If you '
                "intended to pass a host directory, use absolute path"
            )
    return record


def parse_mount(asked: container.Mount) -> model.MountRecord:
    """A ``--mount`` argument. Raises ``InvalidParameter``."""
    spec = f"type={asked.type},target={asked.target}"
    if asked.type not in _PARSERS:
        raise errdefs.InvalidParameter(
            f"invalid mount config: mount type unknown: {asked.type!r}: use "
            + ", ".join(sorted(_PARSERS))
        )
    if not asked.target:
        raise _bad(asked, "field Target must not be empty")
    record = model.MountRecord(
        type=asked.type, destination=_destination(asked.target, spec), rw=not asked.read_only
    )
    for kind, options in (
        ("bind", asked.bind_options), ("volume", asked.volume_options),
        ("tmpfs", asked.tmpfs_options), ("image", asked.image_options),
    ):  # fmt: skip
        if options is not None and kind != asked.type:
            raise _bad(asked, f"field {kind.capitalize()}Options must not be specified")
    _PARSERS[asked.type](asked, record)
    return record


def _bad(asked: container.Mount, why: str) -> errdefs.InvalidParameter:
    return errdefs.InvalidParameter(f"invalid mount config for type {asked.type!r}: {why}")


def _parse_bind(asked: container.Mount, record: model.MountRecord) -> None:
    options = asked.bind_options or container.BindOptions()
    if not asked.source:
        raise _bad(asked, "field Source must not be empty")
    if not asked.source.startswith("/"):
        raise _bad(
            asked, f"source {asked.source!r}: invalid mount path: mount path must be absolute"
        )
    if options.propagation and options.propagation not in _PROPAGATIONS:
        raise _bad(asked, f"propagation {options.propagation!r}: use " + ", ".join(_PROPAGATIONS))
    record.source = posixpath.normpath(asked.source)
    record.propagation = options.propagation
    record.recursive = not options.non_recursive
    if options.id_map:
        record.idmap = idmap.check("" if options.id_map == "caller" else options.id_map)
    forced = options.read_only_force_recursive
    if forced or options.read_only_non_recursive:
        if record.rw:
            raise _bad(asked, "a recursive read-only mode needs ReadOnly")
        if forced and (options.non_recursive or options.read_only_non_recursive):
            raise _bad(asked, "ReadOnlyForceRecursive contradicts the other recursive options")
        if forced and record.propagation not in ("", "rprivate"):
            raise _bad(asked, "ReadOnlyForceRecursive needs the propagation rprivate")
    if not record.rw and record.recursive and not options.read_only_non_recursive:
        record.recursive_ro = "force" if forced else "try"
    if not os.path.lexists(record.source):
        if not options.create_mountpoint:
            raise _bad(asked, f"bind source path does not exist: {asked.source}")
        os.makedirs(record.source, exist_ok=True)


def _parse_volume(asked: container.Mount, record: model.MountRecord) -> None:
    options = asked.volume_options or container.VolumeOptions()
    if asked.source and not volumes.NAME.fullmatch(asked.source):
        raise _bad(asked, f"{asked.source!r} is not a volume name")
    if options.subpath and not asked.source:
        raise _bad(asked, "a subpath needs the name of a volume (Source)")
    record.subpath = _subpath(asked, options.subpath)
    record.name = asked.source
    record.anonymous = not asked.source
    record.copy_up = not options.no_copy and not record.subpath
    driver = options.driver_config
    record.driver = driver.name if driver else ""
    record.driver_options = (driver.options if driver else None) or {}
    record.labels = options.labels or {}


def _parse_tmpfs(asked: container.Mount, record: model.MountRecord) -> None:
    if asked.source:
        raise _bad(asked, "field Source must not be specified")
    options = asked.tmpfs_options or container.TmpfsOptions()
    record.source = "tmpfs"
    made = oci.tmpfs_mount(
        record.destination,
        size_bytes=options.size_bytes,
        mode=options.mode,
        options=options.options,
    )
    record.options = [word for word in made.options if word not in ("rw", "ro")]


def _parse_image(asked: container.Mount, record: model.MountRecord) -> None:
    if not asked.source:
        raise _bad(asked, "field Source must not be empty: name an image")
    options = asked.image_options or container.ImageOptions()
    record.name = asked.source
    record.subpath = _subpath(asked, options.subpath)
    record.rw = False


def _subpath(asked: container.Mount, path: str) -> str:
    if path.startswith("/") or ".." in path.split("/") or "\0" in path:
        raise _bad(asked, f"subpath {path!r} must be a relative path within the {asked.type}")
    return posixpath.normpath(path) if path else ""


_PARSERS = {
    "bind": _parse_bind,
    "image": _parse_image,
    "tmpfs": _parse_tmpfs,
    "volume": _parse_volume,
}


def _spare_proc(place: str, source: str = "") -> None:
    """Raise ``InvalidParameter`` for a mount that would hide the kernel's own files in /proc."""
    if not _within(place, "/proc") or place in _OVER_PROC or place == source == "/proc":
        return
    raise errdefs.InvalidParameter(
        f"cannot mount over {place}: it is inside /proc, where only {', '.join(_OVER_PROC)} may be "
        "replaced"
    )


def _propagation(record: model.MountRecord, own: Sequence[str]) -> str:
    """The propagation of a bind, which must not hold on to what the engine has mounted."""
    given = record.propagation
    near = [path for path in own if _within(path, record.source) or _within(record.source, path)]
    if not near:
        return given or "rprivate"
    if given not in ("", "rslave", "rshared"):
        raise errdefs.InvalidParameter(
            'invalid mount config: must use either propagation mode "rslave" or "rshared" when '
            f"mount source is within the daemon root, daemon root: {near[0]!r}, bind mount source: "
            f"{record.source!r}, propagation: {given!r}"
        )
    return given or "rslave"


def _within(path: str, directory: str) -> bool:
    return path == directory or path.startswith(directory.rstrip("/") + "/")


def plan(
    config: container.Config,
    host: container.HostConfig,
    inherited: list[model.MountRecord],
    own: Sequence[str] = (),
) -> list[model.MountRecord]:
    """All mounts of a new container, one for a destination; ``own`` are the engine's directories.

    Raises ``InvalidParameter`` when two are asked for at the same place.
    """
    found: dict[str, model.MountRecord] = {}

    def add(record: model.MountRecord) -> None:
        if record.destination in found:
            raise errdefs.InvalidParameter(f"Duplicate mount point: {record.destination}")
        if record.type == "bind":
            record.propagation = _propagation(record, own)
        found[record.destination] = record

    for spec in host.binds or []:
        add(parse_bind(spec, host.volume_driver))
    for asked in host.mounts or []:
        add(parse_mount(asked))
    for path in host.tmpfs or {}:
        destination = _destination(path, path)
        if destination in found:
            raise errdefs.InvalidParameter(f"Duplicate mount point: {destination}")
        _spare_proc(destination)
    last = {record.destination: record for record in inherited}
    for record in last.values():
        found.setdefault(record.destination, record)
    taken = {_destination(path, path) for path in host.tmpfs or {}}
    for path in config.volumes or {}:
        record = parse_bind(path, host.volume_driver)
        if record.destination not in taken:
            found.setdefault(record.destination, record)
    for record in found.values():
        _spare_proc(record.destination, record.source)
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
            words = mode.split(",")
            rw = old.rw and "ro" not in words
            records.append(
                model.MountRecord(
                    type=old.type,
                    destination=old.destination,
                    name=old.name,
                    source=old.source,
                    driver=old.driver,
                    mode=mode or old.mode,
                    rw=rw,
                    propagation=old.propagation,
                    recursive=old.recursive,
                    subpath=old.subpath,
                    recursive_ro=old.recursive_ro if rw == old.rw else "try",
                    idmap=old.idmap,
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
    propagation = record.propagation or "rprivate"
    if not record.recursive:  # runtimes take the r of rprivate for one of rbind too
        propagation = propagation.removeprefix("r")
    options = ["rbind" if record.recursive else "bind", propagation]
    restrictions = _restrictions(source)
    options.append("rw" if record.rw and "ro" not in restrictions else "ro")
    options += [word for word in restrictions if word != "ro"]
    # Nothing can be mounted below a file, and crun fails on it (it opens a directory).
    if record.recursive_ro and os.path.isdir(source):
        options.append("rro")
    return mount.Mount(
        destination=record.destination, type="bind", source=source, options=tuple(options)
    )


def _restrictions(source: str) -> list[str]:
    """What the mount that ``source`` is on does not allow, as mount(8) options.

    Some runtimes (crun) mount a bind anew with the options given and no others: a host's read-only
    or noexec file system would be neither in the container.
    """
    try:
        flags = os.statvfs(source).f_flag
    except OSError:  # the runtime will say what is wrong with it
        return []
    return [word for flag, word in _RESTRICTIONS.items() if flags & flag]


def point(record: model.MountRecord, source: str) -> container.MountPoint:
    """The mount as inspect and ps show it."""
    return container.MountPoint(
        type=record.type,
        name=record.name,
        source="" if record.type in ("tmpfs", "image") else source,
        destination=record.destination,
        driver=record.driver,
        mode=record.mode if record.type != "volume" or record.mode else "z",
        rw=record.rw,
        propagation=record.propagation,
    )
