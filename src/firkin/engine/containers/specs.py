"""From a container's record to its runtime-spec: the facts that ``firkin.oci`` asks for."""

from __future__ import annotations

import functools
import os
from typing import Any

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine.containers import filters, links, model, mounts, netmode, rootfiles
from firkin.linux import cgroup, cgroupdriver, descriptors
from firkin.oci import capabilities, cdi, hostdevs, process, resources, seccomp, spec
from firkin.oci import user as users
from firkin.types import mount


def cgroup_of(core: engine.Core, parent: str, container_id: str) -> cgroupdriver.Group:
    """The group that a container started now gets; ``parent`` is HostConfig.CgroupParent."""
    return cgroupdriver.group(core.cgroup_driver, parent or core.config.cgroup_parent, container_id)


def cgroup_path(core: engine.Core, container: model.Container) -> str:
    """The container's group within the cgroup hierarchies.

    A running container keeps the one it was started in, whatever driver the engine has since.
    """
    return (
        container.state.cgroup
        or cgroup_of(core, container.record.host.cgroup_parent, container.id).path
    )


@functools.cache
def able(layout: cgroup.Layout) -> resources.Support:
    """Which resource controls this host has."""
    files: set[str] = set()
    controllers = layout.v2 if layout.version == 2 else layout.v1
    if layout.version == 2:
        for entry in os.scandir(cgroup.ROOT):
            if entry.is_dir(follow_symlinks=False):
                files.update(os.listdir(entry.path))
    else:
        for entry in os.scandir(cgroup.ROOT):
            if entry.is_dir() and entry.name != "unified":
                files.update(os.listdir(entry.path))
    return resources.support(files, controllers, cgroup_v2=layout.version == 2)


def kernel_caps(core: engine.Core) -> frozenset[str]:
    """The capabilities that there are to give: those the engine itself may have."""
    return capabilities.from_mask(core.host.capabilities)


def shm_path(core: engine.Core, container_id: str) -> str:
    """Where a shareable container's /dev/shm is on the host."""
    return os.path.join(core.bundle(container_id), "shm")


def namespaces(core: engine.Core, container: model.Container, netns: str) -> spec.Namespaces:
    """The namespaces to make or join; ``netns`` is that of its networks.

    Raises ``Conflict`` when a container to join is not there.
    """
    host = container.record.host
    shared = netmode.shared_with(host.network_mode)
    if shared:
        net = f"/proc/{joined(core, shared, 'network').state.pid}/ns/net"
    elif host.network_mode == "host":
        net = "host"
    else:
        net = netns
    ipc, pid = host.ipc_mode, host.pid_mode or "private"
    if ipc.startswith("container:"):
        source = joined(core, ipc.partition(":")[2], "ipc")
        if source.record.host.ipc_mode not in ("shareable", "host"):
            raise errdefs.Conflict(
                f"cannot join IPC of container {source.name}: non-shareable IPC (hint: use "
                "IpcMode:shareable for the donor container)"
            )
        ipc = f"/proc/{source.state.pid}/ns/ipc"
    if pid.startswith("container:"):
        pid = f"/proc/{joined(core, pid.partition(':')[2], 'pid').state.pid}/ns/pid"
    return spec.Namespaces(
        network=net,
        ipc=ipc,
        pid=pid,
        uts=host.uts_mode or "private",
        cgroup=host.cgroupns_mode,
    )


def joined(core: engine.Core, name: str, what: str) -> model.Container:
    """The running container whose namespace is to be joined."""
    source = core.containers.get(name)
    if not source.running:
        raise errdefs.Conflict(
            f"cannot join {what} of a non running container: {source.id}: start it first"
        )
    return source


def network_owner(core: engine.Core, container: model.Container) -> model.Container:
    """Whose network a container is on, in the end: its own unless it joins another's.

    Raises ``NotFound`` and, for a circle, ``Conflict``.
    """
    seen = {container.id}
    while shared := netmode.shared_with(container.record.host.network_mode):
        container = core.containers.get(shared)
        if container.id in seen:
            raise errdefs.Conflict(f"cannot join own network namespace: {container.name}")
        seen.add(container.id)
    return container


def _shm_mount(core: engine.Core, container: model.Container) -> list[mount.Mount]:
    mode = container.record.host.ipc_mode
    if mode == "shareable":
        source = shm_path(core, container.id)
    elif mode.startswith("container:"):
        donor = joined(core, mode.partition(":")[2], "ipc")
        host_ipc = donor.record.host.ipc_mode == "host"
        source = "/dev/shm" if host_ipc else shm_path(core, donor.id)
    else:
        return []
    return [
        mount.Mount(
            destination="/dev/shm", type="bind", source=source, options=("rbind", "rprivate", "rw")
        )
    ]


def build(
    core: engine.Core,
    container: model.Container,
    *,
    rootfs: str,
    sources: dict[str, str],
    etc: list[mount.Mount],
    netns: str,
) -> dict[str, Any]:
    """The runtime-spec of a container whose rootfs is mounted.

    ``sources`` maps the destination of each bind or volume to its path on the host. Blocks: reads
    the container's user database and, for a privileged container, /dev.
    """
    record = container.record
    config, host = record.config, record.host
    user = rootfiles.user(rootfs, config.user, host.group_add)
    hostname = core.host.hostname if host.uts_mode == "host" else config.hostname
    if netmode.shared_with(host.network_mode):
        hostname = network_owner(core, container).record.config.hostname
    elif host.network_mode == "host" and not config.hostname:
        hostname = core.host.hostname
    env = [*links.environment(core, container), *(config.env or ())]
    env = process.environment(env, hostname=hostname, tty=config.tty)
    taken = {m.destination for m in record.mounts}
    binds = [mounts.to_runtime(m, sources.get(m.destination, "")) for m in record.mounts]
    binds += [m for m in etc if m.destination not in taken]
    binds += [m for m in _shm_mount(core, container) if m.destination not in taken]
    document = spec.build(
        spec.SpecInput(
            container_id=container.id,
            config=config,
            host=host,
            files=descriptors.given(),
            args=record.args,
            env=users.with_home(env, user),
            user=user,
            rootfs=rootfs,
            cwd=config.working_dir or "/",
            hostname=hostname,
            mounts=tuple(binds),
            namespaces=namespaces(core, container, netns),
            cgroups_path=cgroup_of(core, host.cgroup_parent, container.id).spec,
            cgroup_v2=core.host.cgroup.version == 2,
            init_path=_init(core, container),
            host_devices=tuple(hostdevs.every()) if host.privileged else (),
            lookup_device=hostdevs.lookup,
            ulimits=core.config.ulimits(host.ulimits),
            default_seccomp=core.config.seccomp(),
            no_new_privileges=core.config.no_new_privileges,
            kernel_caps=kernel_caps(core),
            kernel=seccomp.kernel_version(core.host.kernel),
            arch=core.host.architecture,
            able=able(core.host.cgroup),
            apparmor_available=core.host.apparmor,
        )
    )
    if host.device_requests:
        known = cdi.Known(core.config.cdi_directories)
        cdi.apply(document, known.requested(host.device_requests))
    if core.cgroup_driver == cgroupdriver.SYSTEMD:
        name, value = cgroupdriver.SUBGROUP
        document.setdefault("annotations", {})[name] = value
    filters.attach(document)
    return document


def _init(core: engine.Core, container: model.Container) -> str:
    wanted = container.record.host.init
    if not (core.config.init if wanted is None else wanted):
        return ""
    found = core.config.init_path or core.host.init
    if not found:
        raise errdefs.System("--init: no tini on this host: install the Debian package tini")
    return found
