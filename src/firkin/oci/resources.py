"""What a container may use of its host: the rules of HostConfig's resources, and the spec's form.

``validate`` refuses what contradicts itself and warns of what this host can't do; ``to_linux``
gives the runtime-spec's ``linux.resources`` and leaves out just those. The spec speaks cgroup v1;
the runtimes translate for v2 (shares to weights, swap with memory to swap alone).
"""

from __future__ import annotations

import dataclasses
import re
from collections.abc import Collection
from typing import Any

from firkin import errdefs
from firkin.oci import devices
from firkin.oci.tables import words
from firkin.types import container

MIN_MEMORY = 6 << 20
NANO = 1_000_000_000
PERIOD = 100_000  # microseconds
MIN_SHARES, MAX_SHARES = 2, 262_144
_MAX_CPU = 8192
_RANGE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?", re.ASCII)
RLIMITS = frozenset(
    words(
        "core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime sigpending "
        "stack"
    )
)
UNLIMITED = 2**64 - 1


@dataclasses.dataclass(frozen=True, kw_only=True, slots=True)
class Support:
    """What the host's cgroups can do. What they can't is left out of specs, with a warning."""

    memory: bool = True
    swap: bool = True
    swappiness: bool = True
    oom_kill_disable: bool = True
    cpu_quota: bool = True
    cpu_shares: bool = True
    cpu_realtime: bool = True
    cpuset: bool = True
    pids: bool = True
    blkio_weight: bool = True
    blkio_throttle: bool = True


EVERYTHING = Support()


def support(files: Collection[str], controllers: Collection[str], *, cgroup_v2: bool) -> Support:
    """What the presence of control files and controllers on this host means.

    ``files``: v1, the file names in the root of every hierarchy; v2, those in any cgroup but the
    root. ``controllers``: the names of the controllers in use.
    """
    has = set(files).__contains__
    if cgroup_v2:
        return Support(
            memory=has("memory.max"),
            swap=has("memory.swap.max"),
            swappiness=False,
            oom_kill_disable=False,
            cpu_quota=has("cpu.max"),
            cpu_shares=has("cpu.weight"),
            cpu_realtime=False,
            cpuset=has("cpuset.cpus"),
            pids=has("pids.max"),
            blkio_weight=has("io.weight") or has("io.bfq.weight"),
            blkio_throttle=has("io.max"),
        )
    return Support(
        memory=has("memory.limit_in_bytes"),
        swap=has("memory.memsw.limit_in_bytes"),
        swappiness=has("memory.swappiness"),
        oom_kill_disable=has("memory.oom_control"),
        cpu_quota=has("cpu.cfs_quota_us"),
        cpu_shares=has("cpu.shares"),
        cpu_realtime=has("cpu.rt_runtime_us"),
        cpuset=has("cpuset.cpus"),
        pids="pids" in controllers,  # its root has no files that tell
        # Newer kernels have blkio.bfq.weight only, which runc 1.1 writes and crun 1.8 does not.
        blkio_weight=has("blkio.weight"),
        blkio_throttle=has("blkio.throttle.read_bps_device"),
    )


def parse_cpuset(text: str, field: str) -> set[int]:
    """The numbers in a list such as ``0-3,7``. Raises ``InvalidParameter``."""
    numbers: set[int] = set()
    for part in text.split(",") if text else ():
        match = _RANGE.fullmatch(part.strip())
        first = int(match[1]) if match else 0
        last = int(match[2] or first) if match else -1
        if not first <= last < _MAX_CPU:
            raise errdefs.InvalidParameter(
                f"Invalid value {text[:80]} for cpuset {field}; it should look like 0-3,7"
            )
        numbers.update(range(first, last + 1))
    return numbers


def _refuse(condition: bool, message: str) -> None:
    if condition:
        raise errdefs.InvalidParameter(message)


