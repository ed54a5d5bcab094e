"""What a group of processes uses: CPU time, memory, block I/O, processes, network.

Read from the files of its cgroup (v1 or v2) and from /proc/PID/net/dev. A file that this kernel
does not have counts as zeros.
"""

from __future__ import annotations

import os
from typing import NamedTuple

from firkin.linux import cgroup

_PAGE_LIMIT = 1 << 62


class Block(NamedTuple):
    """One counter of one device: bytes or operations; ``op`` as the kernel names it."""

    major: int
    minor: int
    op: str
    value: int


class Interface(NamedTuple):
    """The counters of a network interface, as its owner sees them."""

    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_dropped: int


class Usage(NamedTuple):
    """One sample. CPU times are nanoseconds, memory is bytes; 0 limits are no limits.

    ``per_cpu``, ``memory_max`` and ``memory_failures`` are told by v1 only.
    """

    cpu: int
    cpu_user: int
    cpu_kernel: int
    per_cpu: list[int]
    periods: int
    throttled_periods: int
    throttled: int
    memory: int
    memory_max: int
    memory_failures: int
    memory_limit: int
    memory_stat: dict[str, int]
    pids: int
    pids_limit: int
    block_bytes: list[Block]
    block_operations: list[Block]


class Reader:
    """Reads the usage of the group ``path``. Blocks, but for no longer than the kernel takes."""

    def __init__(self, layout: cgroup.Layout, path: str, root: str = cgroup.ROOT) -> None:
        self._v2 = layout.version == 2
        relative = path.lstrip("/")
        self._group = os.path.join(root, relative)
        self._v1 = {
            name: os.path.join(root, name, relative)
            for name in ("cpuacct", "cpu", "memory", "pids", "blkio")
        }

    def read(self) -> Usage | None:
        """A sample; ``None`` when the group is gone."""
        groups = [self._group] if self._v2 else self._v1.values()
        if not any(os.path.isdir(path) for path in groups):
            return None
        return self._unified() if self._v2 else self._legacy()

    def _legacy(self) -> Usage:
        at = self._v1
        user, kernel, per_cpu = _usage_all(_read(at["cpuacct"] + "/cpuacct.usage_all"))
        total = sum(per_cpu) or _number(_read(at["cpuacct"] + "/cpuacct.usage"))
        throttle = _pairs(_read(at["cpu"] + "/cpu.stat"))
        memory = at["memory"]
        return Usage(
            cpu=total,
            cpu_user=user,
            cpu_kernel=kernel,
            per_cpu=per_cpu,
            periods=throttle.get("nr_periods", 0),
            throttled_periods=throttle.get("nr_throttled", 0),
            throttled=throttle.get("throttled_time", 0),
            memory=_number(_read(memory + "/memory.usage_in_bytes")),
            memory_max=_number(_read(memory + "/memory.max_usage_in_bytes")),
            memory_failures=_number(_read(memory + "/memory.failcnt")),
            memory_limit=_limit(_read(memory + "/memory.limit_in_bytes")),
            memory_stat=_pairs(_read(memory + "/memory.stat")),
            pids=_number(_read(at["pids"] + "/pids.current")),
            pids_limit=_limit(_read(at["pids"] + "/pids.max")),
            block_bytes=_blocks(_read(at["blkio"] + "/blkio.throttle.io_service_bytes_recursive")),
            block_operations=_blocks(_read(at["blkio"] + "/blkio.throttle.io_serviced_recursive")),
        )

    def _unified(self) -> Usage:
        at = self._group
        cpu = _pairs(_read(at + "/cpu.stat"))
        octets, operations = _io_stat(_read(at + "/io.stat"))
        return Usage(
            cpu=cpu.get("usage_usec", 0) * 1000,
            cpu_user=cpu.get("user_usec", 0) * 1000,
            cpu_kernel=cpu.get("system_usec", 0) * 1000,
            per_cpu=[],
            periods=cpu.get("nr_periods", 0),
            throttled_periods=cpu.get("nr_throttled", 0),
            throttled=cpu.get("throttled_usec", 0) * 1000,
            memory=_number(_read(at + "/memory.current")),
            memory_max=0,
            memory_failures=0,
            memory_limit=_limit(_read(at + "/memory.max")),
            memory_stat=_pairs(_read(at + "/memory.stat")),
            pids=_number(_read(at + "/pids.current")),
            pids_limit=_limit(_read(at + "/pids.max")),
            block_bytes=octets,
            block_operations=operations,
        )


