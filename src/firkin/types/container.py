"""Containers on the wire: the Engine API's ContainerCreate body and the objects inside it."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import field

from firkin.types.base import Wire


class HealthConfig(Wire, omit_defaults=True):
    """A health check (API schema HealthConfig). Durations are nanoseconds; 0 inherits.

    ``on_failure`` is Firkin's own: none, kill, restart or stop.
    """

    test: list[str] = []
    interval: int = 0
    timeout: int = 0
    retries: int = 0
    start_period: int = 0
    start_interval: int = 0
    on_failure: str = ""


class Config(Wire):
    """What runs, independent of the host (API schema ContainerConfig).

    ``None`` in cmd, entrypoint, env... means "not given": the image's value applies.
    """

    hostname: str = ""
    domainname: str = ""
    user: str = ""
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    exposed_ports: dict[str, Any] | None = None
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    env: list[str] | None = None
    cmd: list[str] | str | None = None
    healthcheck: HealthConfig | None = None
    args_escaped: bool | None = None
    image: str = ""
    volumes: dict[str, Any] | None = None
    working_dir: str = ""
    entrypoint: list[str] | str | None = None
    network_disabled: bool | None = None
    mac_address: str | None = None
    on_build: list[str] | None = None
    labels: dict[str, str] | None = None
    stop_signal: str | None = None
    stop_timeout: int | None = None
    shell: list[str] | None = None


class PortBinding(Wire):
    """Where on the host a container port is published. Empty HostPort: a random one."""

    host_ip: str = field(default="", name="HostIp")
    host_port: str = ""


class RestartPolicy(Wire):
    """``name`` is one of "", no, always, unless-stopped, on-failure."""

    name: str = ""
    maximum_retry_count: int = 0


class LogConfig(Wire):
    """Log driver name and its options."""

    type: str = ""
    config: dict[str, str] | None = None


class ThrottleDevice(Wire):
    """A block I/O limit; ``rate`` is bytes or operations per second."""

    path: str = ""
    rate: int = 0


class WeightDevice(Wire):
    """A relative block I/O weight of one device, 10 to 1000."""

    path: str = ""
    weight: int = 0


class DeviceMapping(Wire):
    """A host device given to the container; permissions are a subset of "rwm"."""

    path_on_host: str = ""
    path_in_container: str = ""
    cgroup_permissions: str = ""


class DeviceRequest(Wire):
    """A request for devices by capability (GPUs)."""

    driver: str = ""
    count: int = 0
    device_ids: list[str] | None = field(default=None, name="DeviceIDs")
    capabilities: list[list[str]] | None = None
    options: dict[str, str] | None = None


class Ulimit(Wire):
    """A resource limit: ``name`` as in ulimit(1), without RLIMIT_."""

    name: str = ""
    hard: int = 0
    soft: int = 0


class BindOptions(Wire, omit_defaults=True):
    """``id_map`` is Firkin's own: "caller", or id ranges (see ``engine.containers.idmap``)."""

    propagation: str = ""
    non_recursive: bool = False
    create_mountpoint: bool = False
    read_only_non_recursive: bool = False
    read_only_force_recursive: bool = False
    id_map: str = field(default="", name="FirkinIdMap")


class DriverConfig(Wire, omit_defaults=True):
    name: str = ""
    options: dict[str, str] | None = None


class VolumeOptions(Wire, omit_defaults=True):
    no_copy: bool = False
    labels: dict[str, str] | None = None
    driver_config: DriverConfig | None = None
    subpath: str = ""


class ImageOptions(Wire, omit_defaults=True):
    subpath: str = ""


class TmpfsOptions(Wire, omit_defaults=True):
    """``size_bytes``: 0 for no limit; ``mode``: permission bits; ``options``: [key, value]."""

    size_bytes: int = 0
    mode: int = 0
    options: list[list[str]] | None = None


class Mount(Wire, omit_defaults=True):
    """A mount asked for with ``--mount`` (API schema Mount)."""

    type: str = ""
    source: str = ""
    target: str = ""
    read_only: bool = False
    consistency: str = ""
    bind_options: BindOptions | None = None
    volume_options: VolumeOptions | None = None
    image_options: ImageOptions | None = None
    tmpfs_options: TmpfsOptions | None = None


class SecretUse(Wire):
    """A secret that a container gets as a file (Firkin's own).

    ``target`` is below /run/secrets unless absolute; ``uid`` and ``gid`` are numbers or names.
    """

    id: str = field(default="", name="ID")
    source: str = ""
    target: str = ""
    uid: str = field(default="", name="UID")
    gid: str = field(default="", name="GID")
    mode: int = 0o444


