"""The runtime-spec document of a container: ``build``.

The input is what the API asks (Config, HostConfig) plus what the engine has resolved: command,
environment, user, rootfs, mounts, namespaces, and facts about the host. The output is config.json
of runtime-spec 1.0.2, for crun 1.8 and runc 1.1.
"""

from __future__ import annotations

import dataclasses
from typing import Any

from firkin import errdefs
from firkin.oci import (
    capabilities,
    devices,
    mounts,
    process,
    resources,
    seccomp,
    security,
    sysctls,
)
from firkin.oci import user as users
from firkin.types import container
from firkin.types.mount import Mount

OCI_VERSION = "1.0.2"
_MAX_HOSTNAME = 64


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Namespaces:
    """Which namespaces the container has.

    A path joins the namespace there. ``network``: "" for a new, empty one, or "host".
    ``ipc``: "private", "shareable" (private, others may join: the engine binds /dev/shm), "none"
    (private, without /dev/shm), "host" or a path. ``pid``: "private", "host" or a path. ``uts``:
    "private" or "host". ``cgroup``: "private" or "host"; Docker's default is host on cgroup v1 and
    private on v2. The mount namespace is always new.
    """

    network: str = ""
    ipc: str = "private"
    pid: str = "private"
    uts: str = "private"
    cgroup: str = "private"


def _no_devices(path: str) -> list[devices.Device]:
    raise FileNotFoundError(2, "no such file or directory", path)


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class SpecInput:
    """Everything a spec follows from.

    ``config`` has the image's defaults merged in; ``args``, ``env``, ``user``, ``cwd`` and
    ``hostname`` are final. ``mounts`` are the user's binds, volumes and tmpfs and the engine's own
    binds; HostConfig.Tmpfs entries that are not among them are added. ``init_path`` is the host's
    tini when the container shall have an init.
    ``host_devices`` are the host's device nodes, for a privileged container; ``lookup_device`` asks
    about one path. ``default_seccomp`` applies when the user says nothing: "builtin", "unconfined"
    or the text of a profile. ``kernel_caps`` are the capabilities that can be given
    (``capabilities.from_mask`` of the engine's own CapBnd), ``kernel`` is the version of the
    kernel, ``arch`` the machine. ``ulimits`` stands for HostConfig.Ulimits; ``files`` is how many
    files may be open, soft and hard, where no ulimit says so.
    """

    container_id: str
    config: container.Config
    host: container.HostConfig
    args: list[str]
    env: list[str]
    user: users.User
    rootfs: str
    cwd: str = "/"
    hostname: str = ""
    mounts: tuple[Mount, ...] = ()
    namespaces: Namespaces = Namespaces()
    cgroups_path: str = ""
    cgroup_v2: bool = True
    init_path: str = ""
    host_devices: tuple[devices.Device, ...] = ()
    lookup_device: devices.Lookup = _no_devices
    default_seccomp: str = security.BUILTIN
    kernel_caps: frozenset[str] = frozenset(capabilities.ALL)
    kernel: tuple[int, int] = (5, 10)
    arch: str = "x86_64"
    able: resources.Support = resources.EVERYTHING
    apparmor_available: bool = False
    no_new_privileges: bool = False
    thermal_cpus: tuple[int, ...] = ()
    ulimits: list[container.Ulimit] | None = None
    files: tuple[int, int] | None = None


def _namespaces(n: Namespaces) -> list[dict[str, str]]:
    """``linux.namespaces``: each that is not the host's, with its path when joined."""
    result: list[dict[str, str]] = [{"type": "mount"}]
    private = {"private", "shareable", "none", ""}
    for kind, mode in (
        ("network", n.network),
        ("ipc", n.ipc),
        ("pid", n.pid),
        ("uts", n.uts),
        ("cgroup", n.cgroup),
    ):
        if mode == "host":
            continue
        if mode in private and (kind != "network" or mode == ""):
            result.append({"type": kind})
        elif mode.startswith("/"):
            result.append({"type": kind, "path": mode})
        else:
            raise errdefs.InvalidParameter(f"invalid {kind} namespace mode: {mode[:80]!r}")
    return result


def _seccomp(i: SpecInput, options: security.Options, caps: list[str]) -> dict[str, Any] | None:
    chosen = options.seccomp
    if not chosen:
        chosen = security.UNCONFINED if i.host.privileged else i.default_seccomp
    if chosen == security.UNCONFINED:
        return None
    if chosen == security.BUILTIN:
        return seccomp.profile(caps, i.arch, i.kernel)
    return seccomp.from_docker_json(chosen, caps, i.arch, i.kernel)


