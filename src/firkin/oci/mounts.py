"""The mounts of a container: what every container has, and what the user adds.

A user's mount takes the place of the default one at the same destination; one at /dev replaces all
defaults below it too. Mounts are ordered by depth, since a mount hides those made earlier below its
destination; among equals the given order stays.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping

from firkin import errdefs
from firkin.oci.tables import words
from firkin.types.mount import Mount

DEFAULT_SHM_SIZE = 64 << 20
INIT_DESTINATION = "/sbin/docker-init"

_TMPFS_DEFAULTS = ("noexec", "nosuid", "nodev")
_PROPAGATION = frozenset(
    words("private rprivate shared rshared slave rslave unbindable runbindable")
)
#: Flags of mount(8) that make sense for a tmpfs, by what they decide: the last one counts.
_TMPFS_FLAGS = {
    flag: group
    for group in (
        "ro rw", "exec noexec", "suid nosuid", "dev nodev", "sync async", "dirsync",
        "mand nomand", "atime noatime relatime norelatime strictatime nostrictatime",
        "diratime nodiratime",
    )
    for flag in group.split()
}  # fmt: skip
_TMPFS_VALUES = {
    "size": re.compile(r"[0-9]+[kKmMgGtT%]?", re.ASCII),
    "nr_blocks": re.compile(r"[0-9]+[kKmMgGtT]?", re.ASCII),
    "nr_inodes": re.compile(r"[0-9]+[kKmMgGtT]?", re.ASCII),
    "mode": re.compile(r"[0-7]{1,5}", re.ASCII),
    "uid": re.compile(r"[0-9]+", re.ASCII),
    "gid": re.compile(r"[0-9]+", re.ASCII),
    "mpol": re.compile(r"[a-z]+(=[a-z]+)?(:[0-9-]+)?", re.ASCII),
}
#: Default mounts that stay writable when the rootfs is read-only.
_ALWAYS_WRITABLE = frozenset({"/proc", "/dev", "/dev/pts", "/dev/shm", "/dev/mqueue"})


def destination(path: str) -> str:
    """A mount destination in its shortest form. Raises ``InvalidParameter``."""
    if not path.startswith("/") or "\0" in path:
        raise errdefs.InvalidParameter(
            f"invalid mount path: {path[:200]!r}: mount path must be absolute"
        )
    clean = "/" + posixpath.normpath(path).lstrip("/")
    if clean == "/":
        raise errdefs.InvalidParameter("invalid mount: destination can't be '/'")
    return clean


def tmpfs(target: str, options: str = "") -> Mount:
    """The mount of ``--tmpfs target:options``.

    ``options`` are comma-separated; rw, noexec, nosuid and nodev hold unless it says otherwise.
    """
    flags: dict[str, str] = {_TMPFS_FLAGS[flag]: flag for flag in ("rw", *_TMPFS_DEFAULTS)}
    values: dict[str, str] = {}
    for option in filter(None, options.split(",")):
        name, equals, value = option.partition("=")
        if not equals and option in _TMPFS_FLAGS:
            flags[_TMPFS_FLAGS[option]] = option
        elif not equals and option == "defaults":
            continue
        elif equals and name in _TMPFS_VALUES and _TMPFS_VALUES[name].fullmatch(value):
            values[name] = option
        else:
            raise errdefs.InvalidParameter(
                f'invalid tmpfs option ["{option[:80]}"] for {target[:200]}'
            )
    return Mount(
        destination=destination(target),
        type="tmpfs",
        source="tmpfs",
        options=(*flags.values(), *values.values()),
    )


def tmpfs_mount(
    target: str,
    *,
    read_only: bool = False,
    size_bytes: int = 0,
    mode: int = 0,
    options: list[list[str]] | None = None,
) -> Mount:
    """The mount of ``--mount type=tmpfs`` (API schema Mount.TmpfsOptions)."""
    words = ["ro"] if read_only else []
    if size_bytes < 0 or not 0 <= mode <= 0o7777:
        raise errdefs.InvalidParameter(
            f"invalid tmpfs for {target[:200]}: the size is at least 0, the mode 0 to 7777 (octal)"
        )
    if size_bytes:
        words.append(f"size={size_bytes}")
    if mode:
        words.append(f"mode={mode:o}")
    words += ["=".join(pair) for pair in options or () if 1 <= len(pair) <= 2]
    return tmpfs(target, ",".join(words))


def defaults(*, shm_size: int, shm: str = "private", privileged: bool = False) -> list[Mount]:
    """The mounts of every container.

    ``shm`` says what /dev/shm is: "private" a tmpfs of its own, "host" the host's, "none" nothing.
    """
    hardened = ("nosuid", "noexec", "nodev")
    read_only = () if privileged else ("ro",)
    result = [
        Mount(destination="/proc", type="proc", source="proc", options=hardened),
        Mount(
            destination="/dev",
            type="tmpfs",
            source="tmpfs",
            options=("nosuid", "strictatime", "mode=755", "size=65536k"),
        ),
        Mount(
            destination="/dev/pts",
            type="devpts",
            source="devpts",
            options=("nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"),
        ),
        Mount(destination="/sys", type="sysfs", source="sysfs", options=(*hardened, *read_only)),
        Mount(destination="/dev/mqueue", type="mqueue", source="mqueue", options=hardened),
    ]
    if shm == "private":
        size = shm_size or DEFAULT_SHM_SIZE
        options = (*hardened, "mode=1777", f"size={size}")
        result.append(Mount(destination="/dev/shm", type="tmpfs", source="shm", options=options))
    elif shm == "host":
        result.append(
            Mount(
                destination="/dev/shm",
                type="bind",
                source="/dev/shm",
                options=("rbind", "rprivate"),
            )
        )
    return result


def cgroup(*, writable: bool) -> Mount:
    """The cgroup mount; the type is the same for both versions, the runtime sees which it is."""
    access = "rw" if writable else "ro"
    return Mount(
        destination="/sys/fs/cgroup",
        type="cgroup",
        source="cgroup",
        options=("nosuid", "noexec", "nodev", "relatime", access),
    )


def init(path: str) -> Mount:
    """The bind of the host's init program ``path``."""
    return Mount(
        destination=INIT_DESTINATION, type="bind", source=path, options=("bind", "ro", "rprivate")
    )


