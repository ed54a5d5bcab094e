"""SystemInfo, SystemVersion, SystemDataUsage and SystemEvents."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import os
import platform
import sys
from collections.abc import AsyncIterator, Sequence
from typing import Any

import firkin
from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine import filters as filtering
from firkin.engine import quota, registries
from firkin.engine.containers import model
from firkin.events import exchange
from firkin.oci import cdi
from firkin.types import base, event

API_VERSION = "1.56"
MIN_API_VERSION = "1.40"
EVENT_FILTERS = frozenset(
    {
        "config", "container", "daemon", "event", "image", "label", "network", "node", "plugin",
        "scope", "secret", "service", "type", "volume",
    }
)  # fmt: skip
_NAMED = EVENT_FILTERS - {"event", "label", "scope", "type"}
"""Filters that name the object of an event."""
_GO_ARCH = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}


def go_arch(machine: str) -> str:
    """The machine's name as image-spec has it."""
    return _GO_ARCH.get(machine, machine)


def counts(core: engine.Core) -> dict[str, int]:
    """How many containers there are, and how many of each kind."""
    states = [c.state.status for c in core.containers]
    paused = states.count(model.Status.PAUSED)
    running = states.count(model.Status.RUNNING) + states.count(model.Status.RESTARTING)
    return {
        "Containers": len(states),
        "ContainersRunning": running,
        "ContainersPaused": paused,
        "ContainersStopped": len(states) - paused - running,
    }


async def info(core: engine.Core) -> dict[str, Any]:
    """The answer of SystemInfo."""
    host, config = core.host, core.config
    layout = host.cgroup
    warnings = await core.network.warnings()
    exposed = await core.network.exposure()
    if host.moved_controllers:
        warnings.append(
            "INFO: hybrid cgroup host: mounted as v1 so that containers can run: "
            + ", ".join(host.moved_controllers)
        )
    for controller, what in (
        ("memory", "memory limit"), ("pids", "pids limit"), ("cpu", "cpu quota and shares"),
        ("cpuset", "cpuset"),
    ):  # fmt: skip
        if not layout.has(controller):
            warnings.append(f"WARNING: No {what} support")
    status = [["Backing Filesystem", filesystem_of(config.data_root)]]
    room = await quota.state(core)
    if room is not None:
        status += quota.rows(core, room)
        if text := quota.warning(core, room):
            warnings.append(text)
    profile = config.seccomp_profile or "builtin"
    security = [f"name=seccomp,profile={profile}"] if host.seccomp else []
    if layout.version == 2:
        security.append("name=cgroupns")
    if config.no_new_privileges:
        security.append("name=no-new-privileges")
    return {
        "ID": core.engine_id,
        **counts(core),
        "Images": len(core.images.catalog.images),
        "Driver": core.images.snapshots.name,
        "DriverStatus": status,
        "Plugins": {
            "Volume": core.volumes.names_of_drivers(),
            "Network": core.network.kinds(),
            "Authorization": config.authorization_plugins,
            "Log": core.logs.names(),
        },
        "MemoryLimit": layout.has("memory"),
        "SwapLimit": layout.has("memory"),
        "CpuCfsPeriod": layout.has("cpu"),
        "CpuCfsQuota": layout.has("cpu"),
        "CPUShares": layout.has("cpu"),
        "CPUSet": layout.has("cpuset"),
        "PidsLimit": layout.has("pids"),
        "OomKillDisable": layout.version == 1,
        "IPv4Forwarding": _flag("/proc/sys/net/ipv4/ip_forward"),
        "Debug": config.debug,
        "NFd": len(os.listdir("/proc/self/fd")),
        "NGoroutines": len(asyncio.all_tasks()),
        "SystemTime": datetime.datetime.now(datetime.UTC).isoformat().replace("+00:00", "Z"),
        "CgroupDriver": core.cgroup_driver,
        "LoggingDriver": config.log_driver,
        "CgroupVersion": str(layout.version),
        "NEventsListener": core.events.subscribers,
        "KernelVersion": host.kernel,
        "OperatingSystem": host.operating_system,
        "OSVersion": host.os_version,
        "OSType": "linux",
        "Architecture": host.architecture,
        "IndexServerAddress": "https://index.docker.io/v1/",
        **registries.describe(config),
        "Exposure": [base.to_builtins(way) for way in exposed],
        "NCPU": host.cpus,
        "MemTotal": host.memory,
        "GenericResources": None,
        "DockerRootDir": config.data_root,
        "Name": host.hostname,
        "Labels": config.labels,
        "ExperimentalBuild": config.experimental,
        "ServerVersion": firkin.__version__,
        "Runtimes": {name: {"path": runtime.path} for name, runtime in core.runtimes.items()},
        "DefaultRuntime": core.default_runtime,
        "Swarm": {
            "NodeID": "",
            "NodeAddr": "",
            "LocalNodeState": "inactive",
            "ControlAvailable": False,
            "Error": "",
            "RemoteManagers": None,
        },
        "LiveRestoreEnabled": True,
        "Isolation": "",
        "InitBinary": os.path.basename(config.init_path or host.init),
        "ContainerdCommit": {"ID": ""},
        "RuncCommit": {"ID": ""},
        "InitCommit": {"ID": ""},
        "SecurityOptions": security,
        "CDISpecDirs": list(config.cdi_directories),
        "FirewallBackend": {"Driver": "nftables"},
        "DiscoveredDevices": await asyncio.to_thread(_devices, config.cdi_directories),
        "DefaultAddressPools": [
            {"Base": pool.base, "Size": pool.size} for pool in config.default_address_pools
        ],
        "Warnings": warnings or None,
    }


