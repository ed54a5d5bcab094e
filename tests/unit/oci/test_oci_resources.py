"""Resource limits, devices and sysctls."""

from __future__ import annotations

from typing import Any

import pytest

from firkin import errdefs
from firkin.oci import devices, resources, sysctls
from firkin.types import container

MB = 1 << 20
DISK = devices.Device(path="/dev/sda", kind="b", major=8, minor=0)
SOUND = [
    devices.Device(path="/dev/snd/a", kind="c", major=116, minor=1, mode=0o660, gid=29),
    devices.Device(path="/dev/snd/by/b", kind="c", major=116, minor=2),
]


def _lookup(path: str) -> list[devices.Device]:
    if path == "/dev/sda":
        return [DISK]
    if path == "/dev/snd":
        return SOUND
    if path == "/etc/passwd":
        return []
    raise FileNotFoundError(2, "No such file or directory", path)


def _validate(**fields: Any) -> list[str]:
    host = container.HostConfig(**fields)
    return resources.validate(host, cgroup_v2=False, host_memory=1 << 34, host_cpus=4)


@pytest.mark.parametrize(
    ("fields", "message"),
    [
        ({"memory": 6 * MB - 1}, "Minimum memory limit allowed is 6MB"),
        ({"memory": -5}, "Minimum memory limit allowed is 6MB"),
        ({"memory": 20 * MB, "memory_swap": 10 * MB}, "memoryswap limit should be larger"),
        ({"memory_swap": 10 * MB}, "always set the Memory limit"),
        ({"memory_swap": -2}, "Invalid memoryswap"),
        ({"memory": 20 * MB, "memory_reservation": 30 * MB}, "less than memory reservation"),
        ({"memory_reservation": 1}, "reservation allowed is 6MB"),
        ({"memory_swappiness": 101}, "range is 0-100"),
        ({"nano_cpus": 5 * 10**9}, r"from 0.01 to 4.00, as there are only 4 CPUs available"),
        ({"nano_cpus": 9_999_999}, "Range of CPUs"),
        ({"nano_cpus": -1}, "Range of CPUs"),
        ({"nano_cpus": 10**9, "cpu_period": 1000}, "Nano CPUs and CPU Period"),
        ({"nano_cpus": 10**9, "cpu_quota": 1000}, "Nano CPUs and CPU Quota"),
        ({"cpu_period": 10}, "cfs period"),
        ({"cpu_quota": 10}, "cfs quota"),
        ({"cpu_shares": -1}, "CPU shares"),
        ({"cpu_realtime_period": 10, "cpu_realtime_runtime": 11}, "real-time runtime"),
        (
            {"cpuset_cpus": "0-4"},
            "Requested CPUs are not available - requested 0-4, available: 0-3",
        ),
        ({"cpuset_cpus": "3-1"}, "Invalid value 3-1 for cpuset cpus"),
        ({"cpuset_cpus": "0-99999999999"}, "Invalid value"),
        ({"cpuset_mems": "1"}, "memory nodes are not available"),
        ({"blkio_weight": 9}, "from 10 to 1000"),
        ({"blkio_weight_device": [container.WeightDevice(path="/x", weight=1)]}, "/x has 1"),
        ({"blkio_device_read_bps": [container.ThrottleDevice(path="/x")]}, "invalid rate 0"),
        ({"oom_score_adj": 1001}, r"range for oom score adj is \[-1000, 1000\]"),
        ({"shm_size": -1}, "SHM size"),
        ({"ulimits": [container.Ulimit(name="as", soft=1, hard=1)]}, "invalid ulimit type: as"),
        ({"ulimits": [container.Ulimit(name="core", soft=2, hard=1)]}, "hard limit: 2 > 1"),
        ({"ulimits": [container.Ulimit(name="core", soft=-1, hard=1)]}, "hard limit"),
        ({"ulimits": [container.Ulimit(name="core", soft=-2, hard=-1)]}, "unlimited"),
        ({"device_cgroup_rules": ["c 1:1"]}, "invalid device cgroup rule format: 'c 1:1'"),
    ],
)
def test_refused(fields: dict[str, Any], message: str) -> None:
    with pytest.raises(errdefs.InvalidParameter, match=message):
        _validate(**fields)


def test_accepted_without_warning() -> None:
    assert not _validate(
        memory=6 * MB,
        memory_swap=-1,
        nano_cpus=4 * 10**9,
        cpuset_cpus="0,2-3",
        blkio_weight=10,
        pids_limit=-1,
        oom_score_adj=-1000,
        ulimits=[container.Ulimit(name="nofile", soft=1, hard=-1)],
    )


