"""ContainerInspect and ContainerList: a container in the words of the Engine API."""

from __future__ import annotations

import time
from collections.abc import Iterable, Sequence
from typing import Any

from firkin import errdefs
from firkin.engine import core as engine
from firkin.engine.containers import (
    clock,
    healthcheck,
    links,
    logkeeper,
    model,
    mounts,
    netmode,
    networking,
    sizes,
)
from firkin.oci import security
from firkin.types import base, container, network

_RUNNING = (model.Status.RUNNING, model.Status.PAUSED)


def _state(subject: model.Container) -> dict[str, Any]:
    state = subject.state
    shown: dict[str, Any] = base.to_builtins(
        container.State(
            status=state.status.value,
            running=state.status in _RUNNING or state.status is model.Status.RESTARTING,
            paused=state.status is model.Status.PAUSED,
            restarting=state.status is model.Status.RESTARTING,
            oom_killed=state.oom_killed,
            dead=state.status is model.Status.DEAD,
            pid=state.pid,
            exit_code=state.exit_code,
            error=state.error,
            started_at=clock.rfc3339(state.started_at),
            finished_at=clock.rfc3339(state.finished_at),
        )
    )
    if (health := state.health) is not None:
        shown["Health"] = {
            "Status": health.status,
            "FailingStreak": health.streak,
            "Log": [
                {
                    "Start": clock.rfc3339(probe.start),
                    "End": clock.rfc3339(probe.end),
                    "ExitCode": probe.code,
                    "Output": probe.output,
                }
                for probe in health.log
            ],
        }
    return shown


def source_of(core: engine.Core, record: model.MountRecord) -> str:
    """The host's path of a mount."""
    if record.type == "volume":
        try:
            return core.volumes.mountpoint(record.name)
        except errdefs.NotFound:
            return ""
    return record.source


def points(core: engine.Core, subject: model.Container) -> list[dict[str, Any]]:
    """The Mounts of inspect and ps."""
    return [base.to_builtins(mounts.point(m, source_of(core, m))) for m in subject.record.mounts]


def port_map(
    subject: model.Container, endpoints: Iterable[network.Endpoint]
) -> dict[str, list[dict[str, str]] | None]:
    """NetworkSettings.Ports: exposed ports, with where they are published."""
    ports: dict[str, list[dict[str, str]] | None] = {}
    if not subject.running:
        return ports
    for text in subject.record.config.exposed_ports or {}:
        numbers, proto = netmode.parse_port(text)
        for number in numbers:
            ports[f"{number}/{proto}"] = None
    for port in sorted(
        (port for endpoint in endpoints for port in endpoint.ports),
        key=lambda port: (":" in port.host_ip, port.host_port),
    ):
        key = f"{port.container_port}/{port.proto}"
        bindings = ports.get(key) or []
        bindings.append(
            {"HostIp": port.host_ip or "0.0.0.0", "HostPort": str(port.host_port or "")}
        )
        ports[key] = bindings
    return dict(sorted(ports.items()))


def _live(core: engine.Core, subject: model.Container) -> tuple[network.Endpoint, ...]:
    return core.network.endpoints(subject.id) if subject.running else ()


def endpoints(core: engine.Core, subject: model.Container) -> dict[str, Any]:
    """NetworkSettings.Networks."""
    found = {}
    live = {one.network_name: one for one in _live(core, subject)}
    known = {driver.stored.name: driver.stored for driver in core.network.every()}
    for name, asked in subject.record.networks.items():
        settings = base.to_builtins(asked)
        if (stored := known.get(name)) is not None:
            settings["NetworkID"] = stored.id
        if name not in ("bridge", *networking.EXCLUSIVE):
            settings["DNSNames"] = networking.names(subject, asked.aliases)
        if (one := live.get(name)) is not None:
            settings["NetworkID"] = one.network_id
            settings["EndpointID"] = one.id
            settings["Gateway"] = one.gateway
            settings["IPAddress"] = one.ipv4_address
            settings["MacAddress"] = one.mac_address
            settings["IPPrefixLen"] = one.prefix_len
            settings["IPv6Gateway"] = one.ipv6_gateway
            settings["GlobalIPv6Address"] = one.ipv6_address
            settings["GlobalIPv6PrefixLen"] = one.ipv6_prefix_len
        found[name] = settings
    return found


