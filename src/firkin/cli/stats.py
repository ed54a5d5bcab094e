"""From the engine's statistics to what ``stats`` shows."""

from __future__ import annotations

from firkin.cli import formatter, units

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Json = dict[str, Any]

UNKNOWN = "--"


def row(asked: str, sample: Json | None, *, whole: bool = False) -> formatter.Row:
    """A line of the table. Without a sample (yet, or any more) everything is unknown."""
    if sample is None:
        pair = f"{UNKNOWN} / {UNKNOWN}"
        return formatter.Row(
            {
                "Container": asked, "ID": UNKNOWN, "Name": UNKNOWN, "CPUPerc": UNKNOWN,
                "MemUsage": pair, "MemPerc": UNKNOWN, "NetIO": UNKNOWN, "BlockIO": UNKNOWN,
                "PIDs": UNKNOWN,
            }
        )  # fmt: skip
    memory = sample.get("memory_stats") or {}
    used, limit = memory_used(memory), int(memory.get("limit") or 0)
    received, sent = network(sample)
    read, written = blocks(sample)
    identity = str(sample.get("id") or "")
    return formatter.Row(
        {
            "Container": asked,
            "ID": identity if whole else identity[:12],
            "Name": str(sample.get("name") or "").lstrip("/"),
            "CPUPerc": f"{cpu_percent(sample):.2f}%",
            "MemUsage": f"{_binary(used)} / {_binary(limit)}",
            "MemPerc": f"{used / limit * 100 if limit else 0:.2f}%",
            "NetIO": f"{_decimal(received)} / {_decimal(sent)}",
            "BlockIO": f"{_decimal(read)} / {_decimal(written)}",
            "PIDs": str(int((sample.get("pids_stats") or {}).get("current") or 0)),
        }
    )


def _binary(size: float) -> str:
    return units.human_size_binary(size)


def _decimal(size: float) -> str:
    return units.human_size(size, 3)


def cpu_percent(sample: Json) -> float:
    """What the container took of the CPUs since the sample before; 100 is one CPU."""
    now, before = sample.get("cpu_stats") or {}, sample.get("precpu_stats") or {}
    used = _total(now) - _total(before)
    spent = int(now.get("system_cpu_usage") or 0) - int(before.get("system_cpu_usage") or 0)
    if used <= 0 or spent <= 0:
        return 0.0
    usage = now.get("cpu_usage") or {}
    cpus = int(now.get("online_cpus") or 0) or len(usage.get("percpu_usage") or ())
    return used / spent * cpus * 100


def _total(cpu: Json) -> int:
    return int((cpu.get("cpu_usage") or {}).get("total_usage") or 0)


def memory_used(memory: Json) -> int:
    """The memory in use, without the page cache that is given up first."""
    used = int(memory.get("usage") or 0)
    stats = memory.get("stats") or {}
    for name in ("total_inactive_file", "inactive_file"):  # v1, v2
        if name in stats:
            idle = int(stats[name])
            return used - idle if idle < used else used
    return used


def network(sample: Json) -> tuple[int, int]:
    """Bytes received and sent over all interfaces."""
    interfaces = (sample.get("networks") or {}).values()
    return (
        sum(int(item.get("rx_bytes") or 0) for item in interfaces),
        sum(int(item.get("tx_bytes") or 0) for item in interfaces),
    )


def blocks(sample: Json) -> tuple[int, int]:
    """Bytes read and written on all devices."""
    read = written = 0
    for entry in (sample.get("blkio_stats") or {}).get("io_service_bytes_recursive") or ():
        kind = str(entry.get("op") or "").lower()[:1]
        if kind == "r":
            read += int(entry.get("value") or 0)
        elif kind == "w":
            written += int(entry.get("value") or 0)
    return read, written
