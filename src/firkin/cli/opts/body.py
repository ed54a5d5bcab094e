"""The body of ``POST /containers/create`` from the flags of ``run`` and ``create``.

Every field is there, with the zero that Docker's client sends when the flag is absent: engines and
their tests have seen those bodies for years.
"""

from __future__ import annotations

from firkin.cli import errors
from firkin.cli.opts import devices, environment, limits, mounts, networks, policies, ports, text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from firkin.cli import flags


def build(values: flags.Values, args: list[str], *, attached: bool = True) -> dict[str, Any]:
    """The body for an image and its command, ``args``.

    ``attached`` is false for ``run --detach``. Raises ``CliError`` with the status for a wrong
    command line.
    """
    try:
        return _build(values, args, attached)
    except ValueError as error:
        raise errors.CliError(str(error), errors.FLAG_STATUS) from None


def _build(values: flags.Values, args: list[str], attached: bool) -> dict[str, Any]:
    streams = values.items("attach")
    interactive = values.flag("interactive")
    stdin = interactive or "stdin" in streams
    bindings = ports.publish(values.items("publish"))
    binds, anonymous = mounts.volumes(values.items("volume"))
    host, endpoints = _host_config(values)
    host["PortBindings"] = bindings
    host["Binds"] = binds or None
    policies.namespaces(values)
    body: dict[str, Any] = {
        "Hostname": values.text("hostname"),
        "Domainname": values.text("domainname"),
        "User": values.text("user"),
        "AttachStdin": attached and stdin,
        "AttachStdout": attached and (not streams or "stdout" in streams),
        "AttachStderr": attached and (not streams or "stderr" in streams),
        "Tty": values.flag("tty"),
        "OpenStdin": interactive,
        "StdinOnce": attached and interactive and stdin,
        "Env": environment.variables(values.items("env-file"), values.items("env")) or None,
        "Cmd": args[1:] or None,
        "Image": args[0],
        "Volumes": {path: {} for path in anonymous},
        "WorkingDir": values.text("workdir"),
        "Entrypoint": [values.text("entrypoint")] if values.changed("entrypoint") else None,
        "OnBuild": None,
        "Labels": environment.labels(values.items("label-file"), values.items("label")),
        "HostConfig": host,
        "NetworkingConfig": {"EndpointsConfig": endpoints},
    }
    exposed = [*bindings, *ports.expose(values.items("expose"))]
    if exposed:
        body["ExposedPorts"] = {port: {} for port in exposed}
    if values.text("stop-signal"):
        body["StopSignal"] = values.text("stop-signal")
    if values.changed("stop-timeout"):
        body["StopTimeout"] = values.number("stop-timeout")
    if check := policies.health(values):
        body["Healthcheck"] = check
    return body


