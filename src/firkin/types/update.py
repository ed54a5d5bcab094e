"""The body of ContainerUpdate, and its answer."""

from __future__ import annotations

from typing import Any

from msgspec import field

from firkin.types.base import Wire
from firkin.types.container import PortBinding, RestartPolicy, ThrottleDevice, WeightDevice


class UpdateRequest(Wire):
    """What is to change; a zero or an absent field stays as it is.

    Units are those of ``HostConfig``. Firkin's own are ``labels`` and ``remove_labels``, labels to
    set and names of labels to take away, and ``publish`` and ``unpublish``, port bindings to add
    and ports ("80/tcp") whose bindings go. The last ones of all can't be changed: see
    ``FIXED``.
    """

    cpu_shares: int = 0
    memory: int = 0
    nano_cpus: int = 0
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
    memory_reservation: int = 0
    memory_swap: int = 0
    pids_limit: int | None = None
    restart_policy: RestartPolicy = field(default_factory=RestartPolicy)
    labels: dict[str, str] | None = None
    remove_labels: list[str] | None = None
    publish: dict[str, list[PortBinding] | None] | None = None
    unpublish: list[str] | None = None
    cgroup_parent: str = ""
    devices: list[Any] | None = None
    device_cgroup_rules: list[str] | None = None
    device_requests: list[Any] | None = None
    oom_kill_disable: bool | None = None
    ulimits: list[Any] | None = None


FIXED = (
    "cgroup_parent", "devices", "device_cgroup_rules", "device_requests", "oom_kill_disable",
    "ulimits",
)  # fmt: skip
"""Fields that the Engine API's body has, for what is decided when a container is created."""


class UpdateResponse(Wire):
    """The answer of ContainerUpdate."""

    warnings: list[str] = []