def test_warnings() -> None:
    assert "more than this host has" in _validate(memory=1 << 40)[0]
    host = container.HostConfig(memory_swappiness=5, oom_kill_disable=True, memory=9 * MB)
    found = resources.validate(host, cgroup_v2=True, host_memory=0, host_cpus=1)
    assert [word in " ".join(found) for word in ("swappiness", "OOM")] == [True, True]
    able = resources.Support(swap=False, pids=False)
    host = container.HostConfig(memory=8 * MB, memory_swap=9 * MB, pids_limit=5)
    found = resources.validate(host, cgroup_v2=False, host_memory=0, host_cpus=1, able=able)
    assert len(found) == 2
    linux = resources.to_linux(host, _lookup, cgroup_v2=False, able=able)
    assert linux == {"memory": {"limit": 8 * MB}}


def test_to_linux() -> None:
    host = container.HostConfig(
        memory=64 * MB,
        memory_reservation=32 * MB,
        memory_swappiness=0,
        oom_kill_disable=True,
        nano_cpus=1_500_000_000,
        cpu_shares=1,
        cpuset_cpus="0",
        pids_limit=9,
        blkio_weight=300,
        blkio_weight_device=[container.WeightDevice(path="/dev/sda", weight=10)],
        blkio_device_read_bps=[container.ThrottleDevice(path="/dev/sda", rate=5)],
        blkio_device_write_iops=[container.ThrottleDevice(path="/dev/sda", rate=6)],
    )
    v1 = resources.to_linux(host, _lookup, cgroup_v2=False)
    assert v1 == {
        "memory": {
            "limit": 64 * MB,
            "reservation": 32 * MB,
            "swap": 128 * MB,
            "swappiness": 0,
            "disableOOMKiller": True,
        },
        "cpu": {"period": 100000, "quota": 150000, "shares": 2, "cpus": "0"},
        "pids": {"limit": 9},
        "blockIO": {
            "weight": 300,
            "weightDevice": [{"major": 8, "minor": 0, "weight": 10}],
            "throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 5}],
            "throttleWriteIOPSDevice": [{"major": 8, "minor": 0, "rate": 6}],
        },
    }
    v2 = resources.to_linux(host, _lookup, cgroup_v2=True)
    assert set(v2["memory"]) == {"limit", "reservation", "swap"}


def test_to_linux_leaves_out_what_is_not_set() -> None:
    assert resources.to_linux(container.HostConfig(pids_limit=0), _lookup, cgroup_v2=True) == {}
    unlimited = container.HostConfig(memory=8 * MB, memory_swap=-1, pids_limit=-1)
    assert resources.to_linux(unlimited, _lookup, cgroup_v2=True) == {
        "memory": {"limit": 8 * MB, "swap": -1}
    }


def test_block_device_errors() -> None:
    for path in ("/dev/none", "/dev/snd"):
        host = container.HostConfig(
            blkio_device_read_bps=[container.ThrottleDevice(path=path, rate=5)]
        )
        with pytest.raises(errdefs.InvalidParameter, match=path):
            resources.to_linux(host, _lookup, cgroup_v2=True)


def test_support() -> None:
    v1 = resources.support({"memory.limit_in_bytes", "cpu.shares"}, {"pids"}, cgroup_v2=False)
    assert (v1.memory, v1.swap, v1.pids, v1.cpu_shares, v1.cpuset) == (
        True,
        False,
        True,
        True,
        False,
    )
    v2 = resources.support({"memory.max", "memory.swap.max", "io.max"}, (), cgroup_v2=True)
    assert (v2.memory, v2.swap, v2.blkio_throttle, v2.pids, v2.swappiness) == (
        True,
        True,
        True,
        False,
        False,
    )


def test_rlimits() -> None:
    limits = [
        container.Ulimit(name="nofile", soft=1, hard=2),
        container.Ulimit(name="core", soft=-1, hard=-1),
        container.Ulimit(name="nofile", soft=3, hard=4),
    ]
    assert resources.rlimits(limits) == [
        {"type": "RLIMIT_NOFILE", "soft": 3, "hard": 4},
        {"type": "RLIMIT_CORE", "soft": 2**64 - 1, "hard": 2**64 - 1},
    ]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("c 13:* rwm", {"allow": True, "type": "c", "major": 13, "access": "rwm"}),
        ("a *:* r", {"allow": True, "type": "a", "access": "r"}),
        ("b 8:0 m", {"allow": True, "type": "b", "major": 8, "minor": 0, "access": "m"}),
    ],
)
def test_parse_rule(text: str, expected: dict[str, Any]) -> None:
    assert devices.parse_rule(text) == expected