def _host_config(values: flags.Values) -> tuple[dict[str, Any], dict[str, Any]]:
    security, open_paths = policies.security(values.items("security-opt"))
    mode, endpoints = networks.mode_and_endpoints(
        values.get("net") + values.get("network"),
        {
            "network-alias": values.items("net-alias") + values.items("network-alias"),
            "ip": values.text("ip"),
            "ip6": values.text("ip6"),
            "link-local-ip": values.items("link-local-ip"),
            "mac-address": values.text("mac-address"),
        },
        values.items("link"),
    )
    restart = policies.restart(values.text("restart"))
    if values.flag("rm") and restart["Name"] not in ("", "no"):
        raise ValueError("conflicting options: cannot specify both --restart and --rm")
    host: dict[str, Any] = {
        "ContainerIDFile": values.text("cidfile"),
        "LogConfig": _logging(values),
        "NetworkMode": mode,
        "RestartPolicy": restart,
        "AutoRemove": values.flag("rm"),
        "VolumeDriver": values.text("volume-driver"),
        "VolumesFrom": values.items("volumes-from") or None,
        "ConsoleSize": [0, 0],
        "CapAdd": policies.capabilities(values.items("cap-add")),
        "CapDrop": policies.capabilities(values.items("cap-drop")),
        "CgroupnsMode": values.text("cgroupns"),
        "Dns": values.items("dns"),
        "DnsOptions": values.items("dns-opt") + values.items("dns-option"),
        "DnsSearch": values.items("dns-search"),
        "ExtraHosts": values.items("add-host") or None,
        "GroupAdd": values.items("group-add") or None,
        "IpcMode": values.text("ipc"),
        "Cgroup": "",
        "Links": values.items("link") or None,
        "OomScoreAdj": values.number("oom-score-adj"),
        "PidMode": values.text("pid"),
        "Privileged": values.flag("privileged"),
        "PublishAllPorts": values.flag("publish-all"),
        "ReadonlyRootfs": values.flag("read-only"),
        "SecurityOpt": security,
        "UTSMode": values.text("uts"),
        "UsernsMode": values.text("userns"),
        "ShmSize": values.number("shm-size"),
        "Isolation": values.text("isolation"),
        "MaskedPaths": [] if open_paths else None,
        "ReadonlyPaths": [] if open_paths else None,
        **_resources(values),
    }
    optional = {
        "Annotations": text.pairs(values.items("annotation")),
        "FirkinSecrets": values.get("secret"),
        "Mounts": values.get("mount"),
        "Runtime": values.text("runtime"),
        "StorageOpt": policies.storage(values.items("storage-opt")),
        "Sysctls": text.pairs(values.items("sysctl")),
        "Tmpfs": mounts.tmpfs(values.items("tmpfs")),
    }
    host.update({key: value for key, value in optional.items() if value})
    if values.changed("init"):
        host["Init"] = values.flag("init")
    return host, endpoints


def _resources(values: flags.Values) -> dict[str, Any]:
    paths, cdi = devices.split(values.items("device"))
    requests = list(values.get("gpus"))
    if cdi:
        requests.append(devices.cdi_request(cdi))
    return {
        "CpuShares": values.number("cpu-shares"),
        "Memory": values.number("memory"),
        "NanoCpus": values.number("cpus"),
        "CgroupParent": values.text("cgroup-parent"),
        "BlkioWeight": values.number("blkio-weight"),
        "BlkioWeightDevice": values.get("blkio-weight-device"),
        "BlkioDeviceReadBps": values.get("device-read-bps"),
        "BlkioDeviceWriteBps": values.get("device-write-bps"),
        "BlkioDeviceReadIOps": values.get("device-read-iops"),
        "BlkioDeviceWriteIOps": values.get("device-write-iops"),
        "CpuPeriod": values.number("cpu-period"),
        "CpuQuota": values.number("cpu-quota"),
        "CpuRealtimePeriod": values.number("cpu-rt-period"),
        "CpuRealtimeRuntime": values.number("cpu-rt-runtime"),
        "CpusetCpus": values.text("cpuset-cpus"),
        "CpusetMems": values.text("cpuset-mems"),
        "Devices": paths,
        "DeviceCgroupRules": values.items("device-cgroup-rule") or None,
        "DeviceRequests": requests or None,
        "MemoryReservation": values.number("memory-reservation"),
        "MemorySwap": values.number("memory-swap"),
        "MemorySwappiness": values.number("memory-swappiness"),
        "OomKillDisable": values.flag("oom-kill-disable"),
        "PidsLimit": values.number("pids-limit"),
        "Ulimits": limits.ulimits(values.get("ulimit")),
        "CpuCount": values.number("cpu-count"),
        "CpuPercent": values.number("cpu-percent"),
        "IOMaximumIOps": values.number("io-maxiops"),
        "IOMaximumBandwidth": values.number("io-maxbandwidth"),
    }


def _logging(values: flags.Values) -> dict[str, Any]:
    driver = values.text("log-driver")
    options = text.pairs(values.items("log-opt"))
    if driver == "none" and options:
        raise ValueError("invalid logging opts for driver none: it takes no --log-opt")
    return {"Type": driver, "Config": options}