def _process(i: SpecInput, options: security.Options, caps: list[str]) -> dict[str, Any]:
    args = process.checked_args(i.args)
    if _uses_init(i):
        args = [mounts.INIT_DESTINATION, "--", *args]
    nnp = options.no_new_privileges
    result: dict[str, Any] = {
        "terminal": i.config.tty,
        "user": process.spec_user(i.user),
        "args": args,
        "env": process.merge_env([], i.env),
        "cwd": process.checked_cwd(i.cwd),
        "capabilities": capabilities.sets(caps),
        "noNewPrivileges": i.no_new_privileges if nnp is None else nnp,
        "oomScoreAdj": i.host.oom_score_adj,
    }
    size = process.console_size(i.host.console_size)
    if i.config.tty and size:
        result["consoleSize"] = size
    rlimits = resources.rlimits(i.host.ulimits if i.ulimits is None else i.ulimits)
    if i.files and not any(limit["type"] == "RLIMIT_NOFILE" for limit in rlimits):
        soft, hard = (resources.UNLIMITED if n == -1 else n for n in i.files)
        rlimits.append({"type": "RLIMIT_NOFILE", "soft": soft, "hard": hard})
    if rlimits:
        result["rlimits"] = rlimits
    if options.apparmor and not i.host.privileged:
        result["apparmorProfile"] = options.apparmor
    return result


def _uses_init(i: SpecInput) -> bool:
    """An init only makes sense as process 1 of its own pid namespace."""
    return (
        bool(i.init_path)
        and i.namespaces.pid not in ("host",)
        and (not i.namespaces.pid.startswith("/"))
    )


def _mounts(i: SpecInput, options: security.Options) -> tuple[list[Mount], str]:
    shm = {"host": "host", "none": "none"}.get(i.namespaces.ipc, "private")
    base = mounts.defaults(shm_size=i.host.shm_size, shm=shm, privileged=i.host.privileged)
    writable = options.writable_cgroups
    base.append(mounts.cgroup(writable=i.host.privileged if writable is None else writable))
    if _uses_init(i):
        base.append(mounts.init(i.init_path))
    user = mounts.user_mounts(i.mounts, i.host.tmpfs)
    ordered = mounts.merge(base, user, readonly_rootfs=i.host.readonly_rootfs)
    return ordered, mounts.rootfs_propagation(user)


def _hostname(i: SpecInput) -> str:
    if i.namespaces.uts == "host":
        return ""
    if len(i.hostname) > _MAX_HOSTNAME or "\0" in i.hostname:
        raise errdefs.InvalidParameter(
            f"invalid hostname {i.hostname[:80]!r}: the kernel allows {_MAX_HOSTNAME} characters"
        )
    return i.hostname


def _annotations(given: dict[str, str] | None) -> dict[str, str]:
    if given and "" in given:
        raise errdefs.InvalidParameter("invalid Annotations: the empty string is not permitted")
    return dict(given or {})


def _linux(
    i: SpecInput, options: security.Options, caps: list[str], propagation: str
) -> dict[str, Any]:
    nodes, rules = devices.resolve(i.host, i.lookup_device, i.host_devices)
    limits = resources.to_linux(i.host, i.lookup_device, cgroup_v2=i.cgroup_v2, able=i.able)
    masked, readonly = security.system_paths(i.host, options, i.thermal_cpus)
    linux: dict[str, Any] = {
        "namespaces": _namespaces(i.namespaces),
        "resources": {"devices": rules, **limits},
        "maskedPaths": masked,
        "readonlyPaths": readonly,
        "sysctl": sysctls.resolve(
            i.host.sysctls,
            host_network=i.namespaces.network == "host",
            host_ipc=i.namespaces.ipc == "host",
            host_uts=i.namespaces.uts == "host",
            own_network=not i.host.network_mode.startswith("container:"),
            domainname=i.config.domainname,
        ),
        "devices": nodes,
        "cgroupsPath": i.cgroups_path,
        "rootfsPropagation": propagation,
        "seccomp": _seccomp(i, options, caps),
    }
    return {key: value for key, value in linux.items() if value}


def build(i: SpecInput) -> dict[str, Any]:
    """The runtime-spec document for ``i``.

    Raises ``InvalidParameter`` for what contradicts itself or can't be, and ``NotImplemented`` for
    device requests. Resource limits are expected to have passed ``resources.validate``.
    """
    options = security.parse(i.host.security_opt, apparmor_available=i.apparmor_available)
    caps = capabilities.resolve(
        i.host.cap_add, i.host.cap_drop, privileged=i.host.privileged, kernel=i.kernel_caps
    )
    ordered, propagation = _mounts(i, options)
    spec: dict[str, Any] = {
        "ociVersion": OCI_VERSION,
        "process": _process(i, options, caps),
        "root": {"path": i.rootfs, "readonly": i.host.readonly_rootfs},
        "mounts": [
            {
                "destination": mount.destination,
                "type": mount.type,
                "source": mount.source,
                "options": list(mount.options),
            }
            for mount in ordered
        ],
        "linux": _linux(i, options, caps, propagation),
    }
    hostname = _hostname(i)
    if hostname:
        spec["hostname"] = hostname
    annotations = _annotations(i.host.annotations)
    if annotations:
        spec["annotations"] = annotations
    return spec