def _memory(host: container.HostConfig, host_memory: int) -> list[str]:
    warnings = []
    limit, swap, soft = host.memory, host.memory_swap, host.memory_reservation
    _refuse(limit != 0 and limit < MIN_MEMORY, "Minimum memory limit allowed is 6MB")
    _refuse(swap < -1, f"Invalid memoryswap limit {swap}: give bytes, or -1 for no limit")
    _refuse(
        limit == 0 and swap > 0,
        "You should always set the Memory limit when using Memoryswap limit, see usage",
    )
    _refuse(
        limit > 0 and 0 < swap < limit,
        "Minimum memoryswap limit should be larger than memory limit, see usage",
    )
    _refuse(soft != 0 and soft < MIN_MEMORY, "Minimum memory reservation allowed is 6MB")
    _refuse(
        limit > 0 and soft > limit,
        "Minimum memory limit can not be less than memory reservation limit, see usage",
    )
    swappiness = host.memory_swappiness
    _refuse(
        swappiness is not None and not -1 <= swappiness <= 100,
        f"Invalid value: {swappiness}, valid memory swappiness range is 0-100",
    )
    if host_memory and limit > host_memory:
        warnings.append(
            f"The memory limit of {limit} bytes is more than this host has ({host_memory})."
        )
    if host.oom_kill_disable and limit == 0:
        warnings.append(
            "OOM killer is disabled for the container, but no memory limit is set, "
            "this can result in the system running out of resources."
        )
    return warnings


def _cpu(host: container.HostConfig, host_cpus: int) -> None:
    nano, quota, period = host.nano_cpus, host.cpu_quota, host.cpu_period
    _refuse(
        nano > 0 and period != 0,
        "Conflicting options: Nano CPUs and CPU Period cannot both be set",
    )
    _refuse(
        nano > 0 and quota != 0,
        "Conflicting options: Nano CPUs and CPU Quota cannot both be set",
    )
    _refuse(
        nano != 0 and not NANO // 100 <= nano <= host_cpus * NANO,
        f"Range of CPUs is from 0.01 to {host_cpus}.00, as there are only {host_cpus} CPUs "
        "available",
    )
    _refuse(
        period != 0 and not 1_000 <= period <= 1_000_000,
        "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)",
    )
    _refuse(
        quota != -1 and quota != 0 and quota < 1_000,
        "CPU cfs quota can not be less than 1ms (i.e. 1000)",
    )
    _refuse(
        host.cpu_shares < 0,
        f"invalid CPU shares ({host.cpu_shares}): value must be a positive integer",
    )
    rt_period, rt_runtime = host.cpu_realtime_period, host.cpu_realtime_runtime
    _refuse(
        rt_period < 0 or (rt_period != 0 and rt_runtime > rt_period),
        "cpu real-time runtime cannot be higher than cpu real-time period",
    )


def _cpusets(host: container.HostConfig, cpus: set[int], mems: set[int]) -> None:
    for wanted, available, field, noun in (
        (host.cpuset_cpus, cpus, "cpus", "CPUs"),
        (host.cpuset_mems, mems, "mems", "memory nodes"),
    ):
        if parse_cpuset(wanted, field) - available:
            raise errdefs.InvalidParameter(
                f"Requested {noun} are not available - requested {wanted[:80]}, "
                f"available: {_ranges(available)}"
            )


def _ranges(numbers: Collection[int]) -> str:
    """``0-3,7``, the kernel's way to write a set of numbers."""
    parts: list[list[int]] = []
    for number in sorted(numbers):
        if parts and parts[-1][1] == number - 1:
            parts[-1][1] = number
        else:
            parts.append([number, number])
    return ",".join(f"{a}" if a == b else f"{a}-{b}" for a, b in parts)


def _blkio(host: container.HostConfig) -> None:
    _refuse(
        host.blkio_weight != 0 and not 10 <= host.blkio_weight <= 1000,
        "Range of blkio weight is from 10 to 1000",
    )
    for entry in host.blkio_weight_device or ():
        _refuse(
            not 10 <= entry.weight <= 1000,
            f"Range of blkio weight is from 10 to 1000; {entry.path[:80]} has {entry.weight}",
        )
    for limits in _throttles(host).values():
        for limit in limits:
            _refuse(limit.rate <= 0, f"invalid rate {limit.rate} for device {limit.path[:80]}")