def _read(path: str) -> bytes:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, 65536)
    except OSError:
        return b""
    finally:
        os.close(fd)


def _number(text: bytes) -> int:
    return int(text) if text.strip().isdigit() else 0


def _limit(text: bytes) -> int:
    """A limit; what is as good as none (v1 shows the largest multiple of the page size) is 0."""
    number = _number(text)
    return number if number < _PAGE_LIMIT else 0


def _pairs(text: bytes) -> dict[str, int]:
    """Lines of a name and a number."""
    words = text.decode("ascii", "replace").split()
    return dict(zip(words[::2], map(int, words[1::2]), strict=False))


def _usage_all(text: bytes) -> tuple[int, int, list[int]]:
    """User and kernel time, and the sum of both of each CPU, from ``cpuacct.usage_all``."""
    user = kernel = 0
    per_cpu: list[int] = []
    for line in text.splitlines()[1:]:
        _, in_user, in_kernel = map(int, line.split())
        user += in_user
        kernel += in_kernel
        per_cpu.append(in_user + in_kernel)
    return user, kernel, per_cpu


def _blocks(text: bytes) -> list[Block]:
    """Lines of ``MAJOR:MINOR OPERATION NUMBER``."""
    found = []
    for line in text.decode("ascii", "replace").splitlines():
        words = line.split()
        if len(words) == 3:
            major, _, minor = words[0].partition(":")
            found.append(Block(int(major), int(minor), words[1].lower(), int(words[2])))
    return found


def _io_stat(text: bytes) -> tuple[list[Block], list[Block]]:
    """Lines of ``MAJOR:MINOR rbytes=N wbytes=N rios=N wios=N ...``."""
    octets: list[Block] = []
    operations: list[Block] = []
    for line in text.decode("ascii", "replace").splitlines():
        device, *fields = line.split()
        major, _, minor = device.partition(":")
        values = dict(field.split("=", 1) for field in fields if "=" in field)
        for key, op, target in (
            ("rbytes", "read", octets), ("wbytes", "write", octets),
            ("rios", "read", operations), ("wios", "write", operations),
        ):  # fmt: skip
            if key in values:
                target.append(Block(int(major), int(minor), op, int(values[key])))
    return octets, operations


def interfaces(pid: int) -> dict[str, Interface]:
    """The network interfaces that the process ``pid`` sees, but for loopback."""
    found = {}
    for line in _read(f"/proc/{pid}/net/dev").decode("ascii", "replace").splitlines()[2:]:
        name, _, rest = line.partition(":")
        numbers = rest.split()
        if name.strip() != "lo" and len(numbers) >= 12:
            found[name.strip()] = Interface(*map(int, numbers[:4] + numbers[8:12]))
    return found


class Processors(NamedTuple):
    """``time`` is what all CPUs have spent since boot, idle or not, in nanoseconds."""

    time: int
    online: int


_TICK = 1_000_000_000 // os.sysconf("SC_CLK_TCK")


def processors() -> Processors:
    """The host's CPUs, from /proc/stat."""
    lines = _read("/proc/stat").splitlines()
    total = sum(map(int, lines[0].split()[1:8])) if lines else 0
    online = sum(line.startswith(b"cpu") for line in lines) - 1
    return Processors(total * _TICK, max(online, 1))