def _network_settings(
    core: engine.Core, subject: model.Container, version: tuple[int, int]
) -> dict[str, Any]:
    live = _live(core, subject)
    networks = endpoints(core, subject)
    settings: dict[str, Any] = {
        "SandboxID": live[0].id if live else "",
        "SandboxKey": live[0].netns if live else "",
        "Ports": port_map(subject, live),
        "Networks": networks,
    }
    if version < (1, 52):
        first = networks.get("bridge", {})
        settings |= {
            "Bridge": "",
            "HairpinMode": False,
            "LinkLocalIPv6Address": "",
            "LinkLocalIPv6PrefixLen": 0,
            "SecondaryIPAddresses": None,
            "SecondaryIPv6Addresses": None,
        }
        for key, nothing in (
            ("EndpointID", ""), ("Gateway", ""), ("GlobalIPv6Address", ""),
            ("GlobalIPv6PrefixLen", 0), ("IPAddress", ""), ("IPPrefixLen", 0),
            ("IPv6Gateway", ""), ("MacAddress", ""),
        ):  # fmt: skip
            settings[key] = first.get(key, nothing)
    return settings


def _host_config(core: engine.Core, subject: model.Container) -> dict[str, Any]:
    host = subject.record.host
    shown: dict[str, Any] = base.to_builtins(host)
    options = security.parse(host.security_opt, apparmor_available=core.host.apparmor)
    masked, readonly = security.system_paths(host, options)
    shown["MaskedPaths"] = masked or host.masked_paths
    shown["ReadonlyPaths"] = readonly or host.readonly_paths
    shown["LogConfig"]["Config"] = host.log_config.config or {}
    shown["Links"] = links.shown(subject)
    shown["PortBindings"] = shown["PortBindings"] or {}
    shown["Isolation"] = host.isolation
    if host.memory_swappiness == -1:  # what the official client sends for "the default"
        shown["MemorySwappiness"] = None
    for key in (
        "Mounts",
        "Annotations",
        "StorageOpt",
        "Tmpfs",
        "Sysctls",
        "Init",
        "FirkinSecrets",
    ):
        if shown.get(key) is None:
            shown.pop(key, None)
    return shown


def _config(subject: model.Container, version: tuple[int, int]) -> dict[str, Any]:
    shown: dict[str, Any] = base.to_builtins(subject.record.config)
    for key in (
        "NetworkDisabled", "MacAddress", "StopSignal", "StopTimeout", "Shell", "Healthcheck",
        "ArgsEscaped", "ExposedPorts",
    ):  # fmt: skip
        if shown.get(key) is None:
            shown.pop(key, None)
    shown["Labels"] = shown["Labels"] or {}
    first = next(iter(subject.record.networks.values()), None)
    if version >= (1, 52):
        shown.pop("MacAddress", None)
    elif first is not None and first.mac_address:
        shown.setdefault("MacAddress", first.mac_address)
    return shown


async def inspect(
    core: engine.Core,
    subject: model.Container,
    *,
    size: bool = False,
    version: tuple[int, int] = (1, 56),
) -> dict[str, Any]:
    """The answer of ContainerInspect for an API version."""
    record = subject.record
    home = core.home(subject.id)
    execs = [
        exec_id
        for exec_id in subject.execs
        if (found := core.execs.get(exec_id)) is not None and found.running
    ]
    shown: dict[str, Any] = {
        "Id": subject.id,
        "Created": clock.rfc3339(subject.created),
        "Path": record.args[0],
        "Args": record.args[1:],
        "State": _state(subject),
        "Image": record.image_id,
        "ResolvConfPath": f"{home}/resolv.conf",
        "HostnamePath": f"{home}/hostname",
        "HostsPath": f"{home}/hosts",
        "LogPath": logkeeper.path(core, subject),
        "Name": f"/{subject.name}",
        "RestartCount": subject.state.restart_count,
        "Driver": core.images.snapshots.name,
        "Platform": record.platform,
        "MountLabel": "",
        "ProcessLabel": "",
        "AppArmorProfile": "",
        "ExecIDs": execs or None,
        "HostConfig": _host_config(core, subject),
        "GraphDriver": {"Name": core.images.snapshots.name, "Data": {}},
        "Mounts": points(core, subject),
        "Config": _config(subject, version),
        "NetworkSettings": _network_settings(core, subject, version),
    }
    _describe(core, subject, shown, version)
    if size:
        own = (await sizes.written(core, [subject]))[subject.id]
        shown["SizeRw"], shown["SizeRootFs"] = own, sizes.whole(core, subject, own)
    return shown