class HostConfig(Wire):
    """What the container may use of its host (API schemas Resources and HostConfig).

    Units: memory in bytes (-1 or 0 for no limit), CPU quota and period in microseconds,
    ``nano_cpus`` in 10⁻⁹ CPUs, ``shm_size`` in bytes.
    """

    binds: list[str] | None = None
    container_id_file: str = field(default="", name="ContainerIDFile")
    log_config: LogConfig = field(default_factory=LogConfig)
    network_mode: str = ""
    port_bindings: dict[str, list[PortBinding] | None] | None = None
    restart_policy: RestartPolicy = field(default_factory=RestartPolicy)
    auto_remove: bool = False
    volume_driver: str = ""
    volumes_from: list[str] | None = None
    console_size: list[int] = field(default_factory=lambda: [0, 0])
    annotations: dict[str, str] | None = None
    cap_add: list[str] | str | None = None
    cap_drop: list[str] | str | None = None
    cgroupns_mode: str = ""
    dns: list[str] | None = None
    dns_options: list[str] | None = None
    dns_search: list[str] | None = None
    extra_hosts: list[str] | None = None
    group_add: list[str] | None = None
    ipc_mode: str = ""
    cgroup: str = ""
    links: list[str] | None = None
    oom_score_adj: int = 0
    pid_mode: str = ""
    privileged: bool = False
    publish_all_ports: bool = False
    readonly_rootfs: bool = False
    security_opt: list[str] | None = None
    storage_opt: dict[str, str] | None = None
    tmpfs: dict[str, str] | None = None
    uts_mode: str = field(default="", name="UTSMode")
    userns_mode: str = ""
    shm_size: int = 0
    sysctls: dict[str, str] | None = None
    runtime: str = ""
    isolation: str = ""
    # Resources
    cpu_shares: int = 0
    memory: int = 0
    nano_cpus: int = 0
    cgroup_parent: str = ""
    blkio_weight: int = 0
    blkio_weight_device: list[WeightDevice] | None = None
    blkio_device_read_bps: list[ThrottleDevice] | None = None
    blkio_device_write_bps: list[ThrottleDevice] | None = None
    blkio_device_read_iops: list[ThrottleDevice] | None = field(
        default=None, name="BlkioDeviceReadIOps"
    )
    blkio_device_write_iops: list[ThrottleDevice] | None = field(
        default=None, name="BlkioDeviceWriteIOps"
    )
    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_realtime_period: int = 0
    cpu_realtime_runtime: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    devices: list[DeviceMapping] | None = None
    device_cgroup_rules: list[str] | None = None
    device_requests: list[DeviceRequest] | None = None
    kernel_memory_tcp: int = field(default=0, name="KernelMemoryTCP")
    memory_reservation: int = 0
    memory_swap: int = 0
    memory_swappiness: int | None = None
    oom_kill_disable: bool | None = None
    pids_limit: int | None = None
    ulimits: list[Ulimit] | None = None
    init: bool | None = None
    # Shown in inspect, null meaning "the defaults"
    masked_paths: list[str] | None = None
    readonly_paths: list[str] | None = None
    mounts: list[Mount] | None = None
    secrets: list[SecretUse] | None = field(default=None, name="FirkinSecrets")


class IPAMConfig(Wire, omit_defaults=True):
    """Static addresses asked for on one network (API schema EndpointIPAMConfig)."""

    ipv4_address: str = field(default="", name="IPv4Address")
    ipv6_address: str = field(default="", name="IPv6Address")
    link_local_ips: list[str] | None = field(default=None, name="LinkLocalIPs")


class EndpointSettings(Wire):
    """A container's place on one network (API schema EndpointSettings)."""

    ipam_config: IPAMConfig | None = field(default=None, name="IPAMConfig")
    links: list[str] | None = None
    aliases: list[str] | None = None
    driver_opts: dict[str, str] | None = None
    gw_priority: int = 0
    network_id: str = field(default="", name="NetworkID")
    endpoint_id: str = field(default="", name="EndpointID")
    gateway: str = ""
    ip_address: str = field(default="", name="IPAddress")
    mac_address: str = ""
    ip_prefix_len: int = field(default=0, name="IPPrefixLen")
    ipv6_gateway: str = field(default="", name="IPv6Gateway")
    global_ipv6_address: str = field(default="", name="GlobalIPv6Address")
    global_ipv6_prefix_len: int = field(default=0, name="GlobalIPv6PrefixLen")
    dns_names: list[str] | None = field(default=None, name="DNSNames")


class NetworkingConfig(Wire):
    """Networks to join at creation, by name."""

    endpoints_config: dict[str, EndpointSettings] | None = None


class ConnectRequest(Wire):
    """The body of NetworkConnect."""

    container: str = ""
    endpoint_config: EndpointSettings = field(default_factory=EndpointSettings)


class CreateRequest(Config):
    """The body of ContainerCreate: a Config with its HostConfig and NetworkingConfig."""

    host_config: HostConfig = field(default_factory=HostConfig)
    networking_config: NetworkingConfig | None = None


class CreateResponse(Wire):
    id: str
    warnings: list[str] = []


class State(Wire):
    """A container's state as ContainerInspect tells it (API schema ContainerState)."""

    status: str = "created"
    running: bool = False
    paused: bool = False
    restarting: bool = False
    oom_killed: bool = field(default=False, name="OOMKilled")
    dead: bool = False
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    started_at: str = "0001-01-01T00:00:00Z"
    finished_at: str = "0001-01-01T00:00:00Z"


class MountPoint(Wire):
    """A mount in use, as shown by inspect and ps (API schema MountPoint)."""

    type: str
    name: str = ""
    source: str = ""
    destination: str = ""
    driver: str = ""
    mode: str = ""
    rw: bool = field(default=True, name="RW")
    propagation: str = ""


class PortSummary(msgspec.Struct, kw_only=True, omit_defaults=True):
    """One line of the Ports column (API schema PortSummary)."""

    ip: str = field(default="", name="IP")
    private_port: int = field(name="PrivatePort")
    public_port: int = field(default=0, name="PublicPort")
    type: str = field(name="Type")


class WaitError(Wire):
    message: str = ""


class WaitResponse(Wire):
    """The answer of ContainerWait."""

    status_code: int
    error: WaitError | None = None


class ExecCreateRequest(Wire):
    """The body of ContainerExec."""

    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    console_size: list[int] | None = None
    detach_keys: str = ""
    tty: bool = False
    env: list[str] | None = None
    cmd: list[str] | None = None
    privileged: bool = False
    user: str = ""
    working_dir: str = ""


class ExecStartRequest(Wire):
    """The body of ExecStart."""

    detach: bool = False
    tty: bool = False
    console_size: list[int] | None = None