@pytest.mark.parametrize(
    "text", ["", "x 1:1 r", "c 1:1 x", "c 1 1 r", "c 1:1 r\n", "c 5000000000:1 r"]
)
def test_parse_rule_refuses(text: str) -> None:
    with pytest.raises(errdefs.InvalidParameter):
        devices.parse_rule(text)


def _mapping(source: str, target: str = "", access: str = "") -> container.HostConfig:
    return container.HostConfig(
        devices=[
            container.DeviceMapping(
                path_on_host=source, path_in_container=target, cgroup_permissions=access
            )
        ]
    )


def test_device() -> None:
    nodes, rules = devices.resolve(_mapping("/dev/sda", "/dev/xvda", "r"), _lookup)
    assert nodes == [
        {
            "path": "/dev/xvda",
            "type": "b",
            "major": 8,
            "minor": 0,
            "fileMode": 0o660,
            "uid": 0,
            "gid": 0,
        }
    ]
    assert rules[0] == {"allow": False, "access": "rwm"}
    assert rules[-1] == {"allow": True, "type": "b", "major": 8, "minor": 0, "access": "r"}


def test_device_directory() -> None:
    nodes, rules = devices.resolve(_mapping("/dev/snd", "/dev/audio"), _lookup)
    assert [node["path"] for node in nodes] == ["/dev/audio/a", "/dev/audio/by/b"]
    assert [rule["access"] for rule in rules[-2:]] == ["rwm", "rwm"]


@pytest.mark.parametrize(
    "host",
    [
        _mapping("/dev/none"),
        _mapping("/etc/passwd"),
        _mapping("dev/sda"),
        _mapping("/dev/sda", "../x"),
        _mapping("/dev/sda", "/dev/sda", "x"),
        _mapping("/dev/sda", "/dev/sda", "rrrr"),
    ],
)
def test_device_refused(host: container.HostConfig) -> None:
    with pytest.raises(errdefs.InvalidParameter):
        devices.resolve(host, _lookup)


def test_privileged_devices() -> None:
    host = _mapping("/dev/sda", "/dev/extra")
    host.privileged = True
    every = [
        DISK,
        devices.Device(path="/dev/null", kind="c", major=1, minor=3),
        devices.Device(path="/dev/pts/0", kind="c", major=136, minor=0),
        devices.Device(path="/dev/ptsx", kind="c", major=9, minor=0),
    ]
    nodes, rules = devices.resolve(host, _lookup, every)
    assert [node["path"] for node in nodes] == ["/dev/sda", "/dev/ptsx", "/dev/extra"]
    assert rules == [{"allow": True, "access": "rwm"}]


def test_sysctls() -> None:
    given = {"kernel.shmmax": "5", "net/ipv4/conf/eth0.1/forwarding": "1", "fs.mqueue.msg_max": "9"}
    assert sysctls.resolve(given, domainname="lan") == {
        "kernel.shmmax": "5",
        "net.ipv4.conf.eth0/1.forwarding": "1",
        "fs.mqueue.msg_max": "9",
        "net.ipv4.ip_unprivileged_port_start": "0",
        "net.ipv4.ping_group_range": "0 2147483647",
        "kernel.domainname": "lan",
    }
    assert sysctls.resolve({}, host_network=True) == {}
    assert sysctls.resolve({}, own_network=False) == {}
    own = sysctls.resolve({"net.ipv4.ip_unprivileged_port_start": "1024"})
    assert own["net.ipv4.ip_unprivileged_port_start"] == "1024"


@pytest.mark.parametrize(
    ("name", "where"),
    [
        ("net.ipv4.ip_forward", "host_network"),
        ("kernel.sem", "host_ipc"),
        ("fs.mqueue.msg_max", "host_ipc"),
        ("kernel.domainname", "host_uts"),
    ],
)
def test_sysctls_of_a_host_namespace(name: str, where: str) -> None:
    sysctls.resolve({name: "1"})
    with pytest.raises(errdefs.InvalidParameter, match=f"'{name}' not allowed in host"):
        sysctls.resolve({name: "1"}, **{where: True})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "name",
    ["vm.swappiness", "kernel.core_pattern", "", "net.ipv4..x", "net.a b", "/kernel/sem", "netx"],
)
def test_sysctls_refused(name: str) -> None:
    with pytest.raises(errdefs.InvalidParameter):
        sysctls.resolve({name: "1"})


def test_sysctl_value_is_one_line() -> None:
    with pytest.raises(errdefs.InvalidParameter):
        sysctls.resolve({"kernel.sem": "1\n2"})
