"""System call filters."""

from __future__ import annotations

import json
from typing import Any

import pytest

from firkin import errdefs
from firkin.oci import capabilities, seccomp, seccomp_rules

NEW = (6, 1)


def _allowed(profile: dict[str, Any]) -> set[str]:
    return {
        name
        for rule in profile["syscalls"]
        if rule["action"] == "SCMP_ACT_ALLOW" and "args" not in rule
        for name in rule["names"]
    }


def test_tables_repeat_nothing() -> None:
    assert len(set(seccomp_rules.ALWAYS)) == len(seccomp_rules.ALWAYS) == 361
    assert set(seccomp_rules.BY_CAPABILITY) <= set(capabilities.ALL)


def test_default_profile() -> None:
    profile = seccomp.profile(capabilities.DEFAULT, "x86_64", NEW)
    assert (profile["defaultAction"], profile["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 1)
    assert profile["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"]
    allowed = _allowed(profile)
    assert {"read", "execve", "chroot", "arch_prctl", "ptrace", "landlock_create_ruleset"} < allowed
    assert not allowed & {
        "keyctl",
        "add_key",
        "request_key",
        "mount",
        "umount2",
        "unshare",
        "setns",
        "bpf",
        "init_module",
        "kexec_load",
        "reboot",
        "swapon",
        "userfaultfd",
        "io_uring_setup",
        "perf_event_open",
        "syslog",
        "settimeofday",
        "iopl",
        "acct",
        "clone",
        "clone3",
        "socket",
        "personality",
        "pivot_root",
        "quotactl",
        "open_by_handle_at",
        "mbind",
        "cacheflush",
    }
    assert {"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38} in profile["syscalls"]
    clone = [rule for rule in profile["syscalls"] if rule["names"] == ["clone"]]
    assert clone == [
        {
            "names": ["clone"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 0, "value": 0x7E020000, "valueTwo": 0, "op": "SCMP_CMP_MASKED_EQ"}],
        }
    ]


def test_old_kernel_and_architectures() -> None:
    assert "ptrace" not in _allowed(seccomp.profile(set(), "amd64", (4, 4)))
    assert "ptrace" in _allowed(seccomp.profile({"CAP_SYS_PTRACE"}, "amd64", (4, 4)))
    arm = seccomp.profile(set(), "aarch64", NEW)
    assert arm["architectures"] == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
    assert "cacheflush" in _allowed(arm)
    assert "arch_prctl" not in _allowed(arm)
    s390 = seccomp.profile(set(), "s390x", NEW)
    assert next(r for r in s390["syscalls"] if r["names"] == ["clone"])["args"][0]["index"] == 1
    assert "architectures" not in seccomp.profile(set(), "unheard-of", NEW)


@pytest.mark.parametrize(
    ("capability", "calls"),
    [
        ("CAP_SYS_ADMIN", {"mount", "unshare", "setns", "clone", "clone3", "bpf"}),
        ("CAP_SYS_MODULE", {"init_module", "finit_module", "delete_module"}),
        ("CAP_SYS_TIME", {"settimeofday", "clock_settime"}),
        ("CAP_SYSLOG", {"syslog"}),
        ("CAP_BPF", {"bpf"}),
        ("CAP_PERFMON", {"perf_event_open"}),
        ("CAP_SYS_NICE", {"mbind", "set_mempolicy"}),
        ("CAP_DAC_READ_SEARCH", {"open_by_handle_at"}),
    ],
)
def test_capability_opens_calls(capability: str, calls: set[str]) -> None:
    before = _allowed(seccomp.profile(set(), "x86_64", NEW))
    after = _allowed(seccomp.profile({capability}, "x86_64", NEW))
    assert not before & calls
    assert calls <= after


def test_admin_has_no_clone3_refusal() -> None:
    profile = seccomp.profile({"CAP_SYS_ADMIN"}, "x86_64", NEW)
    assert all(rule["action"] == "SCMP_ACT_ALLOW" for rule in profile["syscalls"])


def _docker(**changes: Any) -> str:
    profile: dict[str, Any] = {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "archMap": [
            {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": None},
            {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]},
        ],
        "syscalls": [],
    }
    return json.dumps(profile | changes)


def test_translate() -> None:
    rules = [
        {"names": ["read"], "action": "SCMP_ACT_ALLOW", "args": None, "includes": {}},
        {"name": "old", "action": "SCMP_ACT_ERRNO", "errnoRet": 38, "comment": "x"},
        {"names": ["a"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_BPF"]}},
        {"names": ["b"], "action": "SCMP_ACT_ALLOW", "excludes": {"caps": ["CAP_KILL"]}},
        {"names": ["c"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["arm64"]}},
        {"names": ["d"], "action": "SCMP_ACT_ALLOW", "excludes": {"arches": ["amd64"]}},
        {"names": ["e"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "7.0"}},
        {"names": ["f"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
        {
            "names": ["g"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 1, "value": 2**64 - 1, "op": "SCMP_CMP_EQ"}],
        },
    ]
    result = seccomp.from_docker_json(_docker(syscalls=rules), {"CAP_KILL"}, "x86_64", NEW)
    assert result == {
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "architectures": ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"],
        "syscalls": [
            {"names": ["read"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["old"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38},
            {"names": ["f"], "action": "SCMP_ACT_ALLOW"},
            {
                "names": ["g"],
                "action": "SCMP_ACT_ALLOW",
                "args": [{"index": 1, "value": 2**64 - 1, "valueTwo": 0, "op": "SCMP_CMP_EQ"}],
            },
        ],
    }


def _rule(**changes: Any) -> list[dict[str, Any]]:
    return [{"names": ["x"], "action": "SCMP_ACT_ALLOW"} | changes]


@pytest.mark.parametrize(
    "text",
    [
        "",
        "{",
        "[]",
        "null",
        "{}",
        "[" * 100000,
        _docker(defaultAction="ALLOW"),
        _docker(architectures=["SCMP_ARCH_X86"]),
        _docker(flags=["X"]),
        _docker(listenerPath="/run/x"),
        _docker(defaultErrnoRet=-1),
        _docker(syscalls=_rule(action="x")),
        _docker(syscalls=_rule(names=[])),
        _docker(syscalls=_rule(names=None)),
        _docker(syscalls=_rule(name="y")),
        _docker(syscalls=_rule(errnoRet=99999)),
        _docker(syscalls=_rule(includes={"minKernel": "new"})),
        _docker(syscalls=_rule(args=[{"index": 6, "op": "SCMP_CMP_EQ"}])),
        _docker(syscalls=_rule(args=[{"index": 0, "op": "EQ"}])),
        _docker(syscalls=_rule(args=[{"index": 0, "op": "SCMP_CMP_EQ", "value": 2**64}])),
        _docker(syscalls=_rule(args=[{"index": 0, "op": "SCMP_CMP_EQ", "value": -1}])),
        " " * ((1 << 20) + 1),
    ],
)
def test_malformed_profiles(text: str) -> None:
    with pytest.raises(errdefs.InvalidParameter):
        seccomp.from_docker_json(text, set(), "x86_64", NEW)


def test_kernel_version() -> None:
    assert seccomp.kernel_version("6.18.44-fc-v657") == (6, 18)
    assert seccomp.kernel_version("5.10") == (5, 10)
    with pytest.raises(errdefs.InvalidParameter):
        seccomp.kernel_version("six")