def _throttles(host: container.HostConfig) -> dict[str, list[container.ThrottleDevice]]:
    return {
        "throttleReadBpsDevice": host.blkio_device_read_bps or [],
        "throttleWriteBpsDevice": host.blkio_device_write_bps or [],
        "throttleReadIOPSDevice": host.blkio_device_read_iops or [],
        "throttleWriteIOPSDevice": host.blkio_device_write_iops or [],
    }


def lacking(host: container.HostConfig, able: Support, v2: bool) -> list[str]:
    """Warnings for what is asked and the host's cgroups don't do."""
    memory = host.memory or host.memory_reservation
    checks = (
        (able.memory, memory, "memory limits", "Limitation discarded."),
        (
            able.swap or not able.memory,
            host.memory > 0 and host.memory_swap > 0,
            "swap limits",
            "Memory limited without swap.",
        ),
        (
            able.swappiness and not v2,
            host.memory_swappiness not in (None, -1),
            "memory swappiness",
            "Memory swappiness discarded.",
        ),
        (
            able.oom_kill_disable and not v2,
            host.oom_kill_disable,
            "disabling the OOM killer",
            "OomKillDisable discarded.",
        ),
        (
            able.cpu_quota,
            host.nano_cpus or host.cpu_quota or host.cpu_period,
            "CPU quotas",
            "CPU limit discarded.",
        ),
        (able.cpu_shares, host.cpu_shares, "CPU shares", "Shares discarded."),
        (
            able.cpu_realtime and not v2,
            host.cpu_realtime_period or host.cpu_realtime_runtime,
            "CPU real-time scheduling",
            "Real-time settings discarded.",
        ),
        (able.cpuset, host.cpuset_cpus or host.cpuset_mems, "cpusets", "Cpuset discarded."),
        (able.pids, (host.pids_limit or 0) > 0, "pids limits", "PIDs limit discarded."),
        (
            able.blkio_weight,
            host.blkio_weight or host.blkio_weight_device,
            "Block I/O weights",
            "Weight discarded.",
        ),
        (
            able.blkio_throttle,
            any(_throttles(host).values()),
            "Block I/O throttling",
            "Throttling discarded.",
        ),
    )
    return [
        f"This host's cgroups do not support {what}. {result}"
        for supported, asked, what, result in checks
        if asked and not supported
    ]


def validate(
    host: container.HostConfig,
    *,
    cgroup_v2: bool,
    host_memory: int,
    host_cpus: int,
    able: Support | None = None,
    cpus: set[int] | None = None,
    mems: set[int] | None = None,
) -> list[str]:
    """Check the resources of a HostConfig and return the warnings.

    ``host_memory`` is in bytes (0: unknown). ``cpus`` and ``mems`` are the numbers that cpusets may
    use (default: the first ``host_cpus``, and node 0). Raises ``InvalidParameter``.
    """
    warnings = _memory(host, host_memory)
    _cpu(host, host_cpus)
    _cpusets(host, set(range(host_cpus)) if cpus is None else cpus, {0} if mems is None else mems)
    _blkio(host)
    _refuse(
        not -1000 <= host.oom_score_adj <= 1000,
        f"Invalid value {host.oom_score_adj}, range for oom score adj is [-1000, 1000]",
    )
    _refuse(host.shm_size < 0, "SHM size can not be less than 0")
    rlimits(host.ulimits)
    for rule in host.device_cgroup_rules or ():
        devices.parse_rule(rule)
    return warnings + lacking(host, able or EVERYTHING, cgroup_v2)


def rlimits(ulimits: list[container.Ulimit] | None) -> list[dict[str, Any]]:
    """``process.rlimits``; -1 means no limit. A later entry replaces an earlier one."""
    result: dict[str, dict[str, Any]] = {}
    for limit in ulimits or ():
        if limit.name not in RLIMITS:
            raise errdefs.InvalidParameter(
                f"invalid ulimit type: {limit.name[:40]}; known are {', '.join(sorted(RLIMITS))}"
            )
        _refuse(
            limit.soft < -1 or limit.hard < -1,
            f"invalid ulimit {limit.name}: a limit is at least 0, or -1 for unlimited",
        )
        _refuse(
            limit.hard != -1 and (limit.soft > limit.hard or limit.soft == -1),
            "ulimit soft limit must be less than or equal to hard limit: "
            f"{limit.soft} > {limit.hard}",
        )
        kind = "RLIMIT_" + limit.name.upper()
        soft, hard = (UNLIMITED if n == -1 else n for n in (limit.soft, limit.hard))
        result[kind] = {"type": kind, "soft": soft, "hard": hard}
    return list(result.values())