def _describe(
    core: engine.Core, subject: model.Container, shown: dict[str, Any], version: tuple[int, int]
) -> None:
    manifest = core.images.manifest_of(subject.record.image_id) if version >= (1, 48) else None
    if manifest is not None:
        shown["ImageManifestDescriptor"] = manifest


def status_text(subject: model.Container) -> str:
    """The STATUS column of ps."""
    state = subject.state
    now = time.time_ns()
    status = state.status
    if status in _RUNNING:
        up = f"Up {clock.ago((now - state.started_at) / 1e9)}"
        if status is model.Status.PAUSED:
            return f"{up} (Paused)"
        if state.health is None:
            return up
        starting = state.health.status == healthcheck.STARTING
        return f"{up} ({'health: ' if starting else ''}{state.health.status})"
    if status is model.Status.RESTARTING:
        return f"Restarting ({state.exit_code}) {_ago(now, state.finished_at)}"
    if status is model.Status.REMOVING:
        return "Removal In Progress"
    if status is model.Status.DEAD:
        return "Dead"
    if status is model.Status.CREATED:
        return "Created"
    return f"Exited ({state.exit_code}) {_ago(now, state.finished_at)}"


def _ago(now: int, then: int) -> str:
    return f"{clock.ago((now - then) / 1e9)} ago"


def ports(core: engine.Core, subject: model.Container) -> list[container.PortSummary]:
    """The Ports of ps."""
    found = []
    for key, bindings in port_map(subject, _live(core, subject)).items():
        number, _, proto = key.partition("/")
        if bindings is None:
            found.append(container.PortSummary(private_port=int(number), type=proto))
        for binding in bindings or ():
            found.append(
                container.PortSummary(
                    ip=binding["HostIp"],
                    private_port=int(number),
                    public_port=int(binding["HostPort"] or 0),
                    type=proto,
                )
            )
    return found


def command_text(subject: model.Container) -> str:
    """The COMMAND column of ps, whole."""
    words = []
    for index, arg in enumerate(subject.record.args):
        words.append(f"'{arg}'" if index and (" " in arg or not arg) else arg)
    return " ".join(words)


def health_of(subject: model.Container) -> str:
    """The health that ps filters by: none for a container that has no check or does not run."""
    health = subject.state.health
    return health.status if health is not None and subject.running else healthcheck.NONE


def summary(
    core: engine.Core,
    subject: model.Container,
    *,
    own: int | None = None,
    version: tuple[int, int] = (1, 56),
    aliases: Sequence[str] = (),
) -> dict[str, Any]:
    """One container of ContainerList.

    ``own`` is the bytes of its layer, if wanted; ``aliases`` are its names for others (``links``).
    """
    record = subject.record
    shown: dict[str, Any] = {
        "Id": subject.id,
        "Names": [f"/{subject.name}", *aliases],
        "Image": record.config.image,
        "ImageID": record.image_id,
        "Command": command_text(subject),
        "Created": subject.created // 1_000_000_000,
        "Ports": base.to_builtins(ports(core, subject)),
        "Labels": record.config.labels or {},
        "State": subject.state.status.value,
        "Status": status_text(subject),
        "HostConfig": {"NetworkMode": record.host.network_mode},
        "NetworkSettings": {"Networks": endpoints(core, subject)},
        "Mounts": points(core, subject),
    }
    if version >= (1, 52):
        health = subject.state.health
        shown["Health"] = {
            "Status": health_of(subject),
            "FailingStreak": health.streak if health is not None and subject.running else 0,
        }
    _describe(core, subject, shown, version)
    if record.host.annotations:
        shown["HostConfig"]["Annotations"] = record.host.annotations
    if own is not None:
        shown["SizeRw"], shown["SizeRootFs"] = own, sizes.whole(core, subject, own)
    return shown