def filesystem_of(path: str) -> str:
    """The kind of file system that holds ``path``, as /proc/self/mountinfo names it."""
    device = os.stat(path).st_dev
    wanted = f"{os.major(device)}:{os.minor(device)}"
    with open("/proc/self/mountinfo", encoding="utf-8", errors="replace") as lines:
        for line in lines:
            head, _, tail = line.partition(" - ")
            if head.split()[2] == wanted:
                return tail.split()[0]
    return "unknown"


def _devices(directories: Sequence[str]) -> list[dict[str, str]]:
    with contextlib.suppress(errdefs.System):
        return [{"Source": "cdi", "ID": name} for name in sorted(cdi.Known(directories).devices)]
    return []


def _flag(path: str) -> bool:
    try:
        with open(path, encoding="ascii") as file:
            return file.read().strip() == "1"
    except OSError:
        return False


async def version(core: engine.Core) -> dict[str, Any]:
    """The answer of SystemVersion."""
    host = core.host
    experimental = str(core.config.experimental).lower()
    shared = {
        "Os": "linux",
        "Arch": go_arch(host.architecture),
        "KernelVersion": host.kernel,
    }
    components: list[dict[str, Any]] = [
        {
            "Name": "Engine",
            "Version": firkin.__version__,
            "Details": {
                "ApiVersion": API_VERSION,
                "MinAPIVersion": MIN_API_VERSION,
                **shared,
                "BuildTime": "",
                "Experimental": experimental,
                "GitCommit": "",
                "GoVersion": "",
                "PythonVersion": platform.python_version(),
            },
        }
    ]
    for name, runtime in core.runtimes.items():
        text = await runtime.version()
        components.append(
            {"Name": name, "Version": text.rpartition(" ")[2], "Details": {"GitCommit": ""}}
        )
    told = {"Experimental": True} if core.config.experimental else {}
    return {
        "Platform": {"Name": "Firkin Engine"},
        "Components": components,
        "Version": firkin.__version__,
        "ApiVersion": API_VERSION,
        "MinAPIVersion": MIN_API_VERSION,
        "GitCommit": "",
        "GoVersion": f"python{sys.version_info.major}.{sys.version_info.minor}",
        **shared,
        **told,
        "BuildTime": "",
    }


def _event_filter(wanted: filtering.Filters) -> exchange.Filter:
    def accepts(message: event.Message) -> bool:
        attributes = message.actor.attributes
        if not wanted.exact("type", message.type) or not wanted.exact("scope", message.scope):
            return False
        if not wanted.exact("event", message.action, message.action.partition(":")[0]):
            return False
        if not wanted.labels(attributes):
            return False
        for kind in _NAMED:
            values = wanted.get(kind)
            if not values:
                continue
            name = attributes.get("name", "")
            if kind == "image":
                names = [message.actor.id, name, attributes.get("image", "")]
                names += [n.partition(":")[0] for n in names if not n.startswith("sha256:")]
                if not any(value in names for value in values):
                    return False
                continue
            if message.type != kind or not any(
                value == name or (value and message.actor.id.startswith(value)) for value in values
            ):
                return False
        return True

    return accepts


def events(
    core: engine.Core, wanted: filtering.Filters, *, since: int | None, until: int | None
) -> AsyncIterator[event.Message]:
    """The answer of SystemEvents; times are nanoseconds since the epoch.

    Raises ``InvalidParameter`` when ``since`` is after ``until``.
    """
    if since is not None and until is not None and since > until:
        raise errdefs.InvalidParameter(
            "`since` time cannot be after `until` time: swap the two, or widen the range"
        )
    return core.events.subscribe(_event_filter(wanted), since=since, until=until)