def swap_limit(host: container.HostConfig) -> int:
    """Memory and swap together: twice the memory when nothing is said; -1 no limit, 0 not set."""
    if host.memory > 0 and host.memory_swap == 0:
        return 2 * host.memory
    return host.memory_swap


def _linux_memory(host: container.HostConfig, able: Support, v2: bool) -> dict[str, Any]:
    memory: dict[str, Any] = {}
    if not able.memory:
        return memory
    if host.memory > 0:
        memory["limit"] = host.memory
    if host.memory_reservation > 0:
        memory["reservation"] = host.memory_reservation
    swap = swap_limit(host)
    if swap and able.swap and (host.memory > 0 or swap > 0):
        memory["swap"] = swap
    if not v2:
        if able.swappiness and host.memory_swappiness not in (None, -1):
            memory["swappiness"] = host.memory_swappiness
        if able.oom_kill_disable and host.oom_kill_disable:
            memory["disableOOMKiller"] = True
    return memory


def _linux_cpu(host: container.HostConfig, able: Support, v2: bool) -> dict[str, Any]:
    cpu: dict[str, Any] = {}
    if able.cpu_quota and host.nano_cpus > 0:
        cpu["period"] = PERIOD
        cpu["quota"] = host.nano_cpus * PERIOD // NANO
    elif able.cpu_quota:
        if host.cpu_period:
            cpu["period"] = host.cpu_period
        if host.cpu_quota:
            cpu["quota"] = host.cpu_quota
    if able.cpu_shares and host.cpu_shares:
        cpu["shares"] = min(max(host.cpu_shares, MIN_SHARES), MAX_SHARES)
    if able.cpu_realtime and not v2:
        if host.cpu_realtime_period:
            cpu["realtimePeriod"] = host.cpu_realtime_period
        if host.cpu_realtime_runtime:
            cpu["realtimeRuntime"] = host.cpu_realtime_runtime
    if able.cpuset:
        if host.cpuset_cpus:
            cpu["cpus"] = host.cpuset_cpus
        if host.cpuset_mems:
            cpu["mems"] = host.cpuset_mems
    return cpu


def _linux_blkio(
    host: container.HostConfig, able: Support, lookup: devices.Lookup
) -> dict[str, Any]:
    block: dict[str, Any] = {}
    if able.blkio_weight:
        if host.blkio_weight:
            block["weight"] = host.blkio_weight
        weights = []
        for entry in host.blkio_weight_device or ():
            node = devices.one(lookup, entry.path, "invalid blkio weight device")
            weights.append({"major": node.major, "minor": node.minor, "weight": entry.weight})
        if weights:
            block["weightDevice"] = weights
    if able.blkio_throttle:
        for key, limits in _throttles(host).items():
            rates = []
            for limit in limits:
                node = devices.one(lookup, limit.path, "invalid blkio throttle device")
                rates.append({"major": node.major, "minor": node.minor, "rate": limit.rate})
            if rates:
                block[key] = rates
    return block


def to_linux(
    host: container.HostConfig,
    lookup: devices.Lookup,
    *,
    cgroup_v2: bool,
    able: Support | None = None,
) -> dict[str, Any]:
    """``linux.resources`` without the device rules; ``host`` has passed ``validate``."""
    able = able or EVERYTHING
    result: dict[str, Any] = {
        "memory": _linux_memory(host, able, cgroup_v2),
        "cpu": _linux_cpu(host, able, cgroup_v2),
        "blockIO": _linux_blkio(host, able, lookup),
    }
    if able.pids and (host.pids_limit or 0) > 0:
        result["pids"] = {"limit": host.pids_limit}
    return {key: value for key, value in result.items() if value}