def depth(path: str) -> int:
    """How many components ``path`` has."""
    return 0 if path == "/" else path.count("/")


def is_bind(mount: Mount) -> bool:
    return mount.type == "bind" or "bind" in mount.options or "rbind" in mount.options


def propagation(mount: Mount) -> str:
    """How mounts travel through a bind: the last option that says so, or ""."""
    words = [option for option in mount.options if option in _PROPAGATION]
    return words[-1] if words else ""


def _user_mount(mount: Mount) -> Mount:
    options = mount.options
    if is_bind(mount):
        if not mount.source.startswith("/"):
            raise errdefs.InvalidParameter(
                f"invalid mount source for {mount.destination[:200]}: {mount.source[:200]!r} is "
                "not an absolute path"
            )
        if not {"bind", "rbind"} & set(options):
            options = ("rbind", *options)
        if not propagation(mount):
            options = (*options, "rprivate")
    return Mount(
        destination=destination(mount.destination),
        type=mount.type,
        source=mount.source,
        options=options,
    )


def user_mounts(given: Iterable[Mount], tmpfs_options: Mapping[str, str] | None) -> list[Mount]:
    """The user's mounts, checked.

    ``tmpfs_options`` (HostConfig.Tmpfs) are added where ``given`` has no mount for them already.
    Raises ``InvalidParameter`` for two mounts at one destination.
    """
    result: dict[str, Mount] = {}
    for mount in map(_user_mount, given):
        if mount.destination in result:
            raise errdefs.InvalidParameter(f"Duplicate mount point: {mount.destination[:200]}")
        result[mount.destination] = mount
    for target, options in (tmpfs_options or {}).items():
        result.setdefault(destination(target), tmpfs(target, options))
    return list(result.values())


def merge(base: Iterable[Mount], user: list[Mount], *, readonly_rootfs: bool) -> list[Mount]:
    """Defaults and user mounts in the order in which to mount them."""
    taken = {mount.destination for mount in user}
    kept = []
    for mount in base:
        if mount.destination in taken:
            continue
        if any(mount.destination.startswith(f"{d}/") for d in taken & {"/dev", "/sys", "/proc"}):
            continue
        if readonly_rootfs and mount.destination not in _ALWAYS_WRITABLE:
            words = tuple(option for option in mount.options if option not in ("rw", "ro"))
            mount = Mount(
                destination=mount.destination,
                type=mount.type,
                source=mount.source,
                options=(*words, "ro"),
            )
        kept.append(mount)
    return sorted([*kept, *user], key=lambda mount: depth(mount.destination))


def rootfs_propagation(user: Iterable[Mount]) -> str:
    """``linux.rootfsPropagation`` that the binds need: "shared", "rslave" or "" for the default."""
    words = {propagation(mount) for mount in user}
    if words & {"shared", "rshared"}:
        return "shared"
    if words & {"slave", "rslave"}:
        return "rslave"
    return ""
